"""The encoder that every backend ends in: a function on a device, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipaudit.encoders import fingerprint
from clipaudit.encoders.base import EncoderInfo, InputSpec
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

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
) -> LoadedEncoder:
    """The encoder of files that hold a whole model.

    Args:
        spec: The name that it was asked for by.
        run: Normalised views → embeddings.
        files: Everything that the model was read from; the fingerprint is theirs.
        side: What it is fed and what it gives.
        where: Its device.
        backend: What runs it.

    Raises:
        EncoderError: See `probe`.
    """
    output = side.output or "embedding"
    info = EncoderInfo(
        spec=spec,
        output=output,
        input=side.input,
        dim=probe(run, side.input, where, spec),
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
    """Call a model; whatever it raises for want of memory becomes `torch.OutOfMemoryError`."""
    import torch

    try:
        return run(views).detach().to(torch.float32)
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
            embeddings.append(run(filled)[:n])
        return torch.cat(embeddings)

    return by_chunks


def probe(run: Callable[[Tensor], Tensor], spec: InputSpec, where: torch.device, name: str) -> int:
    """Length of one embedding, found by embedding two grey views.

    Raises:
        EncoderError: The model cannot take the views that its configuration asks for, or gives
            something else than one finite vector a view.
    """
    import torch

    views = torch.full((2, 3, spec.size_px, spec.size_px), 0.5, device=where)
    try:
        with torch.no_grad(), quiet():
            embeddings = embed_or_out_of_memory(run, normalise(views, spec))
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"{name} does not fit into the memory of {where}",
            "Use a smaller encoder or another --device.",
        ) from error
    except Exception as error:
        raise EncoderError(
            f"{name} cannot embed views of {spec.size_px} × {spec.size_px} pixels: "
            f"{first_line(error)}",
            "Check that input_size and the architecture are those that it was trained with.",
        ) from error
    if embeddings.ndim != 2 or len(embeddings) != 2:
        raise EncoderError(
            f"{name} gives an array of shape {tuple(embeddings.shape)} for 2 views, not (2, dim)",
            "It must give one vector a view: pool the features before you save the model.",
        )
    if not torch.isfinite(embeddings).all():
        raise EncoderError(
            f"{name} gives values that are not finite (NaN or infinity)",
            "Its weights are damaged or do not belong to this architecture; fetch them again.",
        )
    return embeddings.shape[1]


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
