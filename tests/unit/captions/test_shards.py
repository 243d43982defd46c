"""Captions beside pictures in tar shards."""

import pytest

from clipaudit.captions.choosing import open_captions
from clipaudit.captions.sidecars import SidecarCaptions
from clipaudit.pictures.finding import find_images
from tests.made.present import present
from tests.made.shards import json_bytes, samples, write_shard


def captions_of(path):
    source = SidecarCaptions()
    found = {
        one.path.rpartition("/")[2]: source.captions_of(one.path, b"")
        for one in find_images([path])
    }
    return found, source.facts.notes


def test_captions_of_a_shard_are_those_of_the_same_key(tmp_path):
    files = [
        ("1.jpg", b"x"),
        ("1.json", json_bytes({"caption": "of the metadata", "url": "http://example.org/dog.jpg"})),
        ("1.txt", "\ufeffA dog\n".encode()),
        ("2.txt", b"  \n"),
        ("2.jpg", b"x"),
        ("3.json", json_bytes({"caption": "Two eyes"})),
        ("3.left.jpg", b"x"),
        ("3.right.jpg", b"y"),
        ("4.jpg", b"x"),
        ("x/4.txt", b"of another folder"),
    ]
    captions, notes = captions_of(write_shard(tmp_path / "s.tar", files))
    assert captions == {
        "1.jpg": ("A dog",),
        "2.jpg": (),
        "3.left.jpg": ("Two eyes",),
        "3.right.jpg": ("Two eyes",),
        "4.jpg": (),
    }
    assert notes == (
        "Sidecar files: 1 file without any text",
        "Sidecar files: 1 picture without one",
    )


@pytest.mark.parametrize("named", ["folder", "shard"])
def test_automatic_captions_find_those_in_shards(tmp_path, named):
    shard = write_shard(tmp_path / "shards" / "0.tar", samples([b"x"], ["A dog"]))
    source = present(open_captions("auto", [shard if named == "shard" else shard.parent]))
    assert source.facts.source == "sidecar files"
    assert source.captions_of(f"{shard}/000000000.jpg", b"") == ("A dog",)
