"""`clipaudit evaluate` as it is typed: what it prints, writes and refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A set of 24 pictures a side."""
    folder = tmp_path_factory.mktemp("known") / "set"
    rng = np.random.default_rng(2)
    for side in ("members", "nonmembers"):
        (folder / side).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / side / f"{number:02}.png")
    return folder


@pytest.fixture
def run(tiny, command):
    """Run the command with the tiny encoder and inferrer a; gives exit code, stdout, stderr."""

    def call(folder, *arguments):
        how = ("--encoder", tiny / "encoder.torchscript", "--allow-code", "--views", "4")
        line = ("evaluate", folder, *how, "--inferrer", tiny / "a", "--workers", "0", *arguments)
        return command(*line)

    return call


def test_it_prints_a_table_and_writes_json_and_figures(run, known, tmp_path):
    out, figures = tmp_path / "result.json", tmp_path / "figures"
    code, table, err = run(known, "-o", out, "--figures", figures)
    assert code == 0, err
    document = json.loads(out.read_bytes())
    assert f"{document['methods'][0]['figures']['auc']['value']:.3f}" in table
    assert "24 members, 24 non-members" in table
    assert "200 at 1 % and 2,000 at 0.1 %, and there are 24" in " ".join(table.split())
    assert document["run"]["command"].startswith(f"clipaudit evaluate {known}")
    assert document["blind"]["n_members"] == 24
    assert sorted(path.name for path in figures.iterdir()) == ["histogram.png", "roc.png"]


def test_json_may_be_printed_and_the_blind_baseline_left_out(run, known):
    code, out, _ = run(known, "--format", "json", "--no-blind", "--limit", "5")
    assert code == 0
    document = json.loads(out)
    assert (document["blind"], document["blind_missing"]) == (None, "")
    assert document["set"]["members"]["n"] == document["set"]["nonmembers"]["n"] == 5
    assert document["run"]["config"]["limit"] == 5


def test_shared_pictures_are_refused_and_may_be_allowed(run, known, tmp_path):
    shutil.copytree(known, tmp_path / "set")
    shutil.copy(tmp_path / "set/members/03.png", tmp_path / "set/nonmembers/again.png")
    code, out, err = run(tmp_path / "set", "--no-blind")
    assert (code, out) == (3, "")
    assert "nonmembers/again.png' is a copy of" in err.replace("\n", "")
    code, out, _ = run(tmp_path / "set", "--no-blind", "--allow-overlap")
    assert code == 0
    assert "23 members, 24 non-members" in out


def test_what_cannot_be_is_said_before_any_work(run, known, tmp_path):
    code, _, err = run(known, "-o", tmp_path / "result.csv")
    assert code == 2
    assert "End it in .json." in " ".join(err.split())
    code, _, err = run(known, "-o", tmp_path / "missing" / "result.json")
    assert code == 2
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(known, "--figures", tmp_path / "file")
    assert code == 4
    code, _, err = run(tmp_path)
    assert code == 3
    assert "has no folder members/ and no folder nonmembers/" in " ".join(err.split())
