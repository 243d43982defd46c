"""Where captions are looked for when nobody says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipaudit.captions.choosing import CHOICES, open_captions


def put(path: Path, text: str = "picture") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_metadata_in_each_scored_folder_are_taken_and_named(tmp_path):
    cat, dog = put(tmp_path / "one" / "a.jpg"), put(tmp_path / "two" / "train" / "a.jpg")
    put(tmp_path / "one" / "metadata.csv", "file_name,text\na.jpg,a cat\n")
    put(tmp_path / "two" / "train" / "metadata.jsonl", '{"file_name": "a.jpg", "text": "a dog"}\n')
    source = open_captions("auto", [tmp_path / "one", tmp_path / "two"])
    assert source is not None
    assert source.captions_of(cat, b"") == ("a cat",)
    assert source.captions_of(dog, b"") == ("a dog",)
    assert source.facts.source == "metadata.csv, metadata.jsonl"


def test_sidecars_are_taken_where_there_is_no_metadata(tmp_path):
    picture = put(tmp_path / "a.jpg")
    put(tmp_path / "metadata.csv", "file_name,label\na.jpg,3\n")  # labels, and no captions
    assert open_captions("auto", [tmp_path]) is None
    put(tmp_path / "captions.csv", "file_name,text\na.jpg,a cat\n")
    source = open_captions("auto", [tmp_path])
    assert source is not None
    assert source.facts.source == "captions.csv"
    (tmp_path / "captions.csv").unlink()
    put(tmp_path / "a.txt", "a cat")
    for paths in ([tmp_path], [picture]):
        source = open_captions("auto", paths)
        assert source is not None
        assert source.facts.source == "sidecar files"
        assert source.captions_of(picture, b"") == ("a cat",)


def test_a_link_or_a_broken_file_that_nobody_named_is_not_read(tmp_path):
    put(tmp_path / "set" / "a.jpg")
    elsewhere = put(tmp_path / "private.csv", "file_name,text\na.jpg,a secret\n")
    (tmp_path / "set" / "metadata.csv").symlink_to(elsewhere)
    put(tmp_path / "set" / "metadata.parquet", "<html>")
    assert open_captions("auto", [tmp_path / "set"]) is None


def test_folders_without_anything_and_paths_of_nothing_have_no_captions(tmp_path):
    assert open_captions("auto", [tmp_path, tmp_path / "gone", b"\xff", "nul\0/a.jpg"]) is None
    assert open_captions("none", [tmp_path]) is None


@pytest.mark.parametrize("choice", CHOICES[2:])
def test_every_choice_opens(tmp_path, choice):
    source = open_captions(choice, [tmp_path])
    assert source is not None
    assert source.facts.source
