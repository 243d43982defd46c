"""ONNX files, among them some that should not be trusted."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from clipaudit.encoders.backends.onnx import external_data
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError

SAID = {"input_size": 4, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
WEIGHT = np.arange(3 * 4 * 4 * 2, dtype=np.float32).reshape(48, 2) / 48


def write(path, *, outputs=("embeddings",), shape=("n", 3, 4, 4), element=TensorProto.FLOAT):
    weight = WEIGHT.astype(helper.tensor_dtype_to_np_dtype(element))
    nodes = [
        helper.make_node("Flatten", ["views"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], [outputs[0]]),
    ]
    nodes += [helper.make_node("Identity", ["flat"], [name]) for name in outputs[1:]]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("views", element, list(shape))],
        [value(name, element, None) for name in outputs],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps(SAID))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "encoder.onnx"


def refusal(path, **options):
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"onnx:{path}", EncoderOptions(**options))
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_it_computes_what_the_graph_says(path, element):
    encoder = load_encoder(str(write(path, element=element)))
    views = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    made = encoder.embed(views)
    assert made.dtype == torch.float32
    expected = views.flatten(1) @ torch.from_numpy(WEIGHT)
    torch.testing.assert_close(made, expected, rtol=2e-3, atol=2e-3)


def test_one_of_several_outputs_is_chosen_by_name(path):
    write(path, outputs=("embeddings", "features"))
    assert "one of embeddings, features" in refusal(path).hint
    path.with_suffix(".json").write_text(json.dumps(SAID | {"output_name": "features"}))
    assert load_encoder(str(path)).info.dim == 48
    path.with_suffix(".json").write_text(json.dumps(SAID | {"output_name": "logits"}))
    assert "'logits'" in str(refusal(path))


def test_another_size_than_the_graph_wants_is_refused(path):
    write(path)
    path.with_suffix(".json").write_text(json.dumps(SAID | {"input_size": 5}))
    error = refusal(path)
    assert "takes pictures of 4 × 4 pixels, and its input_size is 5" in str(error)
    assert error.hint.startswith("Write 4 there, in encoder.json")


def test_an_input_that_is_no_batch_of_pictures_is_refused(path):
    write(path, shape=("n", 48))
    assert "not one batch of pictures" in str(refusal(path))
    write(path, element=TensorProto.DOUBLE)
    assert "not one batch of pictures" in str(refusal(path))


def test_torch_does_not_run_it(path):
    assert "--backend" in refusal(write(path), backend="torch").hint


@pytest.mark.parametrize("content", [b"not onnx at all", b"\x08\x07", b"\x00" * 100])
def test_a_file_of_something_else_is_refused(path, content):
    write(path).write_bytes(content)
    assert str(path) in str(refusal(path))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (("n", 1, 4, 4), "takes pictures of 1 channel, so grey ones"),
        (("n", 4, 4, 4), "takes pictures of 4 channels"),
        (("n", 4, 4, 3), "takes (n, height, width, 3)"),
        ((1, 4, 4, 3), "takes (n, height, width, 3)"),
        (("n", "h", "w", 3), "takes (n, height, width, 3)"),
        (("n", 4, 4, 1), "takes (n, height, width, 1)"),
        (("n", 3, 8, 8), "takes pictures of 8 × 8 pixels"),
        (("n", 3, "h", 8), "takes pictures of 8 × 4 pixels"),
        (("n", 3, 4, 6), "takes pictures of 6 × 4 pixels"),
    ],
)
def test_what_an_input_declares_is_named_where_views_are_otherwise(path, capfd, shape, says):
    nodes = [
        helper.make_node("GlobalAveragePool", ["views"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embeddings"]),
    ]
    error = refusal(build(path, nodes, {}, shape))
    assert says in str(error)
    assert error.hint
    assert capfd.readouterr() == ("", "")


def build(path, nodes, constants, shape=("n", 3, 4, 4), element=TensorProto.FLOAT):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("views", TensorProto.FLOAT, list(shape))],
        [value("embeddings", element, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps(SAID))
    return path


@pytest.mark.parametrize("batch", [1, 2, 4, 7, 32])
@pytest.mark.parametrize("declared", ["n", "batch"])
@pytest.mark.parametrize("by_node", [True, False])
def test_a_graph_that_was_exported_for_one_size_of_batch_is_run_so(
    path, capfd, batch, declared, by_node
):
    size = declared if declared == "n" else batch
    shape = np.array([batch, -1])
    nodes = [
        helper.make_node("Reshape", ["views", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["embeddings"]),
    ]
    constants = {"weight": WEIGHT}
    if by_node:
        constant = helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(shape))
        nodes.insert(0, constant)
    else:
        constants["shape"] = shape
    encoder = load_encoder(str(build(path, nodes, constants, (size, 3, 4, 4))))
    views = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = views.flatten(1) @ torch.from_numpy(WEIGHT)
    torch.testing.assert_close(encoder.embed(views), expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("element", "name"), [(TensorProto.INT8, "int8"), (TensorProto.BOOL, "bool")]
)
def test_numbers_that_are_no_embedding_are_refused(path, element, name):
    nodes = [
        helper.make_node("Flatten", ["views"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["embeddings"], to=element),
    ]
    assert f"numbers of {name}" in str(refusal(build(path, nodes, {}, element=element)))


def endless_loop(path, turns=2**62):
    """A graph that adds something to its embeddings again and again."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, None),
        ],
        [value("go_on", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Flatten", ["views"], ["flat"]),
        helper.make_node("Loop", ["turns", "go", "flat"], ["embeddings"], body=body),
    ]
    return build(path, nodes, {"turns": np.array(turns), "go": np.array(True)})


def test_a_loop_that_does_not_end_is_given_up_in_time(path):
    started = time.monotonic()
    before = set(threading.enumerate())
    error = refusal(endless_loop(path), batch_timeout_s=3)
    assert "no answer for 2 views within 0.3 s" in str(error)
    assert "--batch-timeout" in error.hint
    assert time.monotonic() - started < 4
    assert set(threading.enumerate()) <= before  # it was ended, not left behind


def test_a_loop_that_ends_is_run(path):
    assert load_encoder(str(endless_loop(path, turns=3))).info.dim == 48


ESCAPE = "\x1b]0;owned\x07\x1b[31m\nred"


def test_names_in_a_graph_do_not_reach_the_terminal(path, capfd):
    nodes = [
        helper.make_node("Flatten", ["views"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["embeddings"], name=ESCAPE),
    ]
    # The shapes of this one do not fit, and those of the next are no shapes.
    error = refusal(build(path, nodes, {"weight": np.ones((7, 2), np.float32)}))
    assert "\n" not in str(error)
    nodes[1] = helper.make_node("Reshape", ["flat", "weight"], ["embeddings"], name=ESCAPE)
    refusal(build(path, nodes, {"weight": np.array([-5, 7])}))
    nodes[1] = helper.make_node(ESCAPE, ["flat"], ["embeddings"], name=ESCAPE)
    refusal(build(path, nodes, {}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("location", ["weights\0.data", "\0", "a/" * 3000 + "b", "x" * 300])
def test_data_under_a_name_that_cannot_be_is_refused(path, location):
    point_outside(path, location, "initializer")
    error = refusal(path)
    assert str(error).isprintable()
    assert len(str(error)) < 1000


def test_a_pipe_in_the_place_of_data_is_refused(path):
    point_outside(path, "weights.data", "initializer")
    os.mkfifo(path.parent / "weights.data")
    assert "is a pipe or a device" in str(refusal(path))


def point_outside(path, location, where):
    """Make a model whose weight, wherever it stands in the graph, is in another file."""
    model = onnx.load(write(path))
    tensor = model.graph.initializer.pop()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    if where == "initializer":
        model.graph.initializer.append(tensor)
    elif where == "constant":
        node = helper.make_node("Constant", [], ["weight"], value=tensor)
        model.graph.node.insert(0, node)
    elif where == "branch":
        inner = helper.make_graph(
            [helper.make_node("Constant", [], ["w"], value=tensor)], "inner", [], []
        )
        model.graph.node.append(
            helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)
        )
    elif where == "function":
        node = helper.make_node("Constant", [], ["w"], value=tensor)
        opset = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "F", [], ["w"], [node], opset))
    else:
        tensor.dims[:] = [1]
        sparse = onnx.SparseTensorProto(values=tensor, indices=numpy_helper.from_array(WEIGHT))
        model.graph.sparse_initializer.append(sparse)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("where", ["initializer", "constant", "branch", "function", "sparse"])
@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/../../secret"])
def test_data_outside_the_folder_is_refused(tmp_path, where, location):
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "encoder.onnx"
    point_outside(path, location, where)
    assert "outside of its own folder" in str(refusal(path))


def test_a_link_does_not_lead_outside_either(tmp_path):
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "encoder.onnx"
    point_outside(path, "weights.data", "initializer")
    (tmp_path / "model" / "weights.data").symlink_to(tmp_path / "secret")
    assert "outside of its own folder" in str(refusal(path))


def test_data_beside_the_file_belongs_to_the_fingerprint(path):
    point_outside(path, "weights.data", "initializer")
    assert "there is no file" in str(refusal(path))
    data = path.parent / "weights.data"
    data.write_bytes(WEIGHT.tobytes())
    assert external_data(path) == [data]
    first = load_encoder(str(path)).info.fingerprint
    data.write_bytes((WEIGHT + 1).tobytes())
    assert load_encoder(str(path)).info.fingerprint != first
