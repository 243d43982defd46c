"""Pictures whose every signal is in the store: nothing is loaded that is not needed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from clipaudit.api import score
from tests.made.encoders import grow_old, nudge, untouched
from tests.made.score_runs import clean, draw_pictures, refused
from tests.made.text_towers import from_folder

HEAVY = {
    *("torch", "torchvision", "timm", "open_clip", "transformers", "tokenizers", "onnx"),
    *("onnxruntime", "sklearn", "scipy", "pandas", "pyarrow", "matplotlib", "huggingface_hub"),
}


@pytest.fixture
def pair(tmp_path):
    """A folder of an encoder with both of its halves, and one of pictures with captions."""
    from_folder(tmp_path / "encoder", untouched)
    grow_old(tmp_path / "encoder")
    for number, path in enumerate(draw_pictures(tmp_path / "pictures", 3)):
        path.with_suffix(".txt").write_text(f"a picture of {number} cats")
    return tmp_path


@pytest.fixture
def scored(pair, installed):
    """Run the installed command on the pair; gives what it printed, and the packages it loaded."""

    def call(*arguments, pictures="pictures"):
        encoder = f"--encoder=local-dir:{pair / 'encoder'}"
        given = ["score", pair / pictures, encoder, "--format=json", "--no-calibration"]
        done = installed(*given, *arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
        packages = set(re.findall(r"^import time:.*\| +(\w+)", done.err, re.MULTILINE))
        said = re.sub(r"^import time:.*\n", "", done.err, flags=re.MULTILINE)
        return replace(done, err=said), packages & HEAVY

    return call


def results(done):
    document = clean(done).document
    return [row["findings"] for row in document["rows"]], document["run"]["encoder"]


def test_a_run_that_knows_every_picture_loads_no_heavy_library(scored):
    first, loaded = scored()
    assert {"torch", "open_clip"} <= loaded
    again, loaded = scored()
    assert loaded == set()
    assert results(again) == results(first)
    assert again.document["run"]["n_from_store"] == 3


@pytest.mark.parametrize("options", [["--method=caption"], ["--recipe=encodermi@1"]])
def test_nor_does_one_with_other_views_or_with_captions(scored, options):
    first, loaded = scored(*options)
    assert {"torch", "open_clip"} <= loaded
    again, loaded = scored(*options)
    assert loaded == set()
    assert results(again) == results(first)
    assert again.document["run"]["captions"] == first.document["run"]["captions"]


def test_a_picture_that_is_new_is_seen_by_the_encoder(scored, pair):
    scored()
    draw_pictures(pair / "pictures", 1, first=3)
    mixed, loaded = scored()
    assert "torch" in loaded
    assert mixed.document["run"]["n_from_store"] == 3
    alone, _ = scored("--no-cache")
    (findings, encoder), (expected, same_encoder) = results(alone), results(mixed)
    assert encoder == same_encoder
    for found, other in zip(findings, expected, strict=True):
        # How many captions are embedded at once may move a score by a rounding.
        assert [one.pop("score") for one in found] == pytest.approx(
            [one.pop("score") for one in other], rel=0, abs=1e-5
        )
        assert found == other


def test_an_encoder_with_other_weights_knows_no_picture(scored, pair):
    first, _ = scored()
    from_folder(pair / "encoder", lambda model: nudge(model.get_submodule("visual")))
    other, loaded = scored()
    assert "torch" in loaded
    assert other.document["run"]["n_from_store"] == 0
    assert results(other)[1]["fingerprint"] != results(first)[1]["fingerprint"]


def test_an_encoder_that_is_gone_is_an_error_although_its_pictures_are_known(scored, pair):
    scored()
    (pair / "encoder" / "open_clip_model.safetensors").unlink()
    done, _ = scored()
    assert "holds no weights" in refused(done, 4)


def test_the_store_that_is_not_wanted_remembers_no_encoder(scored):
    scored()
    _, loaded = scored("--no-cache")
    assert "torch" in loaded


def test_a_bank_of_pictures_counts_alike_from_the_store(scored, pair):
    bank = draw_pictures(pair / "bank", 2, first=10)
    for path in bank:
        path.with_suffix(".txt").write_text(f"a drawing called {path.stem}")
    options = ["--method=caption", f"--bank={pair / 'bank'}"]
    first, _ = scored(*options)
    again, _ = scored(*options)
    facts = [json.dumps(done.document["run"]["captions"]) for done in (first, again)]
    assert facts[0] == facts[1]
    assert first.document["run"]["captions"]["bank"]["n_pictures"] == 2


def test_the_python_call_gives_the_same_from_memory(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    first, again = (
        score(pair / "pictures", encoder=f"local-dir:{pair / 'encoder'}", workers=0)
        for _ in range(2)
    )
    assert first.rows == again.rows
    assert first.run.encoder == again.run.encoder
