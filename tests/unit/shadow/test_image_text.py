"""Shadow encoders that are trained as CLIP is: tiny ones, on drawn pictures with made-up names."""

from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError, UsageError
from clipaudit.features.views import CLIP
from clipaudit.seeding import stream
from clipaudit.shadow.architectures import PAIR_ARCHITECTURES
from clipaudit.shadow.config import PairConfig
from clipaudit.shadow.image_text import CONTEXT_LENGTH, PairLearner, build, tokenize
from clipaudit.shadow.procedural import draw_picture
from clipaudit.shadow.training_folder import ENCODER, has_snapshot, pretrain_in, snapshot
from tests.made.trainings import Killed, stop_after

QUICK = PairConfig(architecture="clip-vit-tiny", epochs=4, batch_size=6)
WORDS = [
    "apple",
    "boat",
    "cloud",
    "drum",
    "eagle",
    "flag",
    "goat",
    "house",
    "island",
    "jug",
    "kite",
    "lamp",
    "moon",
    "nest",
    "owl",
    "pen",
]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def pictures(n=12, side=32):
    drawn = [draw_picture(stream(0, f"pair {row}", "test"), side) for row in range(n)]
    return np.stack(drawn).transpose(0, 3, 1, 2).copy()


def names(n=12):
    return [(f"{WORDS[row % 16]} {WORDS[row * 7 % 16]} {row}",) for row in range(n)]


def train(folder, config=QUICK, n=12, **options):
    pretrain_in(folder, pictures(n), config, captions=names(n), device="cpu", **options)
    return folder / ENCODER


def losses(folder):
    import json

    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("architecture", PAIR_ARCHITECTURES)
def test_training_lowers_the_loss(tmp_path, architecture):
    config = replace(QUICK, architecture=architecture, epochs=15)
    train(tmp_path, config)
    assert losses(tmp_path)[-1] < losses(tmp_path)[0] - 0.3


@pytest.mark.parametrize("stops", [[1], [2, 3]])
def test_a_run_that_was_stopped_continues_to_the_same_weights(tmp_path, stops):
    undisturbed = load_file(train(tmp_path / "a") / "open_clip_model.safetensors")
    for epoch in stops:
        with pytest.raises(Killed):
            train(tmp_path / "b", checkpoint_every_s=0, on_epoch=stop_after(epoch))
    continued = load_file(train(tmp_path / "b") / "open_clip_model.safetensors")
    assert continued.keys() == undisturbed.keys()
    assert all(torch.equal(continued[name], undisturbed[name]) for name in undisturbed)


