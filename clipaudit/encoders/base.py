"""Stage 3: views → embeddings. What every encoder is, whatever runs it.

An encoder takes a batch of views as RGB in [0, 1], normalises them the way its own model was
trained, and gives one vector a view, as the model made it: never normalised to unit length,
because the length carries a signal too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from clipaudit.pictures.base import Interpolation

if TYPE_CHECKING:
    from torch import Tensor, device

Output = Literal["embedding", "trunk"]
"""`embedding`: the output that the contrastive loss saw. `trunk`: the features below it."""

OUTPUTS: tuple[Output, ...] = get_args(Output)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input that an encoder wants, read from its own configuration and never guessed.

    Attributes:
        size_px: Side of the square input, in pixels.
        mean: Per-channel mean that is subtracted, RGB, for pixels in [0, 1].
        std: Per-channel standard deviation that is divided by; each above 0.
        interpolation: How the model's own preprocessing resizes.
    """

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation

    def __post_init__(self) -> None:
        if self.size_px < 1:
            raise ValueError(f"size_px must be at least 1, got {self.size_px}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three values each, and every std above 0")


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What is known of a loaded encoder; it goes into every result.

    Attributes:
        spec: The name that it was asked for by, such as `ViT-B-32/openai`.
        output: Which of its outputs it gives.
        input: What it is fed.
        dim: Length of one embedding.
        fingerprint: SHA-256 in hex over the weights, the input and the output: equal exactly
            where the function from pixels to embeddings is, whatever runs it.
        backend: What runs it: `torch` or `onnx`.
        device: The device that runs it: `cpu`, `cuda:0`, `mps`.
    """

    spec: str
    output: Output
    input: InputSpec
    dim: int
    fingerprint: str
    backend: str
    device: str


class Encoder(Protocol):
    """An image encoder that is loaded and ready."""

    @property
    def info(self) -> EncoderInfo:
        """Its name, input, output and fingerprint."""

    @property
    def device(self) -> device:
        """The device on which it wants its views."""

    def embed(self, views: Tensor) -> Tensor:
        """Embeddings of a batch of views.

        Args:
            views: Shape (n, 3, size_px, size_px), float32 RGB in [0, 1], on `device`.

        Returns:
            Shape (n, dim), float32, on `device`, not normalised, detached.

        Raises:
            torch.OutOfMemoryError: The batch does not fit; a smaller one may.
        """


@dataclass(frozen=True, slots=True)
class InputOverrides:
    """Parts of an `InputSpec` that the user gives for files that carry none."""

    size_px: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Interpolation | None = None


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How to load an encoder, beside its spec.

    Attributes:
        output: Which output to give; None takes the one that the loss saw.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; `auto` prefers CUDA, then MPS.
        backend: `auto`, `torch`, `onnx`.
        allow_code: Whether a file that is a program (TorchScript) may be loaded.
        architecture: For a state dict without one: `ViT-B-32`, `timm:NAME`, `torchvision:NAME`.
        input: For files that say nothing of their preprocessing.
        offline: Open no socket; take what is on disk.
        n_views_ahead: Number of views that will be embedded, where that is known: `auto` exports an
            encoder to ONNX only where that pays within the run.
    """

    output: Output | None = None
    device: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    allow_code: bool = False
    architecture: str | None = None
    input: InputOverrides = InputOverrides()
    offline: bool = False
    n_views_ahead: int | None = None
