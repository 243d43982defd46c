"""What is wrong with the text half of an encoder, said in a line."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.text_towers import has_text_tower, load_text_tower
from clipaudit.errors import EncoderError, MissingExtraError
from tests.made.encoders import conv_net, describe, untouched
from tests.made.text_towers import from_folder, from_folder_of_parts


@pytest.fixture
def folder(tmp_path):
    from_folder(tmp_path, untouched)
    return tmp_path


def change_config(folder, **settings):
    path = folder / "open_clip_config.json"
    document = json.loads(path.read_text())
    text = document["model_cfg"]["text_cfg"]
    document["model_cfg"]["text_cfg"] = {**text, **settings}
    path.write_text(json.dumps(document))


def change_weights(folder, change):
    path = folder / "open_clip_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def error_of(folder, **options):
    with pytest.raises(EncoderError) as caught:
        load_text_tower(f"local-dir:{folder}", EncoderOptions(**options))
    return caught.value


def test_an_encoder_of_pictures_alone_is_refused_with_those_that_read_captions(tmp_path):
    path = tmp_path / "encoder.pt"
    torch.save(conv_net(untouched).state_dict(), path)
    describe(path)
    spec = f"state-dict:{path}"
    assert not has_text_tower(spec)
    with pytest.raises(EncoderError, match="has no text tower, so it cannot embed captions") as got:
        load_text_tower(spec)
    assert "open_clip:, hf-hub:, local-dir:" in got.value.hint
    assert has_text_tower("ViT-B-32/openai")
    assert has_text_tower("hf-hub:org/name")
    assert not has_text_tower("timm:resnet10t.c3_in1k")


def test_captions_stand_beside_no_trunk(folder):
    error = error_of(folder, output="trunk")
    assert "its trunk is asked for" in str(error)
    assert "--output trunk" in error.hint


def test_weights_of_the_image_half_alone_hold_no_text_tower(folder):
    def drop(tensors):
        for name in [name for name in tensors if not name.startswith("visual.")]:
            del tensors[name]

    change_weights(folder, drop)
    error = error_of(folder)
    assert "holds no text tower that fits" in str(error)


def test_a_text_tower_with_more_layers_than_it_says_is_refused(folder):
    change_config(folder, layers=1)
    assert "does not fit the text tower of" in str(error_of(folder))


def test_weights_of_another_context_are_refused(folder):
    change_config(folder, context_length=20)
    error = error_of(folder)
    assert "positional_embedding: (12, 64) instead of (20, 64)" in str(error)


def test_a_tokenizer_with_more_tokens_than_the_tower_knows_is_refused(folder):
    change_config(folder, vocab_size=64)
    change_weights(
        folder,
        lambda tensors: tensors.update(
            {"token_embedding.weight": tensors["token_embedding.weight"][:64].clone()}
        ),
    )
    assert "gives the token 49,407, and its text tower knows 64 tokens" in str(error_of(folder))


@pytest.mark.parametrize("length", [10**9, 0, "77", None])
def test_a_context_that_nobody_trained_with_is_refused(folder, length):
    change_config(folder, context_length=length)
    assert "asks for captions of" in str(error_of(folder))


@pytest.mark.parametrize("config", [[], {}, {"model_cfg": 3}, {"model_cfg": {"text_cfg": []}}])
def test_a_folder_that_does_not_describe_its_text_tower_is_refused(folder, config):
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert "does not say what its text tower is" in str(error_of(folder))


@pytest.mark.parametrize("settings", [{"heads": 7}, {"width": -1}, {"pool_type": "x"}])
def test_a_text_tower_that_cannot_be_built_is_refused(folder, settings):
    change_config(folder, **settings)
    error = error_of(folder)
    assert "cannot build the text tower of" in str(error)
    assert "open_clip_config.json" in error.hint


def test_a_model_without_the_scale_of_its_loss_is_refused(folder):
    change_weights(folder, lambda tensors: tensors.pop("logit_scale"))
    assert "holds no logit_scale" in str(error_of(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e4])
def test_a_scale_that_is_no_factor_is_refused(folder, value):
    change_weights(folder, lambda tensors: tensors.update(logit_scale=torch.tensor(value)))
    assert "no encoder can have been trained" in str(error_of(folder))


def test_weights_that_are_not_finite_are_refused(folder):
    change_weights(folder, lambda tensors: tensors["text_projection"].fill_(float("nan")))
    assert "gives no finite vector a caption" in str(error_of(folder))


def test_a_bias_makes_the_loss_sigmoid_wherever_it_stands(tmp_path):
    from_folder_of_parts(tmp_path, untouched)
    info = load_text_tower(f"local-dir:{tmp_path}").info
    assert (info.loss, info.bias) == ("sigmoid", -10.0)
    assert info.scale == pytest.approx(9.974, abs=1e-3)
    change_weights(tmp_path, lambda tensors: tensors.pop("logit_bias"))
    info = load_text_tower(f"local-dir:{tmp_path}").info
    assert (info.loss, info.bias) == ("sigmoid", 0.0)  # as open_clip fills it in


def test_a_tokenizer_of_a_library_that_is_missing_names_the_command(folder, monkeypatch):
    change_config(folder, hf_tokenizer_name="org/tokenizer")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError) as caught:
        load_text_tower(f"local-dir:{folder}", EncoderOptions(offline=True))
    error = caught.value
    assert "needs transformers, which is not installed" in str(error)
    assert "pip install '.[transformers]'" in error.hint


def test_a_tokenizer_that_is_not_on_the_machine_says_what_to_fetch(folder, monkeypatch, tmp_path):
    from huggingface_hub import constants

    pytest.importorskip("transformers")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    change_config(folder, hf_tokenizer_name="org/tokenizer")
    error = error_of(folder, offline=True)
    assert "tokenizer.json" in str(error)
    assert "org/tokenizer is not in the cache" in str(error)
    assert f"put it into {folder}" in error.hint


def test_the_settings_that_leave_no_trace_in_weights_are_in_the_fingerprint(folder):
    first = load_text_tower(f"local-dir:{folder}").info.fingerprint
    change_config(folder, no_causal_mask=True)
    second = load_text_tower(f"local-dir:{folder}").info.fingerprint
    change_config(folder, no_causal_mask=False, tokenizer_kwargs={"clean": "canonicalize"})
    third = load_text_tower(f"local-dir:{folder}").info.fingerprint
    assert len({first, second, third}) == 3
