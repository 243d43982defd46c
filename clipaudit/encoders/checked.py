"""An encoder whose every answer is looked at, and waited for only so long.

A model that gives half of the rows, other numbers when it is asked again, or no answer at all
must not end in scores. What loads it does not matter: files of strangers and packages of others
are checked alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.encoders import devices
from clipaudit.encoders.crashes import CrashError
from clipaudit.encoders.loaded import SlowEncoderError, crashed, is_out_of_memory, not_finite
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.encoders.time_limit import OutOfTimeError, PatientThread
from clipaudit.errors import ClipAuditError, EncoderError
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from torch import Tensor, device

    from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions

_TOLERANCE = 1e-3
"""Greatest distance of two embeddings of a view, as a share of their length.

That is what half precision rounds to; noise that small moves no score that is shown.
"""


class CheckedEncoder:
    """An `Encoder` around another one, with the same numbers.

    Args:
        encoder: What computes.
        options: How long that may take.

    Raises:
        EncoderError: It fails with the few views that it is tried with, or gives other numbers
            for a view when it is asked again.
    """

    def __init__(self, encoder: Encoder, options: EncoderOptions) -> None:
        self._encoder = encoder
        self._timeout_s = options.batch_timeout_s
        self._precision = options.precision
        self._thread = PatientThread()
        self._try(options.trial_timeout_s)

    @property
    def info(self) -> EncoderInfo:
        """See `Encoder.info`."""
        return self._encoder.info

    @property
    def device(self) -> device:
        """See `Encoder.device`."""
        import torch

        return torch.device(self._encoder.device)  # where another package gives its name

    def embed(self, views: Tensor) -> Tensor:
        """See `Encoder.embed`.

        Raises:
            EncoderError: It gives something else than a vector a view of `info.dim` real numbers,
                fails otherwise, or takes too long.
        """
        return self._embed(views, self._timeout_s)

    def _embed(self, views: Tensor, timeout_s: float) -> Tensor:
        spec = self.info.spec

        def call() -> Tensor:
            answer = self._encoder.embed(views)
            devices.wait(self.device)  # here, where its time counts and its crash is caught
            return answer

        try:
            with devices.full_precision(self.device):
                answer = self._thread.call(call, timeout_s)
        except OutOfTimeError:
            raise SlowEncoderError.of(spec, len(views), timeout_s) from None
        except CrashError as error:
            raise crashed(spec, len(views), error) from None
        except ClipAuditError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise EncoderError(
                f"{spec} failed with {count(len(views), 'view')}: {type(error).__name__}: "
                f"{first_line(error)}",
                "An encoder must take any number of views of its size: shape (n, 3, "
                f"{self.info.input.size_px}, {self.info.input.size_px}). Mend it, or ask its "
                "authors.",
            ) from error
        return self._checked(answer, len(views))

    def _checked(self, answer: object, n_views: int) -> Tensor:
        import torch

        dim = self.info.dim
        if not isinstance(answer, torch.Tensor):
            given = f"a {type(answer).__name__}"
        elif answer.shape != (n_views, dim):
            given = f"an array of shape {tuple(answer.shape)}"
        elif not answer.is_floating_point() or answer.layout != torch.strided:
            given = f"numbers of {str(answer.dtype).removeprefix('torch.')}"
        else:
            return answer.detach().to(torch.float32)
        raise EncoderError(
            f"{self.info.spec} gives {given} for {count(n_views, 'view')}, not "
            f"({n_views}, {dim}) of floating-point numbers",
            "It must give one vector a view, of one length in every batch.",
        )

    def _try(self, timeout_s: float) -> None:
        """Ask for the same view twice, in other company: batches of one size round alike."""
        import torch

        size = self.info.input.size_px
        noise = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
        views = noise.to(self.device)
        try:
            with quiet():
                first, second = (
                    self._embed(part.clone(), timeout_s)[row].cpu()
                    for part, row in ((views[:2], 1), (views[1:], 0))
                )
        except (torch.OutOfMemoryError, RuntimeError, MemoryError):
            return  # two views at a time are too many; `Embedder` goes on with one
        if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
            raise not_finite(self.info.spec, self._precision)
        if (first - second).norm() > _TOLERANCE * torch.maximum(first.norm(), second.norm()):
            raise EncoderError(
                f"{self.info.spec} gives other numbers when it is asked for the same view again, "
                "in a batch with another",
                "It must be deterministic and look at each view alone: switch it to evaluation "
                "(dropout and batch norm), and save it again.",
            )
