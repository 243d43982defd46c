"""Stage 3: views → embeddings. What every encoder is, whatever runs it.

An encoder takes a batch of views as RGB in [0, 1], normalises them the way its own model was
trained, and gives one vector a view, as the model made it: never normalised to unit length,
because the length carries a signal too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from clipaudit.pictures.base import Interpolation

if TYPE_CHECKING:
    from torch import Tensor, device

Output = Literal["embedding", "trunk"]
"""`embedding`: the output that the contrastive loss saw. `trunk`: the features below it."""

OUTPUTS: tuple[Output, ...] = get_args(Output)

Precision = Literal["float32", "bfloat16", "float16"]
"""Kinds of number that an encoder computes with."""

LARGEST_PX = 4096
"""Largest side of an input; the largest encoder that is published takes 1,024 pixels."""

BATCH_TIMEOUT_S = 600.0
"""Seconds that an encoder may take for a batch, unless the user says otherwise."""

_SMALLEST_STD = 1e-3
"""1/255, for models that take 0 to 255 as they are, is four times as much."""


class BadInputError(ValueError):
    """An input that no encoder can have been trained on; says what to write instead."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input that an encoder wants, read from its own configuration and never guessed.

    Attributes:
        size_px: Side of the square input, in pixels; at most `LARGEST_PX`.
        mean: Per-channel mean that is subtracted, RGB, for pixels in [0, 1]; in that range too.
        std: Per-channel standard deviation that is divided by; above 0 and at most 1.
        interpolation: How the model's own preprocessing resizes.

    Raises:
        BadInputError: A value that cannot be meant so, such as one for pixels in 0 to 255.
    """

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation

    def __post_init__(self) -> None:
        if not 1 <= self.size_px <= LARGEST_PX:
            raise BadInputError(
                f"the input is {_short(self.size_px)} pixels wide, and 1 to {LARGEST_PX} are "
                "possible",
                "Write the size that the model was trained with, such as 224.",
            )
        if len(self.mean) != 3 or len(self.std) != 3:
            raise BadInputError(
                "mean and std need three values each", "Write one for red, green and blue each."
            )
        _refuse_other_units(self.mean, self.std)
        _refuse_swapped(self.mean, self.std)


def _refuse_other_units(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raise where mean and std are not for pixels in 0 to 1."""
    if _fits(mean, std):
        return
    # Those for 0 to 255 are so much larger. Beside such a mean, a std of 1 is one of them too.
    is_large = max(mean) > 1, max(std) > 1 or (max(mean) > 1 and set(std) == {1})
    by_255 = [
        tuple(round(value / 255, 4) for value in values) if large else values
        for values, large in zip((mean, std), is_large, strict=True)
    ]
    found = f"mean {_listed(mean)} and std {_listed(std)}"
    if any(is_large) and _fits(*by_255):
        raise BadInputError(
            f"{found} are for pixels in 0 to 255, and pixels are in 0 to 1",
            f"Write mean {_listed(by_255[0])} and std {_listed(by_255[1])}: the values divided "
            "by 255.",
        )
    raise BadInputError(
        f"{found} cannot be meant for pixels in 0 to 1",
        f"Each mean must be in 0 to 1, each std in {_SMALLEST_STD:g} to 1.",
    )


def _fits(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    return all(0 <= value <= 1 for value in mean) and all(
        _SMALLEST_STD <= value <= 1 for value in std
    )


def _refuse_swapped(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raise where each stands in the place of the other.

    Numbers in 0 to 1 with mean m have a standard deviation of at most √(m(1 - m)).
    """

    def is_possible(means: tuple[float, ...], deviations: tuple[float, ...]) -> list[bool]:
        pairs = zip(means, deviations, strict=True)
        return [deviation <= math.sqrt(mean * (1 - mean)) for mean, deviation in pairs]

    if all(is_possible(std, mean)) and not all(is_possible(mean, std)) and _fits(std, mean):
        raise BadInputError(
            f"mean {_listed(mean)} and std {_listed(std)} are swapped: pixels with that mean "
            "cannot have that std",
            f"Write mean {_listed(std)} and std {_listed(mean)}.",
        )


def _listed(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _short(number: int) -> str:
    return f"{number:,}" if number < 10**12 else "more than 10^12"


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
        backend: What runs it: `torch`, `torch in bfloat16`, `torch in float16` or `onnx`.
        device: The device that runs it: `cpu`, `cuda:0`, `mps`; `cuda:all (2)` for two GPUs.
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
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `cuda:all`, `mps`; `auto` prefers one CUDA device,
            then MPS.
        backend: `auto`, `torch`, `onnx`.
        precision: Kind of number that it computes with. Each is another function from pixels to
            embeddings, and so has another fingerprint; torch alone runs others than `float32`, and
            `float16` on CUDA alone.
        allow_code: Whether a file that is a program (TorchScript) may be loaded.
        architecture: For a state dict without one: `ViT-B-32`, `timm:NAME`, `torchvision:NAME`.
        input: For files that say nothing of their preprocessing.
        offline: Open no socket; take what is on disk.
        n_views_ahead: Number of views that will be embedded, where that is known: `auto` exports an
            encoder to ONNX only where that pays within the run.
        batch_timeout_s: Seconds that the encoder may take for a batch; for the few views that it is
            tried with, a tenth of that.
    """

    output: Output | None = None
    device: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    precision: Precision = "float32"
    allow_code: bool = False
    architecture: str | None = None
    input: InputOverrides = InputOverrides()
    offline: bool = False
    n_views_ahead: int | None = None
    batch_timeout_s: float = BATCH_TIMEOUT_S

    @property
    def torch_backend(self) -> str:
        """What `EncoderInfo.backend` says of an encoder that torch runs with these options."""
        return "torch" if self.precision == "float32" else f"torch in {self.precision}"

    @property
    def trial_timeout_s(self) -> float:
        """Seconds that the encoder may take for the few views that it is tried with."""
        return self.batch_timeout_s / 10
