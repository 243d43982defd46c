"""The encoder that every backend ends in: a function on a device, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipaudit.encoders import fingerprint
from clipaudit.encoders.base import BATCH_TIMEOUT_S, EncoderInfo, InputSpec, Precision
from clipaudit.encoders.crashes import CrashError
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.encoders.time_limit import OutOfTimeError, PatientThread
from clipaudit.errors import EncoderError
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from clipaudit.encoders.sidecar import Sidecar

_SIGNS_OF_SHORT_MEMORY = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
)
"""What torch, CUDA's libraries and onnxruntime say, in errors that have no type of their own."""


class SlowEncoderError(EncoderError):
    """An encoder gives no answer in time."""

    @classmethod
    def of(cls, spec: str, n_views: int, timeout_s: float) -> SlowEncoderError:
        """The error of one that was given so many views and so many seconds."""
        return cls(
            f"{spec} gave no answer for {count(n_views, 'view')} within {timeout_s:g} s",
            "If it is only slow, pass a larger --batch-timeout or a smaller --batch-size; a model "
            "with a loop that does not end would hang for ever.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEncoder:
    """An `Encoder` from any function of normalised views.

    Attributes:
        info: What is known of it.
        device: Where it wants its views.
        run: Normalised views, shape (n, 3, size_px, size_px), → (n, dim).
    """

    info: EncoderInfo
    device: torch.device
    run: Callable[[Tensor], Tensor]

    def embed(self, views: Tensor) -> Tensor:
        """See `Encoder.embed`."""
        import torch

        # no_grad, not inference_mode: callers may do arithmetic in place on what they get.
        with torch.no_grad():
            return embed_or_out_of_memory(self.run, normalise(views, self.info.input))


def encoder_of_files(
    spec: str,
    run: Callable[[Tensor], Tensor],
    files: Sequence[Path],
    side: Sidecar,
    where: torch.device,
    backend: Literal["torch", "onnx"],
    timeout_s: float,
) -> LoadedEncoder:
    """The encoder of files that hold a whole model.

    Args:
        spec: The name that it was asked for by.
        run: Normalised views → embeddings.
        files: Everything that the model was read from; the fingerprint is theirs.
        side: What it is fed and what it gives.
        where: Its device.
        backend: What runs it.
        timeout_s: Seconds that it may take for two views.

    Raises:
        EncoderError: See `probe`.
    """
    output = side.output or "embedding"
    info = EncoderInfo(
        spec=spec,
        output=output,
        input=side.input,
        dim=probe(run, side.input, where, spec, timeout_s),
        fingerprint=fingerprint.of_files(files, side.input, output),
        backend=backend,
        device=str(where),
    )
    return LoadedEncoder(info, where, run)


def normalise(views: Tensor, spec: InputSpec) -> Tensor:
    """Views in [0, 1] → what the model was trained on: minus mean, by standard deviation."""
    mean = views.new_tensor(spec.mean).view(1, 3, 1, 1)
    std = views.new_tensor(spec.std).view(1, 3, 1, 1)
    return (views - mean).div_(std)


def embed_or_out_of_memory(run: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
    """Call a model; whatever it raises for want of memory becomes `torch.OutOfMemoryError`.

    Raises:
        EncoderError: It gives integers, truth values or complex numbers.
    """
    import torch

    try:
        answer = run(views).detach()
        if not answer.is_floating_point():
            raise EncoderError(
                f"the model gives numbers of {str(answer.dtype).removeprefix('torch.')}, and an "
                "embedding is of floating-point numbers",
                "Save it so that it gives the features themselves, not classes or codes of them.",
            )
        return answer.to(torch.float32)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: torch's on any device, onnxruntime's, ours."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS_OF_SHORT_MEMORY)


def in_chunks(run: Callable[[Tensor], Tensor], size: int | None) -> Callable[[Tensor], Tensor]:
    """A function of batches of any size from a function of batches of exactly `size` views.

    The last chunk is filled up with copies of its last view, which no other view notices.
    None means that the program takes any size already.
    """
    if size is None:
        return run

    def by_chunks(views: Tensor) -> Tensor:
        import torch

        embeddings = []
        for chunk in torch.split(views, size):
            n = len(chunk)
            filled = (
                torch.cat([chunk, chunk[-1:].expand(size - n, -1, -1, -1)]) if n < size else chunk
            )
            answer = run(filled)
            if len(answer) != size:
                raise EncoderError(
                    f"the model gives an array of shape {tuple(answer.shape)} for {size} views",
                    "It must give one vector a view.",
                )
            embeddings.append(answer[:n])
        return torch.cat(embeddings)

    return by_chunks


def require_input_shape(shape: Sequence[object], size_px: int | None, path: Path) -> None:
    """Raise an EncoderError where a file declares an input that is no batch of our views.

    Args:
        shape: Four sizes; anything that is no integer means any size.
        size_px: Side of the views; None where it is known to be right.
        path: The file.
    """
    channels, height, width = shape[1:]
    if width in (1, 3) and channels not in (1, 3):
        raise EncoderError(
            f"{path} takes (n, height, width, {width}), and views are (n, 3, height, width)",
            "Export it with the channels first: tf2onnx has --inputs-as-nchw.",
        )
    if isinstance(channels, int) and channels > 0 and channels != 3:
        grey = ", so grey ones" if channels == 1 else ""
        raise EncoderError(
            f"{path} takes pictures of {channels} channel{'s' * (channels > 1)}{grey}, and views "
            "have 3: red, green and blue",
            "Export a model that takes three, or a layer that makes them of three before it.",
        )
    declared = [side if isinstance(side, int) and side > 0 else size_px for side in (height, width)]
    if declared != [size_px, size_px] and size_px is not None:
        raise EncoderError(
            f"{path} takes pictures of {declared[1]} × {declared[0]} pixels, and its input_size "
            f"is {size_px}",
            f"Write {declared[0]} there, in {path.with_suffix('.json').name} or with --input-size."
            if declared[0] == declared[1]
            else "Only square pictures are made: export it for some.",
        )


def probe(
    run: Callable[[Tensor], Tensor],
    spec: InputSpec,
    where: torch.device,
    name: str,
    timeout_s: float = BATCH_TIMEOUT_S,
    n_views: int = 2,
    precision: Precision = "float32",
) -> int:
    """Length of one embedding, found by embedding a few grey views.

    Raises:
        EncoderError: The model cannot take the views that its configuration asks for, gives
            something else than one finite vector a view, or takes longer than it may.
    """
    import torch

    views = normalise(torch.full((n_views, 3, spec.size_px, spec.size_px), 0.5, device=where), spec)

    def call() -> Tensor:
        with torch.no_grad(), quiet():
            return embed_or_out_of_memory(run, views)

    try:
        embeddings = PatientThread().call(call, timeout_s)
    except OutOfTimeError:
        raise SlowEncoderError.of(name, n_views, timeout_s) from None
    except CrashError as error:
        raise crashed(name, n_views, error) from None
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"{name} does not fit into the memory of {where}",
            "Use a smaller encoder or another --device.",
        ) from error
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(
            f"{name} cannot embed views of {spec.size_px} × {spec.size_px} pixels: "
            f"{first_line(error)}",
            "Check that input_size and the architecture are those that it was trained with.",
        ) from error
    if embeddings.ndim != 2 or len(embeddings) != n_views:
        raise EncoderError(
            f"{name} gives an array of shape {tuple(embeddings.shape)} for "
            f"{count(n_views, 'view')}, not ({n_views}, dim)",
            "It must give one vector a view: pool the features before you save the model.",
        )
    if not torch.isfinite(embeddings).all():
        raise not_finite(name, precision)
    return embeddings.shape[1]


def not_finite(spec: str, precision: Precision) -> EncoderError:
    """The error of an encoder whose embeddings are not numbers."""
    return EncoderError(
        f"{spec} gives values that are not finite (NaN or infinity)",
        "float16 holds nothing above 65,504, and this encoder may need more: pass --precision "
        "bfloat16, or leave it out."
        if precision == "float16"
        else "Its weights are damaged or do not belong to this architecture; fetch them again.",
    )


def crashed(spec: str, n_views: int, error: CrashError) -> EncoderError:
    """The error of an encoder whose compiled code crashed."""
    return EncoderError(
        f"{spec} crashed with {count(n_views, 'view')} ({error})",
        "It is broken, or does not suit this machine: try --device cpu, or another --backend or "
        "version of what runs it.",
    )


def move(module: nn.Module, where: torch.device, name: str) -> nn.Module:
    """A module on its device.

    Raises:
        EncoderError: It does not fit into the device's memory.
    """
    import torch

    try:
        return module.to(where)
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"{name} does not fit into the memory of {where}",
            "Use a smaller encoder or --device cpu.",
        ) from error
