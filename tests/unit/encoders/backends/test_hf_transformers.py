"""What is read of a folder of the transformers library, and what is wrong with one, in a line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.encoders.loaded_text import LoadedTextTower
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.errors import EncoderError, MissingExtraError
from tests.made.encoders import untouched
from tests.made.text_towers import transformers_folder

pytest.importorskip("transformers")

TORCH = EncoderOptions(backend="torch")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What the library writes, as the bytes of its files."""
    folders = {}
    for kind in ("clip", "siglip"):
        folder = tmp_path_factory.mktemp(kind)
        transformers_folder(folder, untouched, kind)
        folders[kind] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return folders


@pytest.fixture
def folder(saved, tmp_path):
    return write(tmp_path / "clip", saved["clip"])


@pytest.fixture
def siglip(saved, tmp_path):
    return write(tmp_path / "siglip", saved["siglip"])


def write(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def change(folder, name, **settings):
    """Change a document; a value of ... is left out."""
    path = folder / name
    document = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))


def error_of(folder, load=load_encoder, options=TORCH):
    with pytest.raises(EncoderError) as caught:
        load(f"transformers:{folder}", options)
    return caught.value


def test_a_file_that_is_missing_is_named(folder):
    (folder / "tokenizer.json").unlink()
    error = error_of(folder, load_text_tower)
    assert "holds no tokenizer, so captions cannot be read" in str(error)
    assert "tokenizer.json and tokenizer_config.json" in error.hint
    load_encoder(f"transformers:{folder}", TORCH)  # pictures need none

    (folder / "preprocessor_config.json").unlink()
    error = error_of(folder)
    assert "does not say how pictures are prepared" in str(error)
    assert "that of the model before it" in error.hint

    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert "holds no weights" in str(error_of(folder))
    (folder / "model.safetensors.index.json").write_text("{}")
    error = error_of(folder)
    assert "holds its weights in several files" in str(error)
    assert "max_shard_size" in error.hint

    (folder / "config.json").unlink()
    assert "there is no" in str(error_of(folder))


def test_the_package_that_is_missing_is_named_with_its_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for load in (load_encoder, load_text_tower):
        with pytest.raises(MissingExtraError, match="needs transformers, which is not") as caught:
            load(f"transformers:{folder}", TORCH)
        assert "pip install '.[transformers]'" in caught.value.hint


@pytest.mark.parametrize("kind", ["blip", None, 3, ["clip"]])
def test_a_model_of_another_kind_is_refused(folder, kind):
    change(folder, "config.json", model_type=kind)
    assert "and transformers: reads clip and siglip" in str(error_of(folder))


@pytest.mark.parametrize("document", ["[]", "3", "{", ""])
def test_a_config_that_is_none_is_refused(folder, document):
    (folder / "config.json").write_text(document)
    assert "config.json" in str(error_of(folder))


def test_siglip_has_no_trunk(siglip):
    error = error_of(siglip, options=EncoderOptions(backend="torch", output="trunk"))
    assert "has no projection" in str(error)


def test_weights_that_do_not_fit_are_refused(folder):
    document = json.loads((folder / "config.json").read_text())
    change(folder, "config.json", vision_config={**document["vision_config"], "hidden_size": 64})
    assert "does not fit the clip of config.json" in str(error_of(folder))


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("vision_config", {"image_size": 10**9}),
        ("vision_config", {"image_size": "32"}),
        ("vision_config", {"num_attention_heads": 7}),
        ("vision_config", {"hidden_act": "no such"}),
        ("text_config", {"max_position_embeddings": 10**9}),
        ("text_config", {"hidden_size": -1}),
    ],
)
def test_what_cannot_be_built_is_refused(folder, part, settings):
    document = json.loads((folder / "config.json").read_text())
    change(folder, "config.json", **{part: {**document[part], **settings}})
    load = load_encoder if part == "vision_config" else load_text_tower
    assert "config.json" in str(error_of(folder, load))


