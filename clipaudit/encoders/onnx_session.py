"""onnxruntime as a function from tensors to tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders.loaded import in_chunks, require_input_shape
from clipaudit.encoders.third_party import one_line, quiet
from clipaudit.encoders.time_limit import on_time_out
from clipaudit.errors import EncoderError
from clipaudit.telemetry import load_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

_FATAL_ONLY = 4
"""Its log says the errors again that it raises, and quotes names in a file as they are: a terminal
would obey what is in them."""

_ELEMENTS = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def has_cuda() -> bool:
    """Whether the onnxruntime that is installed can use CUDA, if the machine has it."""
    return "CUDAExecutionProvider" in load_onnxruntime().get_available_providers()


def open_session(
    path: Path,
    where: torch.device,
    output_name: str | None = None,
    size_px: int | None = None,
) -> Callable[[Tensor], Tensor]:
    """A function of normalised views, shape (n, 3, size_px, size_px), that runs an ONNX file.

    It takes views on `where` and gives its output there. onnxruntime gets as many threads as
    torch has, and they sleep between two calls: threads that wait busily, its default, would
    take turns with torch, which makes the views, and with the workers that decode.

    Args:
        path: The model; external data stands beside it.
        where: `cpu` or a CUDA device.
        output_name: Which of several outputs is meant.
        size_px: Side of the views, to compare with what the file declares.

    Raises:
        EncoderError: onnxruntime cannot load the file, or it has other inputs and outputs.
    """
    import torch

    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        with quiet():
            session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=_providers(where)
            )
    except Exception as error:
        raise EncoderError(
            f"onnxruntime cannot load {path}: {one_line(error)}",
            "Check that it is an ONNX file, complete, and of an opset that this version knows.",
        ) from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _ELEMENTS:
        described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
        raise EncoderError(
            f"{path} takes {described}, not one batch of pictures (n, 3, height, width)",
            "Export the image half of the model alone, with float input.",
        )
    require_input_shape(inputs[0].shape, size_px, path)
    name = _output(session, output_name, path)
    batch = inputs[0].shape[0]
    run = _on_cpu if where.type == "cpu" else _on_cuda
    element = _ELEMENTS[inputs[0].type]

    def call(views: Tensor) -> Tensor:
        return run(session, inputs[0].name, name, views.to(getattr(torch, element)))

    return in_chunks(call, batch if isinstance(batch, int) and batch > 0 else None)


def _on_cpu(session: Any, input_name: str, output_name: str, views: Tensor) -> Tensor:
    import torch

    feeds = {input_name: views.contiguous().numpy()}
    (embeddings,) = session.run([output_name], feeds, _run_options())
    return torch.from_numpy(embeddings)


def _on_cuda(session: Any, input_name: str, output_name: str, views: Tensor) -> Tensor:
    import numpy as np
    import torch

    views = views.contiguous()
    element = np.float16 if views.dtype == torch.float16 else np.float32
    index = views.device.index or 0
    binding = session.io_binding()
    torch.cuda.current_stream(views.device).synchronize()
    binding.bind_input(input_name, "cuda", index, element, tuple(views.shape), views.data_ptr())
    binding.bind_output(output_name, "cuda", index)
    session.run_with_iobinding(binding, _run_options())
    embeddings = binding.get_outputs()[0]
    return torch.from_numpy(embeddings.numpy()).to(views.device)


def _run_options() -> Any:
    """Options of one run, which ends where its time is over."""
    options = load_onnxruntime().RunOptions()
    options.log_severity_level = _FATAL_ONLY
    on_time_out(lambda: setattr(options, "terminate", True))
    return options


def _providers(where: torch.device) -> list[Any]:
    if where.type == "cpu":
        return ["CPUExecutionProvider"]
    if where.type == "cuda" and has_cuda():
        onnxruntime = load_onnxruntime()
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds CUDA and cuDNN in torch's own packages
        return [
            ("CUDAExecutionProvider", {"device_id": where.index or 0}),
            "CPUExecutionProvider",
        ]
    raise EncoderError(
        f"onnxruntime cannot run on {where} here",
        "Use --device cpu or --backend torch"
        + ("; onnxruntime-gpu is what runs on CUDA." if where.type == "cuda" else "."),
    )


def _output(session: Any, asked: str | None, path: Path) -> str:
    names = [output.name for output in session.get_outputs()]
    if asked is not None and asked in names:
        return asked
    if asked is None and len(names) == 1:
        return str(names[0])
    raise EncoderError(
        f"{path} has no output called {asked!r}" if asked else f"{path} has {len(names)} outputs",
        f'Write "output_name" into {path.with_suffix(".json").name}: one of {", ".join(names)}.',
    )
