"""`clipaudit train --algorithm clip`: a shadow encoder and inferrers on pictures with captions."""

import json

import pytest
import torch
from PIL import Image

from clipaudit.cli.app import main
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.inferrers.library import load
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

WORDS = ("apple", "boat", "cloud", "drum", "eagle", "flag", "goat", "house", "jug", "kite")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 60 small pictures whose names are words, and one whose name says nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(60):
        picture = draw_picture(stream(3, str(number), "train captions test"), 32)
        Image.fromarray(picture).save(folder / f"{WORDS[number % 10]}_{WORDS[number // 10]}.png")
    picture = draw_picture(stream(3, "none", "train captions test"), 32)
    Image.fromarray(picture).save(folder / "IMG_0001.png")
    return folder


def train(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments)])
    return ended.value.code


SMALL = ("--algorithm=clip", "--captions=names", "--members=15", "--nonmembers=15", "--views=2")
SMALLER = ("--bank-size=10", "--epochs=10", "--batch-size=8", "--data-name=drawn", "--device=cpu")


def test_inferrers_that_read_captions_are_learned_beside_the_others(pictures, tmp_path, capsys):
    run = tmp_path / "run"
    kinds = [f"--kind={kind}" for kind in ("T", "norm", "combined", "caption", "caption-loss")]
    options = (*SMALL, *SMALLER, *kinds, "--references=1", "-o", run)
    assert not train(pictures, *options), capsys.readouterr().err
    cards = {folder.name: load(folder).card for folder in (run / "inferrers").iterdir()}
    assert {name.removeprefix("drawn-") for name in cards} == {
        *("t", "norm", "combined", "caption", "caption-loss", "reference-norm"),
        *("reference-combined", "reference-caption", "reference-caption-loss"),
    }
    assert {card.reads.recipe for card in cards.values()} == {"clip@1"}
    assert cards["drawn-caption"].shadow.algorithm == "clip"
    split = json.loads((run / "split.json").read_text())
    groups = [split["members"], split["nonmembers"], *split["references"], split["bank"]]
    assert [len(group) for group in groups] == [15, 15, 15, 10]
    assert len({picture for group in groups for picture in group}) == 55
    tower = load_text_tower(f"local-dir:{run / 'encoder'}", EncoderOptions(device="cpu"))
    assert tower.info.loss == "softmax"
    before = (run / "run.json").read_bytes()
    assert not train(pictures, *options)  # finished: does nothing
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--algorithm=simclr", "--kind=caption"), "caption reads captions, and simclr"),
        (("--algorithm=clip", "--captions=auto"), "no captions that are found by themselves"),
        (("--algorithm=clip", "--architecture=resnet18"), "unknown architecture: resnet18"),
        (("--algorithm=clop",), "--algorithm clop is not known"),
    ],
)
def test_what_cannot_be_trained_is_said(pictures, tmp_path, capsys, options, message):
    assert train(pictures, *options, "-o", tmp_path / "run") in {2, 3}
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "hint:" in error
