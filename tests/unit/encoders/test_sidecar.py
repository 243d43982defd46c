"""The JSON beside a model file."""

from __future__ import annotations

import json
import os

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


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"]
)
def test_a_file_is_read_in_the_encodings_of_json_with_a_mark_at_its_beginning_or_not(
    model, encoding
):
    model.with_suffix(".json").write_bytes(json.dumps(WHOLE).encode(encoding))
    assert sidecar.read(model, EncoderOptions()).input == SPEC


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 200_000 + "]" * 200_000,
        '{"mean":' * 200_000,
        json.dumps(WHOLE)[:-1] + ', "more": ' + "[" * 200_000 + "]" * 200_000 + "}",
        json.dumps(WHOLE)[:-1] + ', "input_size": 1' + "0" * 400 + "}",
        json.dumps(WHOLE)[:-1] + ', "input_size": 1' + "0" * 100_000 + "}",
        json.dumps(WHOLE)[:-1] + ', "std": [1e400, 1, 1]}',
        json.dumps(WHOLE)[:-1] + ', "std": [NaN, 1, 1]}',
        json.dumps(WHOLE)[:-1] + ', "std": [Infinity, 1, 1]}',
        json.dumps(WHOLE)[:-1] + ', "mean": ' + "[" * 500 + "]" * 500 + "}",
        " " * 2_000_000 + json.dumps(WHOLE),
        '{"mean": "' + "x" * 500_000 + '"}',
        json.dumps(WHOLE | {"mean": "x" * 500_000}),
        json.dumps(WHOLE | {"interpolation": "x" * 500_000}),
    ],
)
def test_what_was_made_to_break_a_reader_is_refused_in_a_line(model, text):
    write(model, text)
    error = refusal(model)
    assert len(str(error)) < 600
    assert "\n" not in str(error)


@pytest.mark.parametrize("size", [4097, 100_000, 10**6, 10**12, 10**300, [10**5, 10**5]])
def test_a_size_of_no_encoder_is_refused(model, size):
    write(model, WHOLE | {"input_size": size})
    assert "1 to 4096 are possible" in str(refusal(model))


@pytest.mark.parametrize("values", [[1e-45] * 3, [0.2, 0.2, 1e-300], [1e300] * 3, [2, 2, 2]])
def test_a_std_of_no_pictures_is_refused(model, values):
    write(model, WHOLE | {"std": values})
    assert "std" in str(refusal(model))


def test_values_for_0_to_255_are_refused_from_the_file_and_from_options(model):
    large = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    write(model, WHOLE | {"mean": large[0], "std": large[1]})
    error = refusal(model)
    assert "mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]" in error.hint
    write(model, WHOLE)
    options = EncoderOptions(input=InputOverrides(mean=large[0], std=large[1]))
    assert refusal(model, options).hint == error.hint


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf")])
def test_options_that_are_no_numbers_of_pixels_are_refused(model, value):
    write(model, WHOLE)
    assert refusal(model, EncoderOptions(input=InputOverrides(mean=(value,) * 3))).hint


def test_a_pipe_a_device_or_a_folder_in_its_place_is_refused(model):
    path = model.with_suffix(".json")
    os.mkfifo(path)
    assert "is a pipe or a device" in str(refusal(model))
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "is a pipe or a device" in str(refusal(model))
    path.unlink()
    path.mkdir()
    assert "is a folder" in str(refusal(model))
