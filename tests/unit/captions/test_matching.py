"""Rows and pictures find each other, or not at all; checked against a slow, obvious way."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipaudit.captions.matching import PathMatcher, absolute, split_loosely

NAMES = st.sampled_from(["a.jpg", "A.JPG", "b.jpg", "zoë.png", "zoe\u0308.png", "a"])
FOLDERS = st.sampled_from(["", "x/", "X/", "y/", "x/y/", "y/x/"])
PATHS = st.builds("/data/{}{}".format, FOLDERS, NAMES)
ROWS = st.one_of(PATHS, st.builds("/other/{}{}".format, FOLDERS, NAMES))


def slow_split(path: str) -> list[str]:
    parts = PurePosixPath(os.path.normpath(path)).parts[1:]
    return [unicodedata.normalize("NFC", part).casefold() for part in parts]


def slow_tail(row: str, picture: str) -> int:
    """Names at the end that are alike; that of the file may lack its ending in the row."""
    ours, theirs = slow_split(row), slow_split(picture)
    if ours[-1] == theirs[-1].rpartition(".")[0]:
        theirs[-1] = ours[-1]
    n = 0
    while n < min(len(ours), len(theirs)) and ours[-1 - n] == theirs[-1 - n]:
        n += 1
    return n


def slow_find(picture: str, rows: set[str], pictures: set[str]) -> tuple[str, str | None]:
    if picture in rows:
        return "exact", picture
    name = slow_split(picture)[-1]
    is_whole = any(slow_split(row)[-1] == name for row in rows)
    free = [row for row in rows - pictures if not is_whole or slow_split(row)[-1] == name]
    best = max((slow_tail(row, picture) for row in free), default=0)
    if not best:
        return "none", None
    found = [row for row in free if slow_tail(row, picture) == best]
    wanted = slow_split(picture)[-best:]
    rivals = [other for other in pictures - {picture} if slow_split(other)[-best:] == wanted]
    return ("ambiguous", None) if rivals or len(found) > 1 else ("loose", found[0])


@given(st.sets(ROWS, max_size=6), st.sets(PATHS, min_size=1, max_size=6))
@example({"/other/a.jpg"}, {"/data/x/a.jpg", "/data/y/a.jpg"})
def test_a_picture_finds_the_row_that_a_slow_search_finds(rows, pictures):
    matcher = PathMatcher(rows, lambda: pictures)
    for picture in pictures:
        match = matcher.find(picture)
        assert (match.how, match.row) == slow_find(picture, rows, pictures)


@given(st.sets(ROWS, max_size=6), st.sets(PATHS, min_size=1, max_size=6))
def test_no_row_goes_to_two_pictures_of_one_name(rows, pictures):
    matcher = PathMatcher(rows, lambda: pictures)
    taken = [(matcher.find(picture).row, split_loosely(picture)[-1]) for picture in pictures]
    found = [pair for pair in taken if pair[0] is not None]
    assert len(found) == len(set(found))


@given(st.text())
def test_any_path_can_be_split_and_separators_make_no_difference(path):
    assert split_loosely(path) == split_loosely(path.replace("/", "\\"))


@pytest.mark.parametrize(
    ("row", "picture"),
    [
        ("..\\img\\A.JPG", "/data/img/a.jpg"),
        ("C:\\Users\\me\\train\\cat\\1.jpg", "/mnt/train/cat/1.jpg"),
        ("/content/train/cat/1.jpg", "/mnt/train/cat/1.jpg"),
        ("./img//a.jpg", "/data/sets/img/a.jpg"),
        ("000000001", "/data/00000/000000001.webp"),
    ],
)
def test_paths_of_other_systems_are_found(row, picture):
    rivals = ["/mnt/train/dog/1.jpg", "/data/b.jpg"]
    rows = {absolute(row, "/data/sets"), "/content/train/dog/1.jpg", "C:/train/dog/1.jpg"}
    match = PathMatcher(rows, lambda: [picture, *rivals]).find(picture)
    assert match.row == absolute(row, "/data/sets")


def test_pictures_are_listed_only_where_a_row_is_not_exact():
    def never():
        raise AssertionError("it was asked")

    assert PathMatcher({"/data/a.jpg"}, never).find("/data/a.jpg").how == "exact"
    assert PathMatcher({"/data/a.jpg"}, never).find("/data/b.png").how == "none"
