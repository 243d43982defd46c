"""Captions of the rows of published lists in which the very pictures are found."""

from __future__ import annotations

import json
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipaudit.errors import InputError
from clipaudit.pictures.hashing import likeness
from clipaudit.pipelines.lookup_captions import captions_for
from tests.made import lists


def blocks(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 64))


@pytest.fixture
def folder(tmp_path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, seed in (("a.png", 1), ("b.png", 2)):
        blocks(seed).save(pictures / name)
    return pictures


def ask(listing: Path, folder: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    source = captions_for(f"lookup:{listing}", [folder])
    assert source is not None
    files = sorted(folder.glob("*.png"))
    found = {file.name: source.captions_of(str(file), file.read_bytes()) for file in files}
    return found, source.facts.notes


def test_a_picture_has_the_captions_of_all_rows_with_its_file(tmp_path, folder):
    data = (folder / "a.png").read_bytes()
    columns = {
        "uid": ["1", "2", "3", "4"],
        "text": ["a sunset", "sunset, sea", "a sunset", "other"],
        "sha256": [*[sha256(data).hexdigest()] * 3, "0" * 64],
    }
    listing = lists.write(tmp_path / "list.parquet", columns)
    found, notes = ask(listing, folder)
    assert found == {"a.png": ("a sunset", "sunset, sea"), "b.png": ()}
    assert notes == ("list.parquet: 1 picture not found",)


def test_the_file_comes_before_the_look_and_what_is_found_by_look_is_counted(tmp_path, folder):
    files = [(folder / name).read_bytes() for name in ("a.png", "b.png")]
    looks = [f"{likeness(blocks(seed)).key:016x}" for seed in (1, 2)]
    columns = {
        "TEXT": ["by look", "by file", "also by look", None],
        "md5": ["0" * 32, md5(files[0]).hexdigest(), "1" * 32, "2" * 32],
        "phash": [looks[0], "0" * 16, looks[1], looks[1]],
    }
    listing = lists.write(tmp_path / "list.parquet", columns)
    found, notes = ask(listing, folder)
    assert found == {"a.png": ("by file",), "b.png": ("also by look",)}
    assert notes == ("list.parquet: 1 picture found by look alone (pHash)",)


def test_rows_without_a_caption_are_counted(tmp_path, folder):
    digest = sha256((folder / "a.png").read_bytes()).hexdigest()
    columns = {"text": [" ", "x"], "sha256": [digest, "0" * 64]}
    found, notes = ask(lists.write(tmp_path / "list.parquet", columns), folder)
    assert found == {"a.png": (), "b.png": ()}
    assert "list.parquet: 1 picture whose rows have no caption" in notes


@pytest.mark.parametrize("where", ["metadata", "sidecar"])
def test_a_list_of_addresses_serves_where_it_is_known_where_the_pictures_were(
    tmp_path, folder, where
):
    listing = lists.laion2b(tmp_path / "list.parquet", range(9))
    address = lists.url(5).replace("https://", "http://www.")
    if where == "metadata":
        (folder / "metadata.csv").write_text(f"file_name,url\na.png,{address}\n")
    else:
        (folder / "a.json").write_text(json.dumps({"url": address, "caption": "mine"}))
    found, notes = ask(listing, folder)
    assert found == {"a.png": ("caption 5",), "b.png": ()}
    assert "list.parquet: 1 picture found by address: the file itself may differ" in notes


def test_a_list_that_cannot_serve_says_why(tmp_path, folder):
    with pytest.raises(InputError, match="has no hashes of pictures") as raised:
        ask(lists.laion2b(tmp_path / "list.parquet", range(9)), folder)
    assert "metadata.csv" in raised.value.hint
    hashes = lists.write(tmp_path / "hashes.parquet", {"sha256": ["0" * 64]})
    with pytest.raises(InputError, match="has no column with captions"):
        ask(hashes, folder)
    with pytest.raises(InputError, match="there is no file or folder"):
        ask(tmp_path / "gone.parquet", folder)


def test_every_other_choice_is_that_of_the_captions(folder):
    (folder / "a.txt").write_text("a sunset")
    source = captions_for("auto", [folder])
    assert source is not None
    assert source.captions_of(str(folder / "a.png"), b"") == ("a sunset",)
    assert captions_for("none", [folder]) is None
