"""Words of file names, real ones among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipaudit.captions.choosing import open_captions
from clipaudit.captions.names import NameCaptions, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red_bicycle-03", "red bicycle"),
        ("RedBicycle2OnTheBeach", "Red Bicycle On The Beach"),
        ("the dog's bone", "the dog's bone"),
        ("हिन्दी_शब्द", "हिन्दी शब्द"),
        ("赤い自転車1", "赤い自転車"),
        ("Zoe\u0308_2021-05-03", "Zoë"),
        ("sunset-1920x1080", "sunset"),
        ("550e8400-e29b-41d4-a716-446655440000 otter", "otter"),
        ("9f86d081884c7d659a2feaa0c55ad015", ""),
        ("20210503T101112", ""),
        ("DSC_0042", ""),
        ("PXL_20210503_101112345", ""),
        ("image (3) - copy", ""),
        ("a3f9", ""),
        ("%41n%20otter", "An otter"),
        ("", ""),
    ],
)
def test_words_are_found_where_there_are_some(name, words):
    assert words_of(name) == words


def test_a_folder_adds_its_words_unless_it_names_a_set():
    source = NameCaptions(with_folder=True)
    assert source.captions_of("/x/big_cats/lion.png", b"") == ("big cats lion",)
    assert source.captions_of("/x/non-members/lion.png", b"") == ("lion",)
    assert source.captions_of("/x/train/0001.png", b"") == ()
    assert source.captions_of("/x/cats/0001.png", b"") == ("cats",)
    assert source.facts.notes == ("File names: 1 picture whose name says nothing",)


def test_a_name_that_is_no_text_does_no_harm():
    assert NameCaptions().captions_of(os.fsdecode(b"/x/caf\xe9 noir.png"), b"") == ("caf noir",)


def test_nearly_all_of_thousands_of_clip_arts_have_words():
    folder = Path(os.environ.get("CLIPAUDIT_TEST_OPENCLIPART", "/usr/share/openclipart/png"))
    if not folder.is_dir():
        pytest.skip(
            "openclipart-png is not installed; $CLIPAUDIT_TEST_OPENCLIPART names its folder"
        )
    files = sorted(folder.rglob("*.png"))
    source = open_captions("folder-names", [folder])
    assert source is not None
    with_words = [file for file in files if source.captions_of(str(file), b"")]
    assert len(with_words) > 0.99 * len(files)
    captions = {source.captions_of(str(file), b"")[0] for file in with_words}
    assert len(captions) > 0.5 * len(files)
