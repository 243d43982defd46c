"""ONNX files, run by onnxruntime. They are data: no code runs when one is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipaudit.encoders import devices, onnx_session, sidecar, weights
from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.loaded import encoder_of_files
from clipaudit.errors import EncoderError


def load(name: str, options: EncoderOptions) -> Encoder:
    """`onnx:FILE`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    import torch

    path = Path(name).expanduser()
    spec = f"onnx:{name}"
    weights.check_is_file(path)
    if options.backend == "torch":
        raise EncoderError(f"{spec} can be run by onnxruntime only", "Drop --backend torch.")
    side = sidecar.read(path, options)
    where = devices.resolve(options.device)
    if options.device == "auto" and not (where.type == "cuda" and onnx_session.has_cuda()):
        where = torch.device("cpu")
    data = external_data(path)
    run = onnx_session.open_session(path, where, side.output_name)
    return encoder_of_files(spec, run, [path, *data], side, where, "onnx")


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its larger tensors, in order of their names.

    Raises:
        EncoderError: It is damaged, or names a file outside its own folder, by which it could
            read anything on this machine, or one that is not there.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise EncoderError(
            f"{path} is damaged, or no ONNX file: {' '.join(str(error).split())[:300]}",
            "Export or fetch it again.",
        ) from error
    folder = path.resolve().parent
    files = set()
    for location in sorted(set(_locations(model))):
        # Resolved, so that neither `..` nor a symbolic link leads out.
        file = (folder / location).resolve()
        if not file.is_relative_to(folder):
            raise EncoderError(
                f"{path} wants to read {location}, outside of its own folder; it was refused",
                "Do not use this file unless you know why it does that; save it anew with its "
                "data beside it.",
            )
        weights.check_is_file(file)
        files.add(file)
    return sorted(files)


def _locations(model: Any) -> Iterator[str]:
    for tensor in _tensors(model.graph):
        yield from _location(tensor)
    for function in model.functions:
        for tensor in _of_nodes(function.node):
            yield from _location(tensor)


def _location(tensor: Any) -> Iterator[str]:
    # Listed or not, `data_location` decides for onnxruntime; whatever is named is checked.
    for entry in tensor.external_data:
        if entry.key == "location":
            yield entry.value


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield sparse.values
                yield sparse.indices
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _tensors(graph)
