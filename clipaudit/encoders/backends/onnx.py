"""ONNX files, run by onnxruntime. They are data: no code runs when one is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import devices, onnx_session, sidecar
from clipaudit.encoders.base import Encoder, EncoderOptions, InputSpec
from clipaudit.encoders.loaded import SlowEncoderError, encoder_of_files, in_chunks, probe
from clipaudit.encoders.model_files import check_is_file
from clipaudit.encoders.third_party import one_line
from clipaudit.errors import EncoderError, extra_imports

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LARGEST_BATCH = 1024
_MOST_TRIES = 4


def load(name: str, options: EncoderOptions) -> Encoder:
    """`onnx:FILE`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    import torch

    path = Path(name).expanduser()
    spec = f"onnx:{name}"
    check_is_file(path)
    if options.backend == "torch":
        raise EncoderError(f"{spec} can be run by onnxruntime only", "Drop --backend torch.")
    side = sidecar.read(path, options)
    where = devices.resolve(options.device)
    if options.device == "auto" and not (where.type == "cuda" and onnx_session.has_cuda()):
        where = torch.device("cpu")
    data = external_data(path)
    run = onnx_session.open_session(path, where, side.output_name, side.input.size_px)
    run = _of_any_batch(run, path, side.input, where, options.trial_timeout_s)
    return encoder_of_files(spec, run, [path, *data], side, where, "onnx", options.trial_timeout_s)


def _of_any_batch(
    run: Callable[[Tensor], Tensor],
    path: Path,
    spec: InputSpec,
    where: torch.device,
    timeout_s: float,
) -> Callable[[Tensor], Tensor]:
    """A function of batches of any size, also where the graph was exported for one size.

    Where its input does not say so, such a graph fails with other sizes, or gives other rows; the
    size stands in what it shapes arrays to. The function is as it was where no size works.
    """
    for size in (None, *_batch_sizes(path)):
        chunked = in_chunks(run, size)
        try:
            for n_views in (2, 3):  # a graph for two takes two by chance
                probe(chunked, spec, where, str(path), timeout_s, n_views)
        except SlowEncoderError:
            raise
        except EncoderError:
            continue
        return chunked
    return run


def _batch_sizes(path: Path) -> Iterator[int]:
    """Sizes that the batches of a graph may be fixed to, the likeliest first."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    sizes = Counter({1: 1})
    for node in graph.node:
        shape = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in ("Reshape", "Expand") or shape is None or shape.external_data:
            continue
        numbers = numpy_helper.to_array(shape).ravel()
        if len(numbers) and 0 < numbers[0] <= _LARGEST_BATCH:
            sizes[int(numbers[0])] += 1
    for size, _ in sizes.most_common(_MOST_TRIES):
        yield size


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its larger tensors, in order of their names.

    Raises:
        EncoderError: It is damaged, or names a file outside its own folder, by which it could
            read anything on this machine, or one that is not there.
    """
    with extra_imports("An ONNX encoder"):
        import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise EncoderError(
            f"{path} is damaged, or no ONNX file: {one_line(error)}",
            "Export or fetch it again.",
        ) from error
    folder = path.resolve().parent
    files = set()
    for location in sorted(set(_locations(model))):
        # Resolved, so that neither `..` nor a symbolic link leads out.
        try:
            file = (folder / location).resolve()
            file.exists()
        except (ValueError, OSError, RuntimeError) as error:  # NUL, too long, links in a circle
            raise EncoderError(
                f"{path} names a file of data that cannot be: {location[:100]!a}",
                "Save it anew with its data beside it.",
            ) from error
        if not file.is_relative_to(folder):
            raise EncoderError(
                f"{path} wants to read {location}, outside of its own folder; it was refused",
                "Do not use this file unless you know why it does that; save it anew with its "
                "data beside it.",
            )
        check_is_file(file)
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
