"""Text towers and tokenizers from a hub on the loopback, and then without any network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.text_towers import load_text_tower
from tests.integration.test_hub import NO_SOCKETS, run
from tests.made.encoders import seeded, untouched
from tests.services.hub import serve, vitb32_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="as tests of the hub")

TEXTS = ["a photo of a cat", "A CAT & a dog, café", "word " * 200]

LOAD = """
import json, sys
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.text_towers import load_text_tower
options = EncoderOptions(offline=OFFLINE, backend="torch")
tower = load_text_tower(sys.argv[1], options)
found = tower.embed_texts(json.loads(sys.argv[2]))
print(json.dumps({"text": tower.info.fingerprint, "vectors": found.vectors.tolist(),
                  "image": load_encoder(sys.argv[1], options).info.fingerprint}))
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that this process knows alone."""
    from huggingface_hub import constants

    with serve() as made:
        env = made.env(tmp_path / "home")
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        address = f"{made.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        yield made


def publish(hub, name, folder):
    hub.repositories[name] = {path.name: path for path in Path(folder).iterdir()}


def check_that_it_comes_once(spec, hub, home, expected):
    """Load both halves from the hub, and then in another process without a socket."""
    options = EncoderOptions(backend="torch")
    tower = load_text_tower(spec, options)
    found = tower.embed_texts(TEXTS)
    assert found.is_cut.tolist() == [False, False, True]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    image = load_encoder(spec, options).info.fingerprint
    program = NO_SOCKETS + LOAD
    again = run(program, spec, json.dumps(TEXTS), env=hub.env(home), offline=True, timeout=240)
    assert (again["text"], again["image"]) == (tower.info.fingerprint, image)
    np.testing.assert_allclose(again["vectors"], found.vectors, atol=1e-6)


def test_the_default_encoder_embeds_captions_as_open_clip_does_at_its_true_size():
    import open_clip
    from safetensors.torch import load_file

    tower = load_text_tower(f"ViT-B-32-quickgelu/{vitb32_file()}")
    assert (tower.info.context_length, tower.info.dim) == (77, 512)
    found = tower.embed_texts(TEXTS)
    assert found.is_cut.tolist() == [False, False, True]
    model = open_clip.create_model(
        "ViT-B-32-quickgelu", load_weights=False, pretrained_text=False
    ).eval()
    model.load_state_dict(load_file(vitb32_file()))
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS)).numpy()
    difference = np.linalg.norm(found.vectors - expected, axis=1)
    assert (difference / np.linalg.norm(expected, axis=1)).max() < 1e-5


def test_a_text_tower_and_a_tokenizer_of_transformers_come_from_the_hub_once(hub, tmp_path):
    pytest.importorskip("transformers")
    expected = publish_roberta_pair(hub, tmp_path)
    check_that_it_comes_once("hf-hub:someone/pair", hub, tmp_path / "home", expected)


def publish_roberta_pair(hub, scratch):
    """A model of open_clip whose captions are read by a model of transformers; its embeddings."""
    import open_clip
    import transformers
    from open_clip.tokenizer import HFTokenizer
    from safetensors.torch import save_file

    from tests.made.text_towers import VISION, words_tokenizer

    tokenizer = words_tokenizer()
    tokenizer.save_pretrained(scratch / "words")
    publish(hub, "someone/words", scratch / "words")
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=1,
    )
    config.save_pretrained(scratch / "roberta")
    publish(hub, "someone/roberta", scratch / "roberta")
    text = {
        "hf_model_name": str(scratch / "roberta"),
        "hf_model_pretrained": False,
        "hf_tokenizer_name": str(scratch / "words"),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler",
        "context_length": 16,
    }
    settings = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}
    model = seeded(lambda: open_clip.CustomTextCLIP(**settings), untouched)
    hf_tokenizer = HFTokenizer(text["hf_tokenizer_name"], context_length=16)
    with torch.no_grad():
        expected = model.encode_text(hf_tokenizer(TEXTS)).numpy()
    text |= {"hf_model_name": "someone/roberta", "hf_tokenizer_name": "someone/words"}
    folder = scratch / "pair"
    folder.mkdir()
    prepared = {"mean": [0.5] * 3, "std": [0.5] * 3}
    document = {"model_cfg": settings, "preprocess_cfg": prepared}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    publish(hub, "someone/pair", folder)
    return expected


def test_a_model_of_transformers_comes_from_the_hub_once(hub, tmp_path):
    pytest.importorskip("transformers")
    from tests.made.text_towers import transformers_folder

    made = transformers_folder(tmp_path / "clip", untouched)
    publish(hub, "someone/clip", tmp_path / "clip")
    with torch.no_grad():
        expected = made.encode_text(TEXTS).numpy()
    check_that_it_comes_once("transformers:someone/clip", hub, tmp_path / "home", expected)
