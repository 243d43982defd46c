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
