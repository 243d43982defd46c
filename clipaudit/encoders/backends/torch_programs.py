"""Programs that torch saved: TorchScript files and torch.export programs (.pt2).

Loading either may run any code, so it must be allowed. A torch.export program looks like data, but
`torch.export.load` of torch 2.15 is not free of code: constants go through `pickle.loads`, tensors
that are marked so through `torch.load(weights_only=False)`, and shapes through `sympy.sympify`,
which evaluates Python. torch's own manual says never to load one from an untrusted source.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import devices, sidecar
from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.loaded import encoder_of_files, in_chunks, require_input_shape
from clipaudit.encoders.model_files import check_is_file
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Program = Callable[[Tensor], object]
    Shape = tuple[int | None, ...]
    Read = Callable[[Path, torch.device], tuple[Program, Shape | None]]


def load_script(name: str, options: EncoderOptions) -> Encoder:
    """`torchscript:FILE`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    return _load("torchscript", name, "a TorchScript file", _read_script, options)


def load_export(name: str, options: EncoderOptions) -> Encoder:
    """`torch-export:FILE.pt2`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    return _load("torch-export", name, "a torch.export program", _read_export, options)


def _load(scheme: str, name: str, kind: str, read: Read, options: EncoderOptions) -> Encoder:
    path = Path(name).expanduser()
    spec = f"{scheme}:{name}"
    check_is_file(path)
    if not options.allow_code:
        raise EncoderError(
            f"{path} is {kind}, a program that could do anything to this machine when it is loaded",
            "Pass --allow-code if you trust where it is from. Safe: an ONNX file, or "
            "safetensors with state-dict:FILE and --architecture.",
        )
    if options.backend == "onnx":
        raise EncoderError(
            f"{spec} can be run by torch only",
            "Drop --backend onnx, or export the model to ONNX and use onnx:FILE.",
        )
    side = sidecar.read(path, options)
    where = devices.resolve(options.device)
    program, shape = read(path, where)
    batch_size = None
    if shape is not None:
        require_input_shape(shape, side.input.size_px, path)
        batch_size = shape[0]

    def run(views: Tensor) -> Tensor:
        with quiet():
            returned = program(views)
        return _one_tensor(returned, spec)

    return encoder_of_files(
        spec,
        in_chunks(run, batch_size),
        [path],
        side,
        where,
        "torch",
        options.trial_timeout_s,
    )


def _read_script(path: Path, where: torch.device) -> tuple[Program, None]:
    import torch

    try:
        with quiet():
            read: Any = torch.jit.load  # untyped in torch
            return read(str(path), map_location=where).eval(), None
    except (RuntimeError, ValueError, OSError) as error:
        raise EncoderError(
            f"{path} is damaged, or no TorchScript file: {first_line(error)}",
            "Write it with torch.jit.save; for a state dict use state-dict:FILE.",
        ) from error


def _read_export(path: Path, where: torch.device) -> tuple[Program, Shape | None]:
    import torch

    try:
        with quiet():
            program = torch.export.load(path)
            if where.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, where)
            return program.module(), _input_shape(program)
    except Exception as error:
        raise EncoderError(
            f"{path} cannot be loaded as a torch.export program: {first_line(error)}",
            "Write it with torch.export.save, by this version of torch or an older one.",
        ) from error


def _input_shape(program: Any) -> Shape | None:
    """Shape of the first input, None for what may be of any size, if it has four dimensions."""
    names = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            shape = getattr(node.meta.get("val"), "shape", ())
            sizes = tuple(size if isinstance(size, int) else None for size in shape)
            return sizes if len(sizes) == 4 else None
    return None


def _one_tensor(returned: object, spec: str) -> Tensor:
    """What a program returned, if it is one tensor.

    Raises:
        EncoderError: It is something else.
    """
    import torch

    if isinstance(returned, list | tuple) and len(returned) == 1:
        returned = returned[0]
    if not isinstance(returned, torch.Tensor):
        raise EncoderError(
            f"{spec} returns a {type(returned).__name__}, not one tensor",
            "Wrap the model so that it returns the embedding alone, and save it again.",
        )
    return returned
