"""State dicts: finding the encoder in a checkpoint, and its projection head."""

from __future__ import annotations

import json

import pytest
import torch
from torchvision.models import resnet18

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError

RESNET = EncoderOptions(architecture="torchvision:resnet18")
SAID = {"input_size": 32, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def trunk():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = resnet18().state_dict()
    return {name: one for name, one in state.items() if not name.startswith("fc.")}


@pytest.fixture
def load(tmp_path):
    def load_state(state, output=None, said=None):
        path = tmp_path / "weights.pth"
        torch.save(state, path)
        path.with_suffix(".json").write_text(json.dumps(SAID | (said or {})))
        options = EncoderOptions(architecture="torchvision:resnet18", output=output)
        return load_encoder(f"state-dict:{path}", options).info

    return load_state


def mlp(dim=16, hidden=64):
    return {
        "fc.0.weight": torch.randn(hidden, 512, generator=torch.Generator().manual_seed(0)),
        "fc.0.bias": torch.zeros(hidden),
        "fc.2.weight": torch.randn(dim, hidden, generator=torch.Generator().manual_seed(1)),
        "fc.2.bias": torch.zeros(dim),
    }


def linear(dim):
    return {"fc.weight": torch.ones(dim, 512), "fc.bias": torch.zeros(dim)}


def test_a_supervised_classifier_is_left_out(load, trunk):
    info = load({**trunk, **linear(1000)})
    assert (info.output, info.dim) == ("trunk", 512)
    assert info.fingerprint == load(trunk).fingerprint


def test_a_head_of_two_layers_is_what_the_loss_saw(load, trunk):
    info = load({**trunk, **mlp()})
    assert (info.output, info.dim) == ("embedding", 16)
    info = load({**trunk, **mlp()}, output="trunk")
    assert (info.output, info.dim) == ("trunk", 512)


def test_a_linear_head_is_a_projection_only_where_somebody_says_so(load, trunk):
    state = {**trunk, **linear(128)}
    assert load(state).output == "trunk"
    assert load(state, output="embedding").dim == 128
    assert load(state, said={"output": "embedding"}).dim == 128


def test_without_a_head_there_is_no_embedding(load, trunk):
    with pytest.raises(EncoderError, match="no projection head"):
        load(trunk, output="embedding")


@pytest.mark.parametrize("prefix", ["backbone.", "encoder_q.", "model.encoder."])
def test_a_prefix_is_found(load, trunk, prefix):
    state = {prefix + name: one for name, one in trunk.items()}
    state["queue"] = torch.zeros(4, 4)
    assert load({"state_dict": state}).fingerprint == load(trunk).fingerprint


def test_the_encoder_that_is_trained_is_taken_not_the_one_that_trails(load, trunk):
    doubled = {name: one * 2 for name, one in trunk.items()}
    state = {f"student.{name}": one for name, one in trunk.items()}
    state |= {f"teacher.{name}": one for name, one in doubled.items()}
    assert load(state).fingerprint == load(trunk).fingerprint


def test_two_that_are_equal_in_rank_are_asked_about(load, trunk):
    state = {f"left.{name}": one for name, one in trunk.items()}
    state |= {f"right.{name}": one for name, one in trunk.items()}
    with pytest.raises(EncoderError, match=r"left\., right\."):
        load(state)


def test_a_trunk_of_another_shape_is_refused(load, trunk):
    with pytest.raises(EncoderError, match="does not fit"):
        load({**trunk, "conv1.weight": torch.zeros(8, 3, 7, 7)})
    with pytest.raises(EncoderError, match="missing"):
        load({name: one for name, one in trunk.items() if not name.startswith("layer4")})
    with pytest.raises(EncoderError, match="does not fit"):
        load({"something": torch.zeros(3)})


@pytest.mark.parametrize("architecture", ["torchvision:resnet1", "timm:resnet1", "RN5", "x:y"])
def test_an_unknown_architecture_is_answered(tmp_path, architecture):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    path.with_suffix(".json").write_text(json.dumps(SAID))
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"state-dict:{path}", EncoderOptions(architecture=architecture))
    assert caught.value.hint


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.module.", "model.", "model._orig_mod.", "module._orig_mod."]
)
def test_what_a_trunk_was_wrapped_in_changes_nothing(load, trunk, prefix):
    state = {prefix + name: one for name, one in trunk.items()}
    assert load({"state_dict": state}).fingerprint == load(trunk).fingerprint


@pytest.mark.parametrize(
    "head",
    [
        {"fc.weight": torch.ones(512)},
        {"fc.weight": torch.ones(8, 512, 1)},
        {"fc.weight": torch.ones(0, 512)},
        {"fc.weight": torch.ones(())},
        {**mlp(), "fc.0.weight": torch.ones(512)},
        {**mlp(), "fc.2.weight": torch.ones(4, 4, 4)},
        {**mlp(), "fc.2.weight": torch.ones(0)},
    ],
)
def test_a_head_that_is_no_linear_layer_is_refused(load, trunk, head):
    with pytest.raises(EncoderError, match="no linear layer"):
        load({**trunk, **head}, output="embedding")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda one: one.to("meta"), "meta device"),
        (lambda one: one.to_sparse(), "is sparse: sparse_coo"),
        (lambda one: one.flatten(1).to_sparse_csr(), "is sparse: sparse_csr"),
        (lambda one: torch.quantize_per_tensor(one, 0.1, 0, torch.qint8), "quantised: qint8"),
        (lambda one: torch.zeros(1).expand(10**6, 10**6), "4,000,000,000,000 bytes"),
        (lambda one: torch.zeros(1).as_strided((10**6, 10**6), (0, 0)), "more than the whole file"),
        (lambda one: one.to(torch.int8), "is of int8"),
        (lambda one: one > 0, "is of bool"),
        (lambda one: one.to(torch.complex64), "is of complex64"),
        (lambda one: one.to(torch.float8_e4m3fn), "is of float8_e4m3fn"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_tensors_that_hold_no_plain_numbers_are_named(load, trunk, spoil, says):
    with pytest.raises(EncoderError) as caught:
        load({**trunk, "conv1.weight": spoil(trunk["conv1.weight"])})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_that_promises_more_than_there_is_room_for_is_refused(load, trunk):
    head = {"fc.weight": torch.zeros(1).expand(10**6, 10**6)}
    with pytest.raises(EncoderError, match="more than the whole file"):
        load({**trunk, **head}, output="embedding")
