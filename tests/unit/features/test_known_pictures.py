from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipaudit.features.known_pictures import FirstByHash, KnownPictures
from clipaudit.features.optional_store import OptionalStore
from clipaudit.features.store import FeatureStore
from clipaudit.pictures.base import Frame, Limits
from clipaudit.pictures.preparing import Wanted, prepare
from clipaudit.pictures.reading import content_id
from tests.made.picture_files import encoded, photo
from tests.made.present import present

LIMITS = Limits()
FRAME = Frame(8, "bicubic")


@pytest.fixture
def files(tmp_path):
    """Paths of three pictures by SHA-256."""
    found = {}
    for side in (20, 30, 40):
        data = encoded(photo(side, 30), "PNG")
        path = tmp_path / f"{side}.png"
        path.write_bytes(data)
        found[content_id(data)] = str(path)
    return found


def prepared(path, *, appearance=False):
    return prepare(Path(path).read_bytes(), Wanted((FRAME,), appearance), LIMITS)


def test_captions_are_remembered_where_they_are_asked_for():
    for keeps_captions, expected in ((True, {"a": ("a cat",)}), (False, {})):
        known = KnownPictures(LIMITS, 0, keeps_captions=keeps_captions)
        known.add_captions("a", ("a cat",))
        known.add_captions("b", ())
        assert known.captions == expected


@pytest.fixture(params=["stored", "in memory"])
def store(request, tmp_path):
    if request.param == "in memory":
        yield OptionalStore(None)
        return
    with FeatureStore(tmp_path / "store.sqlite") as opened:
        yield OptionalStore(opened)


def test_what_a_run_decoded_is_never_read_again(files, store, tmp_path):
    known = KnownPictures(LIMITS, 0, store, lambda image_id: True)
    expected = {key: prepared(path, appearance=True) for key, path in files.items()}
    for image_id in files:
        assert known.wanted(image_id, None, [FRAME, FRAME], FRAME) == Wanted(
            (FRAME,), appearance=True
        )
    known.add(expected)
    gone = {image_id: str(tmp_path / "gone") for image_id in files}
    assert known.hashes(gone) == {key: one.facts.phash for key, one in expected.items()}
    for image_id, appearance in known.appearances(gone).items():
        facts = expected[image_id].facts
        np.testing.assert_array_equal(appearance.statistics, facts.appearance.statistics)
    for image_id, facts in known.get([*files]).items():
        assert known.wanted(image_id, facts, [], FRAME) is None


def test_a_later_run_finds_in_the_store_what_an_earlier_one_decoded(files, tmp_path):
    gone = {image_id: str(tmp_path / "gone") for image_id in files}
    with FeatureStore(tmp_path / "store.sqlite") as opened:
        first = KnownPictures(LIMITS, 0, OptionalStore(opened))
        hashes, appearances = first.hashes(files), first.appearances(files)
        later = KnownPictures(LIMITS, 0, OptionalStore(opened), lambda image_id: True)
        assert later.hashes(gone) == hashes
        assert list(later.appearances(gone)) == list(appearances) == list(files)
        for image_id, facts in later.get([*files]).items():
            assert later.wanted(image_id, facts, [], FRAME) is None
    assert KnownPictures(LIMITS, 0).hashes(gone) == {}


def test_what_a_report_shows_is_wanted_of_every_picture_that_is_decoded_anyway():
    thumbnail, of_target, of_reference = (Frame(side, "bicubic") for side in (9, 8, 7))
    shown = KnownPictures(LIMITS, 0, needs_appearance="a".__eq__, also=(thumbnail,))
    wanted = {key: shown.wanted(key, None, [], of_target) for key in "ab"}
    assert wanted == {"a": Wanted((of_target, thumbnail), appearance=True), "b": None}
    frames = present(shown.wanted("b", None, [of_reference], of_target)).frames
    assert set(frames) == {thumbnail, of_target, of_reference}


def test_what_nobody_decoded_is_decoded_for_those_who_ask(files):
    known = KnownPictures(LIMITS, 2)
    expected = {key: prepared(path).facts.phash for key, path in files.items()}
    assert known.hashes(files) == expected
    assert list(known.hashes(files)) == list(files)
    assert list(known.appearances(files)) == list(files)


def test_a_file_that_changed_or_went_is_passed_over(files, tmp_path):
    (changed, first), (broken, _), (gone, _) = files.items()
    Image.new("RGB", (9, 9)).save(first)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    asked = {changed: first, content_id(b"no picture"): str(bad), gone: str(tmp_path / "gone")}
    assert KnownPictures(LIMITS, 0).hashes(asked | {broken: files[broken]}).keys() == {broken}


@given(st.lists(st.text("abc", max_size=3), max_size=60), st.integers(1, 5))
def test_the_first_by_hash_are_among_those_that_were_let_through(image_ids, n):
    may_be = FirstByHash(n)
    let_through = {image_id for image_id in image_ids if may_be(image_id)}
    assert let_through >= set(sorted(set(image_ids))[:n])


def test_few_more_than_the_first_are_let_through():
    may_be = FirstByHash(100)
    image_ids = [content_id(str(number).encode()) for number in range(10_000)]
    assert sum(map(may_be, image_ids)) < 100 * (1 + np.log(100)) * 1.2
