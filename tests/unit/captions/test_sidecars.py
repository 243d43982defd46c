"""Captions from files beside the pictures, and files that are none."""

from __future__ import annotations

import json
import os

import pytest

from clipaudit.captions.sidecars import SidecarCaptions


def ask(folder, *names: str) -> list[tuple[str, ...]]:
    source = SidecarCaptions()
    return [source.captions_of(str(folder / name), b"") for name in names]


def test_a_shard_as_img2dataset_writes_it_is_read(tmp_path):
    shard = tmp_path / "00000"
    shard.mkdir()
    for number, caption in enumerate(["a red bicycle", "Zoë’s dog\nin the snow", ""]):
        stem = shard / f"{number:09}"
        stem.with_suffix(".jpg").write_bytes(b"picture")
        stem.with_suffix(".txt").write_text(caption, encoding="utf-8")
        facts = {"caption": caption or None, "url": "http://x.example/", "similarity": float("nan")}
        stem.with_suffix(".json").write_text(json.dumps(facts))
    names = [f"00000/{number:09}.jpg" for number in range(4)]
    assert ask(tmp_path, *names) == [("a red bicycle",), ("Zoë’s dog\nin the snow",), (), ()]


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"caption": "a", "text": "b"}, ("a",)),
        ({"caption": "", "TEXT": "b"}, ("b",)),
        ({"title": "a.jpg"}, ()),  # as Google Takeout writes it
        ({"title": "An otter", "description": "x"}, ("An otter",)),
        ({"captions": ["one", "two", "one"]}, ("one", "two")),
        ({"shapes": [], "text": {"a": 1}}, ()),
    ],
)
def test_the_first_key_of_json_with_a_text_counts(tmp_path, plain, expected):
    (tmp_path / "a.json").write_text(json.dumps(plain))
    assert ask(tmp_path, "a.jpg") == [expected]


@pytest.mark.parametrize("name", ["a.txt", "a.caption", "a.jpg.txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_any_encoding_is_read(tmp_path, name, encoding):
    (tmp_path / name).write_bytes(" Zoë and a dog\r\n".encode(encoding))
    assert ask(tmp_path, "a.jpg") == [("Zoë and a dog",)]


def test_what_is_no_caption_is_counted_and_ends_no_run(tmp_path):
    bad = {
        "empty.txt": b"",
        "blank.txt": b" \n\xe2\x80\x8b",
        "huge.txt": b"a" * 1_000_001,
        "binary.txt": bytes(range(256)) * 9,
        "cut.json": b'{"caption": "a',
        "deep.json": b'{"a":' * 100_000,
        "list.json": b"[1]",
        "latin.txt": "Zoë".encode("cp1252"),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "link.txt").symlink_to(tmp_path / "secret")
    (tmp_path / "nowhere.txt").symlink_to(tmp_path / "gone")
    source = SidecarCaptions()
    pictures = [*bad, "folder.txt", "pipe.txt", "link.txt", "nowhere.txt", "none.txt"]
    found = {
        name: source.captions_of(str((tmp_path / name).with_suffix(".jpg")), b"")
        for name in pictures
    }
    assert {name: texts for name, texts in found.items() if texts} == {"latin.txt": ("Zoë",)}
    assert [note.removeprefix("Sidecar files: ") for note in source.facts.notes] == [
        "2 files without any text",
        "1 file of more than a million bytes",
        "1 file with binary data, not text",
        "3 files without a JSON object, or cut off",
        "2 files not read, as links may lead anywhere",
        "2 files not readable",
        "1 file read as Windows-1252 (it is not UTF-8)",
        "1 picture without one",
    ]


def test_a_link_beside_a_link_is_followed(tmp_path):
    """As in the cache of the Hugging Face hub, where every file is one."""
    (tmp_path / "blob").write_text("a cat")
    (tmp_path / "a.txt").symlink_to(tmp_path / "blob")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "blob")
    assert ask(tmp_path, "a.jpg") == [("a cat",)]
