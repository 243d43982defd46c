"""Two sets of pictures: which are different, and which are in both."""

import pytest

from clipaudit.errors import InputError
from clipaudit.results.rows import Row
from clipaudit.verdicts.shared_pictures import Match, require_apart, scored_paths, split

FIRST = {"a": "1/a", "b": "1/b", "c": "1/c", "d": "1/d"}
SECOND = {"x": "2/x", "b": "2/b", "c'": "2/c'", "c''": "2/c''"}
HASHES = {"a": 0, "b": 2**20 - 1, "c": 2**50 - 1, "d": 2**50 - 2, "x": 2**64 - 1}
HASHES |= {"c'": 2**50 - 3, "c''": 2**50 - 1}


def test_shared_pictures_leave_the_second_set_and_stay_in_the_first():
    pair = split(FIRST, SECOND, HASHES)
    assert pair.first == {"a": "1/a", "b": "1/b", "c": "1/c"}  # d looks like c
    assert pair.second == {"x": "2/x"}
    assert pair.shared == (
        Match("1/b", "2/b", "copy"),
        Match("1/c", "2/c'", "near-duplicate"),
        Match("1/c", "2/c''", "near-duplicate"),
    )
    assert pair.left_out == {"b", "c'", "c''"}


def test_they_leave_both_where_both_are_to_be_without_them_and_so_do_their_near_duplicates():
    pair = split(FIRST, SECOND, HASHES, from_both=True)
    assert pair.first == {"a": "1/a"}
    assert pair.second == {"x": "2/x"}
    assert pair.shared == (
        *split(FIRST, SECOND, HASHES).shared,
        Match("1/d", "2/c''", "near-duplicate"),
    )
    assert pair.left_out == {"b", "c", "d", "c'", "c''"}


def test_a_picture_without_a_hash_is_only_the_same_to_the_byte():
    pair = split({"a": "1/a", "b": "1/b"}, {"a": "2/a", "c": "2/c"}, {})
    assert pair.shared == (Match("1/a", "2/a", "copy"),)
    assert (pair.first, pair.second) == ({"a": "1/a", "b": "1/b"}, {"c": "2/c"})


def test_sets_that_share_pictures_are_refused_and_the_first_ones_named():
    second = {name: f"2/{name}" for name in "abcd"}
    with pytest.raises(InputError) as caught:
        require_apart(split(FIRST, second, {}), "they overlap", "Take them apart.")
    assert str(caught.value) == (
        "they overlap: '2/a' is a copy of '1/a'; '2/b' is a copy of '1/b'; '2/c' is a copy of "
        "'1/c'; and 1 more"
    )
    assert caught.value.hint == "Take them apart."
    require_apart(split(FIRST, {"z": "2/z"}, {}), "they overlap", "Take them apart.")


def test_of_copies_the_first_path_counts_and_skipped_files_do_not():
    rows = [Row("1", "a", "ok"), Row("2", "a", "ok"), Row("3", "b", "skipped")]
    assert scored_paths(rows) == {"a": "1"}
