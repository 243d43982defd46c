"""Captions from files that others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipaudit.captions.choosing import open_captions


@pytest.fixture
def folder(tmp_path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (pictures / name).write_bytes(b"picture")
    return pictures


def captions(file: Path, folder: Path, *names: str) -> list[tuple[str, ...]]:
    source = open_captions(str(file), [folder])
    assert source is not None
    return [source.captions_of(str(folder / name), b"") for name in names]


def notes(file: Path, folder: Path) -> tuple[str, ...]:
    source = open_captions(str(file), [folder])
    assert source is not None
    for path in sorted(folder.rglob("*.jpg")):
        source.captions_of(str(path), path.read_bytes())
    return source.facts.notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_csv_file_is_read_in_any_unicode_encoding(folder, encoding):
    file = folder / "metadata.csv"
    file.write_bytes('file_name,text\na.jpg,"zoë, a cat"\nsub/c.jpg,dog\n'.encode(encoding))
    found = captions(file, folder, "a.jpg", "b.jpg", "sub/c.jpg")
    assert found == [("zoë, a cat",), (), ("dog",)]
