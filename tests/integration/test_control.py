"""`clipaudit control` on real pictures, from the command line and from Python."""

import hashlib
import io
import json
import os
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

import clipaudit
from clipaudit.errors import InputError
from clipaudit.pipelines.control import pick_control
from tests.made.commands import exit_code


@pytest.fixture(scope="module")
def piles(cifar_zip, tmp_path_factory):
    """Ships, recompressed, as suspects; a pile of ships and cats of several qualities."""
    folder = tmp_path_factory.mktemp("piles")
    for name in ("suspects", "pile"):
        (folder / name).mkdir()
    with zipfile.ZipFile(cifar_zip) as archive:
        ships, cats = (
            sorted(name for name in archive.namelist() if f"/{kind}/" in name and ".jpg" in name)
            for kind in ("ship", "cat")
        )
        for number, name in enumerate(ships[:40]):
            (folder / "suspects" / f"{number}.jpg").write_bytes(again(archive.read(name), 70))
        for number, name in enumerate(ships[100:220]):
            data = again(archive.read(name), 70 if number % 2 else 95)
            (folder / "pile" / f"ship {number}.jpg").write_bytes(data)
        for number, name in enumerate(cats[:200]):
            data = again(archive.read(name), 70 if number % 2 else 95)
            (folder / "pile" / f"cat {number}.jpg").write_bytes(data)
        (folder / "pile/copy.jpg").write_bytes(again(archive.read(ships[0]), 70))
        (folder / "pile/alike.jpg").write_bytes(again(archive.read(ships[1]), 90))
    (folder / "pile/broken.jpg").write_bytes(b"no picture")
    return folder


def again(data, quality):
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CLIPAUDIT_WORKERS", "1")


def contents(folder):
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_control_is_picked_that_cannot_be_told_apart(piles, tmp_path, capfd):
    out = tmp_path / "out"
    suspects, pile = piles / "suspects", piles / "pile"
    assert exit_code("control", suspects, "--from", pile, "-o", out) == 0
    told = capfd.readouterr().out
    assert "2 of the pile left out, which are or look like suspects" in told
    assert "1 file passed over that gives no picture" in told
    assert "before: different (AUC" in told
    assert "after: alike (AUC" in told
    score = ["clipaudit", "score", str(suspects), "--control", str(out / "control")]
    assert f"next: {shlex.join(score)}" in told
    picked = contents(out / "control")
    assert picked <= contents(pile)
    assert not picked & contents(suspects)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    card = json.loads((out / "control.json").read_text())
    assert {picture["sha256"] for picture in card["pictures"]} == picked
    assert card["left_out"] == {"unreadable": 1, "repeated": 0, "shared": 2, "too_small": 0}
    assert str(piles) not in json.dumps(card)
    assert str(tmp_path) not in json.dumps(card)


def test_from_python_and_in_another_order_the_same_are_picked(piles, tmp_path):
    pile = sorted((piles / "pile").iterdir())
    first = clipaudit.control(piles / "suspects", piles / "pile", tmp_path / "a")
    second = clipaudit.control(piles / "suspects", pile[::-1], tmp_path / "b")
    assert first.pictures == second.pictures
    assert len(first) == len([*first.control.iterdir()])
    assert first.suspects is None
    assert (first.before.outcome, first.after.outcome) == ("different", "alike")
    hundred = clipaudit.ControlConfig(n=100)
    more = clipaudit.control(piles / "suspects", piles / "pile", tmp_path / "c", hundred)
    assert len(more) == 100


def test_both_sides_are_brought_to_one_format_and_size(piles, tmp_path):
    config = clipaudit.ControlConfig(equalise=True)
    made = clipaudit.control(piles / "suspects", piles / "pile", tmp_path / "out", config)
    assert made.suspects is not None
    assert len([*made.suspects.iterdir()]) == 40
    kinds = set()
    for path in (*made.suspects.iterdir(), *made.control.iterdir()):
        with Image.open(path) as picture:
            assert isinstance(picture, JpegImageFile)
            tables = [tuple(table) for table in picture.quantization.values()]
            kinds.add((picture.format, picture.size, picture.mode, *tables, len(picture.info)))
    assert len(kinds) == 1
    assert made.after.outcome == "alike"


def test_a_run_that_fails_leaves_nothing_behind(piles, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    out = tmp_path / "new" / "out"
    code = exit_code("control", piles / "suspects", "--from", piles / "pile", "-o", out)
    assert code == 4
    assert [*out.parent.iterdir()] == []


@pytest.mark.parametrize("change", [lambda data: data + b"0", lambda data: b"no picture"])
def test_a_picture_that_changes_while_it_is_picked_ends_the_run(piles, tmp_path, change):
    pile = tmp_path / "pile"
    shutil.copytree(piles / "pile", pile)
    n_files = len([*pile.iterdir(), *(piles / "suspects").iterdir()])

    def change_all(progress):
        if progress.done == n_files:
            for path in pile.iterdir():
                path.write_bytes(change(path.read_bytes()))

    with pytest.raises(InputError, match="changed while the control was picked") as caught:
        pick_control([piles / "suspects"], [pile], tmp_path / "out", on_progress=change_all)
    assert "Run it again" in caught.value.hint
    assert not (tmp_path / "out").exists()


def full_disk(*_):
    raise OSError(28, os.strerror(28))


def said(capfd, *arguments):
    code = exit_code("control", *arguments)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    return code, " ".join(err.split())


def test_a_folder_that_is_there_is_replaced_only_where_it_is_a_control(piles, tmp_path, capfd):
    few = (piles / "suspects", "--from", piles / "pile")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    code, err = said(capfd, *few, "-o", out, "--force")
    assert (code, (out / "mine.txt").read_text()) == (3, "mine")
    assert "is no control that clipaudit made" in err
    assert said(capfd, *few, "-o", tmp_path / "b")[0] == 0
    code, err = said(capfd, *few, "-o", tmp_path / "b")
    assert code == 3
    assert "pass --force" in err
    assert said(capfd, *few, "-o", tmp_path / "b", "--n", "7", "--force")[0] == 0
    assert len([*(tmp_path / "b/control").iterdir()]) == 7
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    code, err = said(capfd, *few, "-o", piles / "pile/within")
    assert code == 3
    assert "lies within" in err


def test_what_cannot_be_matched_is_said(piles, tmp_path, capfd):
    suspects, pile = piles / "suspects", piles / "pile"
    code, err = said(capfd, suspects, "--from", suspects, "-o", tmp_path / "a")
    assert code == 3
    assert "the pile holds the suspects: 40 of 40 are in it" in err
    code, err = said(capfd, suspects / "0.jpg", "--from", pile, "-o", tmp_path / "a")
    assert code == 3
    assert "gives 1 picture, which is no set of suspects" in err
    code, err = said(capfd, suspects, "--from", pile / "broken.jpg", "-o", tmp_path / "a")
    assert code == 3
    assert "nothing to pick from" in err
    code, err = said(capfd, tmp_path / "nowhere", "--from", pile, "-o", tmp_path / "a")
    assert code == 3
    assert not (tmp_path / "a").exists()
    small = [*(pile / f"ship {number}.jpg" for number in range(5))]
    exit_code(
        "control",
        suspects,
        *(word for path in small for word in ("--from", path)),
        "-o",
        tmp_path / "a",
        "--n",
        "40",
    )
    assert "the pile is smaller than the suspects: 5 against 40" in capfd.readouterr().out
