"""The JSON beside a model file."""

from __future__ import annotations

import json

import pytest

from clipaudit.encoders import sidecar
from clipaudit.encoders.base import EncoderOptions, InputOverrides, InputSpec
from clipaudit.errors import EncoderError

WHOLE = {
    "input_size": 32,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
    "interpolation": "bicubic",
}
SPEC = InputSpec(32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bicubic")


@pytest.fixture
def model(tmp_path):
    return tmp_path / "encoder.onnx"


def write(model, said):
    model.with_suffix(".json").write_text(said if isinstance(said, str) else json.dumps(said))


def refusal(model, options=EncoderOptions()):
    with pytest.raises(EncoderError) as caught:
        sidecar.read(model, options)
    return caught.value


@pytest.mark.parametrize("size", [32, [32], [32, 32], [3, 32, 32]])
def test_a_whole_file_is_read(model, size):
    write(model, WHOLE | {"input_size": size, "name": "mine"})
    assert sidecar.read(model, EncoderOptions()) == sidecar.Sidecar(SPEC, None, None)


@pytest.mark.parametrize("missing", WHOLE)
def test_it_asks_for_exactly_what_is_missing(model, missing):
    write(model, {key: value for key, value in WHOLE.items() if key != missing})
    error = refusal(model)
    assert str(error).endswith(f"missing: {missing}")
    assert f'{{"{missing}": ' in error.hint
    assert f"--{missing.replace('_', '-')} " in error.hint
    assert str(model.with_suffix(".json")) in error.hint


def test_without_a_file_it_asks_for_everything(model):
    assert str(refusal(model)).endswith("missing: input_size, mean, std, interpolation")


def test_options_fill_in_and_win(model):
    options = EncoderOptions(
        input=InputOverrides(SPEC.size_px, SPEC.mean, SPEC.std, SPEC.interpolation)
    )
    assert sidecar.read(model, options).input == SPEC
    write(model, WHOLE | {"input_size": 64, "interpolation": "bilinear"})
    assert sidecar.read(model, options).input == SPEC


def test_the_output_is_said_by_the_file_or_by_the_user(model):
    write(model, WHOLE)
    assert sidecar.read(model, EncoderOptions(output="trunk")).output == "trunk"
    write(model, WHOLE | {"output": "trunk", "output_name": "pooled"})
    read = sidecar.read(model, EncoderOptions())
    assert (read.output, read.output_name) == ("trunk", "pooled")
    assert "not the embedding" in str(refusal(model, EncoderOptions(output="embedding")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": 0},
        {"input_size": "big"},
        {"input_size": True},
        {"input_size": [32, 64]},
        {"input_size": []},
        {"input_size": [1, 2, 3, 4]},
        {"mean": [0.5]},
        {"mean": 0.5},
        {"mean": ["a", "b", "c"]},
        {"mean": [float("nan")] * 3},
        {"std": [0.2, 0.2, 0.0]},
        {"std": [0.2, 0.2, -1]},
        {"interpolation": "cubic"},
        {"interpolation": 3},
        {"output": "logits"},
        {"output": ["trunk"]},
        {"output_name": 7},
    ],
)
def test_what_makes_no_sense_is_refused(model, wrong):
    write(model, WHOLE | wrong)
    assert refusal(model).hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00"])
def test_what_is_no_json_object_is_refused(model, text):
    write(model, text)
    assert str(model.with_suffix(".json")) in str(refusal(model))
