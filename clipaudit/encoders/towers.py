"""A torch module with all that turns it into an encoder, run by torch or by onnxruntime.

Each backend that ends in a torch module (open_clip, timm, torchvision, a state dict) gives a
`Tower`; `ready` makes an encoder of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clipaudit.encoders import devices, fingerprint
from clipaudit.encoders.base import (
    Encoder,
    EncoderInfo,
    EncoderOptions,
    InputSpec,
    Output,
    Precision,
)
from clipaudit.encoders.loaded import LoadedEncoder, move, not_finite, probe
from clipaudit.encoders.third_party import quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """An image encoder as a torch module, on the CPU, that normalises nothing by itself.

    Attributes:
        spec: The name that it was asked for by.
        module: Normalised views, shape (n, 3, size_px, size_px), → (n, dim).
        input: What it is fed.
        output: Which output the module gives.
        auto_onnx: Whether `auto` may take onnxruntime; only where that is known to pay.
    """

    spec: str
    module: nn.Module
    input: InputSpec
    output: Output
    auto_onnx: bool = False


def ready(tower: Tower, options: EncoderOptions) -> Encoder:
    """The encoder of a tower, on its device, run by the backend that was asked for.

    Args:
        tower: On the CPU; it is the encoder's from here on.
        options: Device and backend.

    Raises:
        EncoderError: There is no such device or backend, or the model does not run.
    """
    where = devices.resolve(options.device)
    module = tower.module.eval().requires_grad_(requires_grad=False)
    is_short = options.precision != "float32"
    if is_short:
        require_torch(options)
        # Before the fingerprint, which tells precisions apart.
        module = shorten(module, options.precision, tower.spec)
    info = EncoderInfo(
        spec=tower.spec,
        output=tower.output,
        input=tower.input,
        dim=0,
        fingerprint=fingerprint.of_module(module, tower.input, tower.output),
        backend=options.torch_backend,
        device=str(where),
    )
    if options.backend != "torch" and not is_short:
        from clipaudit.encoders import onnx_export

        encoder = onnx_export.encoder(module, info, where, options, auto=tower.auto_onnx)
        if encoder is not None:
            return encoder
    with quiet():
        module = move(module, where, tower.spec)
    run = of_float32(module, where, options.precision) if is_short else module
    dim = probe(
        run,
        tower.input,
        where,
        tower.spec,
        options.trial_timeout_s,
        precision=options.precision,
    )
    return LoadedEncoder(replace(info, dim=dim), where, run)


def require_torch(options: EncoderOptions) -> None:
    """Raise an EncoderError where onnxruntime is insisted on for what torch alone runs."""
    if options.backend == "onnx":
        raise EncoderError(
            f"onnxruntime does not run encoders in {options.precision}",
            "Leave out --backend onnx or --precision.",
        )


def shorten(module: nn.Module, precision: Precision, spec: str) -> nn.Module:
    """A module with its numbers in that precision.

    Raises:
        EncoderError: float16 does not hold one of them.
    """
    import torch

    module = module.to(getattr(torch, precision))
    if precision == "float16" and not all(map(_is_finite, module.state_dict().values())):
        raise not_finite(spec, precision)
    return module


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def of_float32(
    module: nn.Module, where: torch.device, precision: Precision
) -> Callable[[Tensor], Tensor]:
    """A function of float32 views from a module in another precision.

    On CUDA its convolutions go channels last, the layout of the fast ones in half precision, unless
    there is but one, as in a vision transformer.
    """
    import torch
    from torch.nn.utils import convert_conv2d_weight_memory_format

    kind = getattr(torch, precision)
    layout = torch.preserve_format
    n_convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in module.modules())
    if where.type == "cuda" and n_convolutions > 1:
        layout = torch.channels_last
        convert_conv2d_weight_memory_format(module, layout)

    def run(views: Tensor) -> Tensor:
        answer: Tensor = module(views.to(kind, memory_format=layout))
        return answer

    return run


def refuse_overrides(options: EncoderOptions, spec: InputSpec, name: str) -> None:
    """Raise an EncoderError where the user contradicts what a model says of its own input."""
    for key in ("size_px", "mean", "std", "interpolation"):
        given, own = getattr(options.input, key), getattr(spec, key)
        if given is not None and given != own:
            raise EncoderError(
                f"{name} says itself that its input has {key} = {own}, not {given}",
                "Drop that option: it is for files that do not say how they were fed.",
            )


def choose(asked: Output | None, kinds: tuple[Output, ...], name: str) -> Output:
    """The output to give, of those that there are.

    Raises:
        EncoderError: The one that was asked for is not among them.
    """
    if asked is None or asked in kinds:
        return asked or kinds[0]
    if asked == "trunk":
        raise no_trunk(name)
    raise EncoderError(
        f"{name} has no contrastive head: it gives its pooled features, the trunk",
        "Use --output trunk, or leave it out.",
    )


def no_trunk(name: str) -> EncoderError:
    """The error for an encoder whose contrastive loss saw its pooled features themselves."""
    return EncoderError(
        f"{name} has no projection: its pooled features are what the contrastive loss saw",
        "Use --output embedding.",
    )
