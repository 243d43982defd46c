"""torch.export programs (.pt2). They must be allowed, like TorchScript.

The format looks like data, but `torch.export.load` of torch 2.15 is not free of code: constants
go through `pickle.loads`, tensors that are marked so through `torch.load(weights_only=False)`,
and shapes through `sympy.sympify`, which evaluates Python. torch's own manual says never to load
one from an untrusted source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import devices, fingerprint, sidecar, weights
from clipaudit.encoders.backends.torch_programs import one_tensor, refuse_code, refuse_onnx_backend
from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions
from clipaudit.encoders.chunks import in_chunks
from clipaudit.encoders.loaded import LoadedEncoder, probe
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor


def load(name: str, options: EncoderOptions) -> Encoder:
    """`torch-export:FILE.pt2`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    import torch

    path = Path(name).expanduser()
    spec = f"torch-export:{name}"
    weights.check_is_file(path)
    refuse_code(path, "a torch.export program", options)
    refuse_onnx_backend(spec, options)
    side = sidecar.read(path, options)
    where = devices.resolve(options.device)
    try:
        with quiet():
            program = torch.export.load(path)
            if where.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, where)
            module = program.module()
    except Exception as error:
        raise EncoderError(
            f"{path} cannot be loaded as a torch.export program: {first_line(error)}",
            "Write it with torch.export.save, by this version of torch or an older one.",
        ) from error

    def run(views: Tensor) -> Tensor:
        return one_tensor(module(views), spec)

    run_any = in_chunks(run, _batch_size(program))
    output = side.output or "embedding"
    info = EncoderInfo(
        spec=spec,
        output=output,
        input=side.input,
        dim=probe(run_any, side.input, where, spec),
        fingerprint=fingerprint.of_files([path], side.input, output),
        backend="torch",
        device=str(where),
    )
    return LoadedEncoder(info, where, run_any)


def _batch_size(program: Any) -> int | None:
    """How many views a program was exported for; None where it takes any number."""
    names = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            size = node.meta["val"].shape[0]
            return size if isinstance(size, int) else None
    return None