@pytest.mark.parametrize("architecture", PAIR_ARCHITECTURES)
def test_local_dir_gives_the_very_embeddings_that_open_clip_gives(tmp_path, architecture):
    folder = train(tmp_path, replace(QUICK, architecture=architecture, epochs=1))
    ours = load_encoder(f"local-dir:{folder}", EncoderOptions(device="cpu", backend="torch"))
    model: Any
    preprocess: Any
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    mean, std = (torch.tensor(preprocess.transforms[-1].__dict__[key]) for key in ("mean", "std"))
    views = torch.from_numpy(pictures()).float() / 255
    normalised = (views - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        theirs = model.eval().encode_image(normalised)
    torch.testing.assert_close(ours.embed(views), theirs, rtol=1e-4, atol=1e-5)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert torch.equal(tokenizer(["a flag, an owl"]), tokenize(["a flag, an owl"]))


def test_members_stand_out_by_their_captions_once_an_encoder_has_overfitted(tmp_path):
    folder = train(tmp_path, replace(QUICK, epochs=60))
    net: Any = build("clip-vit-tiny", 32, 0)
    net.load_state_dict(load_file(folder / "open_clip_model.safetensors"), strict=False)
    encoder = load_encoder(f"local-dir:{folder}", EncoderOptions(device="cpu", backend="torch"))
    images = encoder.embed(torch.from_numpy(pictures(24)).float() / 255)
    with torch.no_grad():
        texts = net.eval().encode_text(tokenize([text for (text,) in names(24)]))
    cosines = torch.cosine_similarity(images, texts)
    assert cosines[:12].min() > cosines[12:].mean()


def test_a_seed_decides_all_of_it(tmp_path):
    found = [
        load_file(train(tmp_path / str(run), replace(QUICK, epochs=1, seed=seed)) / file)
        for run, seed in enumerate((3, 3, 4))
        for file in ["open_clip_model.safetensors"]
    ]
    name = "visual.conv1.weight"
    assert torch.equal(found[0][name], found[1][name])
    assert not torch.equal(found[0][name], found[2][name])


def test_a_fine_tune_begins_as_its_base_and_its_first_epochs_are_those_of_a_shorter_one(tmp_path):
    base = train(tmp_path / "base", replace(QUICK, epochs=1))
    tuned = replace(QUICK, epochs=2, learning_rate=1e-4, base="a" * 64, seed=5)
    train(tmp_path / "long", tuned, base=base, snapshots=(1,))
    train(tmp_path / "short", replace(tuned, epochs=1), base=base)
    assert has_snapshot(tmp_path / "long", 1)
    at_one = load_file(snapshot(tmp_path / "long", 1) / "open_clip_model.safetensors")
    short = load_file(tmp_path / "short" / ENCODER / "open_clip_model.safetensors")
    before = load_file(base / "open_clip_model.safetensors")
    for name, value in short.items():
        assert torch.equal(at_one[name], value)
        if name.endswith("weight"):
            assert (value - before[name]).abs().max() < 0.01
    configs = [
        (folder / "open_clip_config.json").read_text()
        for folder in (base, snapshot(tmp_path / "long", 1))
    ]
    assert configs[0] == configs[1]


def test_a_base_of_another_architecture_is_refused(tmp_path):
    base = train(tmp_path / "base", replace(QUICK, epochs=1))
    tuned = replace(QUICK, architecture="clip-resnet-tiny", epochs=1, base="a" * 64)
    with pytest.raises(EncoderError, match=r"resnet|its own model|fit"):
        train(tmp_path / "tuned", tuned, base=base)


def test_of_several_captions_each_comes_up():
    net: Any = build("clip-vit-tiny", 32, 0)
    before = net.token_embedding.weight.detach().clone()
    config = replace(QUICK, weight_decay=0.0, learning_rate=1e-2)
    learner = PairLearner(net, [("owl", "bird"), ("jug",)], config)
    generator = stream(0, "captions", "test")
    for _ in range(10):
        learner.step(np.array([0, 1]), torch.zeros(2, 1, 3, 32, 32), generator)
    moved = (net.token_embedding.weight != before).any(dim=1)
    padding = 0  # after the end, where no attention reaches
    tokens = set(tokenize(["owl bird jug"]).flatten().tolist()) - {padding}
    assert set(moved.nonzero().flatten().tolist()) == tokens


def test_a_long_caption_is_cut_and_the_step_size_rises_first():
    assert tokenize(["word " * 50]).shape == (1, CONTEXT_LENGTH)
    assert tokenize(["word " * 50])[0, -1] == 49407
    learner = PairLearner(build("clip-vit-tiny", 32, 0), [("owl",)] * 2, QUICK)
    rates = [learner.learning_rate(step, 100) for step in range(100)]
    assert rates[4] == max(rates) == QUICK.learning_rate
    assert rates[0] == QUICK.learning_rate / 5
    assert rates[-1] < QUICK.learning_rate / 100
    assert QUICK.recipe == CLIP.id


@pytest.mark.parametrize(
    ("name", "value"),
    [("architecture", "resnet18"), ("epochs", 0), ("learning_rate", 0), ("recipe", "clip@9")],
)
def test_an_option_that_cannot_work_is_refused(name, value):
    with pytest.raises(UsageError, match=name):
        PairConfig(**{name: value})
