"""Shadow encoders from folders that somebody else made."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.errors import EncoderError
from clipaudit.shadow.architectures import build
from clipaudit.shadow.encoder import load, save

INPUT = InputSpec(32, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic")


@pytest.fixture
def folder(tmp_path):
    save(build("resnet-small", 32, seed=0), tmp_path, "resnet-small", INPUT)
    return tmp_path


def refusal(folder):
    with pytest.raises(EncoderError, match="holds no shadow encoder") as caught:
        load(str(folder), EncoderOptions())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("std", "[NaN, 1, 1]"),
        ("std", "[Infinity, 1, 1]"),
        ("std", "[1e400, 1, 1]"),
        ("std", "[1e-45, 1, 1]"),
        ("std", '["NaN", 1, 1]'),
        ("mean", "[-Infinity, 0, 0]"),
        ("mean", "[123.675, 116.28, 103.53]"),
        ("size_px", "100000"),
        ("size_px", "1" + "0" * 400),
        ("size_px", "0"),
        ("interpolation", "[" * 200_000),
    ],
)
def test_a_card_that_says_what_cannot_be_is_refused(folder, field, value):
    card = json.loads((folder / "encoder.json").read_text())
    card["input"][field] = "HERE"
    (folder / "encoder.json").write_text(json.dumps(card).replace('"HERE"', value))
    refusal(folder)


@pytest.mark.parametrize("name", ["encoder.json", "encoder.safetensors"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "is a pipe or a device" in refusal(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "is a pipe or a device" in refusal(folder)


@pytest.mark.parametrize("element", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(folder, element):
    state = load_file(folder / "encoder.safetensors")
    first = next(name for name, one in state.items() if one.ndim == 4)
    save_file({**state, first: state[first].to(element)}, folder / "encoder.safetensors")
    assert str(element).removeprefix("torch.") in refusal(folder)