def test_kernels_and_code_that_a_config_asks_for_are_never_loaded(folder):
    before = load_encoder(f"transformers:{folder}", TORCH).info.fingerprint
    document = json.loads((folder / "config.json").read_text())
    vision = {**document["vision_config"], "_attn_implementation": "someone/kernels"}
    change(
        folder,
        "config.json",
        vision_config=vision,
        attn_implementation="someone/kernels",
        auto_map={"AutoModel": "code.Model"},
    )
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    assert load_encoder(f"transformers:{folder}", TORCH).info.fingerprint == before
    change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Tokenizer", None]})
    error = error_of(folder, load_text_tower)
    assert "asks for code that comes with it, and none is run" in str(error)


def test_preprocessing_is_read_in_its_older_and_its_newer_form(folder):
    expected = load_encoder(f"transformers:{folder}", TORCH).info
    path = folder / "preprocessor_config.json"
    document = json.loads(path.read_text())
    path.unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": document}))
    assert load_encoder(f"transformers:{folder}", TORCH).info == expected

    older = {**document, "size": 40, "crop_size": 32, "do_center_crop": True, "resample": 2}
    path.write_text(json.dumps(older))
    assert load_encoder(f"transformers:{folder}", TORCH).info.input.interpolation == "bilinear"
    path.write_text(json.dumps({**older, "do_normalize": False}))
    plain = load_encoder(f"transformers:{folder}", TORCH).info.input
    assert (plain.mean, plain.std) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 40, "width": 40}}, "the model takes 32 × 32"),
        ({"size": {"height": 32, "width": 40}}, "the model takes 32 × 32"),
        ({"size": [32]}, "the model takes 32 × 32"),
        ({"do_rescale": False}, "leaves pixels in 0 to 255"),
        ({"image_mean": ...}, "does not say how pictures are prepared"),
        ({"image_mean": [127, 127, 127]}, "pixels in 0 to 255"),
        ({"image_mean": "half"}, "image_mean = 'half'"),
        ({"resample": 5}, "asks for interpolation 5"),
        ({"resample": [3]}, "asks for interpolation"),
    ],
)
def test_preprocessing_that_cannot_be_meant_is_refused(folder, settings, message):
    change(folder, "preprocessor_config.json", **settings)
    assert message in str(error_of(folder))


def test_an_option_that_contradicts_the_preprocessing_is_refused(folder):
    options = EncoderOptions(backend="torch", input=InputOverrides(size_px=64))
    assert "says itself that its input has size_px = 32" in str(error_of(folder, options=options))


def test_half_a_model_embeds_what_it_can(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    images = {name: value for name, value in tensors.items() if name.startswith("vis")}
    save_file(images, path)
    assert load_encoder(f"transformers:{folder}", TORCH).info.dim == 16
    error = error_of(folder, load_text_tower)
    assert "holds no tensors of a text_model" in str(error)
    captions = {name: value for name, value in tensors.items() if name not in images}
    del captions["logit_scale"]
    save_file(captions, path)
    assert "holds no logit_scale" in str(error_of(folder, load_text_tower))
    assert "holds no tensors of a vision_model" in str(error_of(folder))


def test_weights_in_half_precision_and_with_old_constants_are_read(folder):
    expected = load_text_tower(f"transformers:{folder}", TORCH)
    path = folder / "model.safetensors"
    tensors = {name: value.half() for name, value in load_file(path).items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(12)[None]
    tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(tensors, path)
    found = load_text_tower(f"transformers:{folder}", TORCH)
    texts = ["a photo of a cat"]
    np.testing.assert_allclose(
        found.embed_texts(texts).vectors, expected.embed_texts(texts).vectors, atol=1e-2
    )
    load_encoder(f"transformers:{folder}", TORCH)


def test_a_damaged_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    error = error_of(folder, load_text_tower)
    assert "cannot load the tokenizer of" in str(error)
    assert str(folder) in error.hint


def test_the_tokens_of_clip_are_those_of_open_clip(folder):
    import open_clip

    tower = load_text_tower(f"transformers:{folder}", TORCH)
    assert isinstance(tower, LoadedTextTower)
    texts = ["a photo of a cat", "A Dog's life, 1998 -- vol. 2!", "naïve café"]
    ours = tower.tokenizer.tokens(texts)[0]
    theirs = open_clip.SimpleTokenizer()(texts, 12)
    end = theirs.max()
    for own, their in zip(ours, theirs, strict=True):
        n = int((their == end).nonzero()[0]) + 1
        assert own[:n].tolist() == their[:n].tolist()
        assert set(own[n:].tolist()) <= {int(end)}
