"""TorchScript files. They are programs: loading one may run anything, so it must be allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import devices, fingerprint, sidecar, weights
from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions
from clipaudit.encoders.loaded import LoadedEncoder, probe
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor


def load(name: str, options: EncoderOptions) -> Encoder:
    """`torchscript:FILE`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    import torch

    path = Path(name).expanduser()
    spec = f"torchscript:{name}"
    weights.check_is_file(path)
    refuse_code(path, "a TorchScript file", options)
    refuse_onnx_backend(spec, options)
    side = sidecar.read(path, options)
    where = devices.resolve(options.device)
    try:
        with quiet():
            read: Any = torch.jit.load  # untyped in torch
            module = read(str(path), map_location=where).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise EncoderError(
            f"{path} is damaged, or no TorchScript file: {first_line(error)}",
            "Write it with torch.jit.save; for a state dict use state-dict:FILE.",
        ) from error

    def run(views: Tensor) -> Tensor:
        with quiet():
            made: Tensor = module(views)
        return one_tensor(made, spec)

    output = side.output or "embedding"
    info = EncoderInfo(
        spec=spec,
        output=output,
        input=side.input,
        dim=probe(run, side.input, where, spec),
        fingerprint=fingerprint.of_files([path], side.input, output),
        backend="torch",
        device=str(where),
    )
    return LoadedEncoder(info, where, run)


def refuse_code(path: Path, kind: str, options: EncoderOptions) -> None:
    """Raise an EncoderError unless the user allows a file that may run any code."""
    if not options.allow_code:
        raise EncoderError(
            f"{path} is {kind}, a program that could do anything to this machine when it is loaded",
            "Pass --allow-code if you trust where it is from. Safe: an ONNX file, or "
            "safetensors with state-dict:FILE and --architecture.",
        )


def refuse_onnx_backend(spec: str, options: EncoderOptions) -> None:
    """Raise an EncoderError where onnxruntime is asked to run what only torch can."""
    if options.backend == "onnx":
        raise EncoderError(
            f"{spec} can be run by torch only",
            "Drop --backend onnx, or export the model to ONNX and use onnx:FILE.",
        )


def one_tensor(made: object, spec: str) -> Tensor:
    """What a program returned, if it is one tensor.

    Raises:
        EncoderError: It is something else.
    """
    import torch

    if isinstance(made, list | tuple) and len(made) == 1:
        made = made[0]
    if not isinstance(made, torch.Tensor):
        raise EncoderError(
            f"{spec} returns a {type(made).__name__}, not one tensor",
            "Wrap the model so that it returns the embedding alone, and save it again.",
        )
    return made
