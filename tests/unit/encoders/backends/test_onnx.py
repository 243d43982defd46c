"""ONNX files, among them some that should not be trusted."""

from __future__ import annotations

import json

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
    assert "cannot embed views of 5 × 5" in str(refusal(path))


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
