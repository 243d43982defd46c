"""Rows drawn from a list by a seed."""

import hashlib
from collections import Counter
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import InputError, UsageError
from clipaudit.listings import Listed, sample, sampling
from clipaudit.listings.urls import normalise
from tests.made import lists
from tests.made.present import present
from tests.made.spellings import PAIRS


def drawn(path, n, seed, **how):
    return [one.url for one in sample([path], n, seed, **how)]


def by_definition(urls, seed):
    """The order of a draw: by a hash of seed and address; each normalised address once."""
    ordered = sorted(set(urls), key=lambda url: hashlib.md5(f"{seed}/{url}".encode()).hexdigest())
    first: dict[str, str] = {}
    for url in ordered:
        if (address := normalise(url)) is not None:
            first.setdefault(address, url)
    return list(first.values())


def test_the_order_is_that_of_a_hash_of_seed_and_address(tmp_path):
    path = lists.datacomp(tmp_path / "a.parquet", range(500))
    urls = [lists.url(number) for number in range(500)]
    assert drawn(path, 1000, 0) == by_definition(urls, 0)
    assert drawn(path, 20, 7) == by_definition(urls, 7)[:20]
    assert drawn(path, 20, 0) != drawn(path, 20, 7)


def test_a_sample_is_spread_over_the_whole_list(tmp_path):
    path = lists.datacomp(tmp_path / "a.parquet", range(4000))
    numbers = [int(url.split("/")[-1].split(".")[0]) for url in drawn(path, 800, 1)]
    counts = Counter(number // 1000 for number in numbers)
    # Binomial with n = 800, p = 1/4: five standard deviations are 61.
    assert all(abs(counts[quarter] - 200) < 61 for quarter in range(4))


def test_order_and_division_of_the_rows_do_not_matter(tmp_path):
    numbers = list(range(300))
    one = lists.datacomp(tmp_path / "one.parquet", numbers)
    many = tmp_path / "many"
    many.mkdir()
    backwards = numbers[::-1]
    for start in range(0, 300, 70):
        name = many / f"{start}.parquet"
        lists.datacomp(name, backwards[start : start + 70], row_group_size=9)
    expected = list(sample([one], 50, 3))
    assert list(sample([many], 50, 3)) == expected
    assert list(sample(sorted(many.iterdir(), reverse=True), 50, 3)) == expected


def test_text_and_parquet_draw_alike(tmp_path):
    numbers = range(200)
    text = drawn(lists.cc12m(tmp_path / "a.tsv", numbers), 50, 3)
    assert text == drawn(lists.datacomp(tmp_path / "a.parquet", numbers), 50, 3)


def test_a_longer_sample_starts_with_the_shorter_one(tmp_path, monkeypatch):
    path = lists.datacomp(tmp_path / "a.parquet", range(900))
    whole = drawn(path, 900, 5)
    monkeypatch.setattr(sampling, "_MOST_AT_ONCE", 64)  # so that it takes many windows
    for n in (1, 10, 300, 900):
        assert drawn(path, n, 5) == whole[:n]


def test_windows_beyond_what_is_taken_are_not_read(tmp_path, monkeypatch):
    path = lists.datacomp(tmp_path / "a.parquet", range(900))
    monkeypatch.setattr(sampling, "_MOST_AT_ONCE", 64)
    source = sample([path], 900, 5)
    first = list(islice(source, 10))
    path.write_bytes(b"gone")
    assert len(first) == 10
    with pytest.raises(InputError, match="cannot be read"):
        list(source)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    seed=st.integers(-(2**40), 2**40),
    n=st.integers(1, 12),
)
def test_every_draw_is_that_of_the_definition(tmp_path, numbers, seed, n):
    urls = [lists.url(number, "www." * (number % 2) + "a.example") for number in numbers]
    urls += [url.replace("https:", "HTTP:").replace("www.", "") for url in urls[::2]]
    path = lists.write(tmp_path / "a.parquet", {"url": urls})
    assert drawn(path, n, seed) == by_definition(urls, seed)[:n]


def test_an_empty_shard_is_no_obstacle(tmp_path):
    (tmp_path / "0.tsv").write_bytes(b"")
    lists.cc12m(tmp_path / "1.tsv", range(3))
    assert len(drawn(tmp_path, 9, 0)) == 3


def test_rows_say_what_the_list_says(tmp_path):
    (one,) = sample([lists.datacomp(tmp_path / "a.parquet", [7])], 5, 0)
    assert one == Listed(
        url=lists.url(7),
        key=f"{7:032x}",
        text="caption 7",
        sha256=lists.sha256(7),
        width=647,
        height=480,
    )
    (one,) = sample([lists.laion400m(tmp_path / "b.parquet", [7])], 5, 0)
    assert one == Listed(url=lists.url(7), key="7", text="caption 7", width=640, height=480)
    (one,) = sample([lists.cc12m_hashes(tmp_path / "c.tsv", [7])], 5, 0)
    assert one == Listed(url=lists.url(7), sha256=lists.sha256(7), md5=lists.md5(7))


def test_what_is_no_hash_or_size_is_not_passed_on(tmp_path):
    columns = {
        "url": [lists.url(1)],
        "sha256": ["NaN"],
        "md5": [lists.md5(1).upper()],
        "width": ["wide"],
        "height": [480.0],
        "license": ["by-sa"],
    }
    (one,) = sample([lists.write(tmp_path / "a.parquet", columns)], 5, 0)
    assert one == Listed(url=lists.url(1), md5=lists.md5(1), height=480, license="by-sa")


def test_rows_without_a_usable_address_are_left_out_and_counted(tmp_path):
    odd = [None, "", "ftp://a.example/1.jpg", "photo.jpg", "http://", "https://a b/1.jpg"]
    path = lists.write(tmp_path / "a.parquet", {"url": [*odd, " ", lists.url(1)]})
    source = sample([path], 9, 0)
    assert source.n_rows == 8
    assert [one.url for one in source] == [lists.url(1)]
    assert source.n_without_url == 7


def test_of_rows_with_one_address_the_same_one_comes_whatever_their_order(tmp_path):
    columns = {"url": [lists.url(1)] * 3, "text": ["b", "a", None], "uid": ["2", "3", "4"]}
    one = lists.write(tmp_path / "a.parquet", columns)
    other = lists.write(
        tmp_path / "b.parquet", {name: values[::-1] for name, values in columns.items()}
    )
    (first,) = sample([one], 9, 0)
    assert list(sample([other], 9, 0)) == [first]
    assert list(sample([one, other], 9, 0)) == [first]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_rows_with_one_address_in_two_files_the_same_one_comes(tmp_path, order):
    files = [
        lists.write(tmp_path / f"{name}.parquet", {"url": [lists.url(1)], "text": [name]})
        for name in order
    ]
    (one,) = sample(files, 9, 0)
    assert one.text == "a"


# --- without another list ------------------------------------------------------------------------


def test_rows_of_the_other_list_are_left_out(tmp_path):
    pool = lists.datacomp(tmp_path / "medium.parquet", range(200))
    inside = lists.datacomp(tmp_path / "small.parquet", range(0, 200, 2))
    source = sample([pool], 500, 0, without=[inside])
    assert source.compared_by == ("key", "sha256", "url")
    expected = [lists.url(number) for number in range(1, 200, 2)]
    assert [one.url for one in source] == by_definition(expected, 0)
    assert source.n_excluded == 100


@pytest.mark.parametrize("column", ["uid", "url", "sha256"])
def test_one_column_in_common_is_enough_to_be_left_out(tmp_path, column):
    """The others differ, as where a picture has moved or was uploaded twice."""
    ours = {"uid": ["a", "b"], "url": [lists.url(1), lists.url(2)], "sha256": ["0" * 64, "1" * 64]}
    theirs = {"uid": ["c"], "url": [lists.url(3)], "sha256": ["2" * 64]}
    theirs[column] = ours[column][:1]
    pool = lists.write(tmp_path / "pool.parquet", ours)
    other = lists.write(tmp_path / "other.parquet", theirs)
    assert drawn(pool, 9, 0, without=[other]) == [lists.url(2)]


def test_addresses_are_compared_normalised(tmp_path):
    pool = lists.cc12m(tmp_path / "pool.tsv", range(4))
    urls = [lists.url(number).replace("https://", "http://www.") for number in range(3)]
    other = lists.write(tmp_path / "other.parquet", {"URL": urls})
    source = sample([pool], 9, 0, without=[other])
    assert source.compared_by == ("url",)
    assert [one.url for one in source] == [lists.url(3)]


def test_members_and_non_members_are_kept_apart_in_every_spelling(tmp_path):
    theirs = lists.write(tmp_path / "members.parquet", {"url": [url for url, _ in PAIRS]})
    ours = [other for _, other in PAIRS]
    path = lists.write(tmp_path / "all.parquet", {"url": [*ours, "http://ex.org/new.jpg"]})
    assert drawn(path, 99, 0, without=[theirs]) == ["http://ex.org/new.jpg"]
    both = lists.write(tmp_path / "both.parquet", {"url": [url for pair in PAIRS for url in pair]})
    assert len(drawn(both, 99, 0)) == len({normalise(url) for url, _ in PAIRS})


def test_an_address_in_a_row_is_drawn_without_what_stands_around_it(tmp_path):
    rows = [" https://a.org/1.jpg\n", "//a.org/2.jpg", "\u00a0HTTPS://a.org/3.jpg", "a.org/4.jpg"]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    expected = ["HTTPS://a.org/3.jpg", "https://a.org/1.jpg", "https://a.org/2.jpg"]
    assert sorted(drawn(path, 9, 0)) == expected


def test_photo_ids_tell_photos_of_yfcc_apart(tmp_path):
    numbers = range(100, 120)
    pool = tmp_path / "yfcc100m.tsv"
    pool.write_text(
        "".join(
            f"{line}\t{photo}\t{lists.md5(photo)}\tsomebody\t"
            f"http://farm1.staticflickr.com/1/{photo}_0a1b2c.jpg\n"
            for line, photo in enumerate(numbers)
        ),
        encoding="utf-8",
    )
    subset = lists.yfcc_subset(tmp_path / "subset.tsv", numbers[:15])
    source = sample([pool], 99, 0, without=[subset])
    assert source.compared_by == ("photo id",)
    assert sorted(present(row.photo) for row in source) == ["115", "116", "117", "118", "119"]


def test_running_numbers_are_no_keys(tmp_path):
    """`key` of img2dataset numbers the rows of one download."""
    ours = {"key": ["000", "001"], "url": [lists.url(1), lists.url(2)]}
    theirs = {"key": ["000", "001"], "url": [lists.url(8), lists.url(9)]}
    pool = lists.write(tmp_path / "pool.parquet", ours)
    other = lists.write(tmp_path / "other.parquet", theirs)
    source = sample([pool], 9, 0, without=[other])
    assert source.compared_by == ("url",)
    assert len(list(source)) == 2


def test_lists_with_nothing_in_common_are_an_error_at_once(tmp_path):
    pool = lists.laion2b(tmp_path / "pool.parquet", range(4))
    other = lists.write(tmp_path / "other.parquet", {"sha256": ["0" * 64]})
    with pytest.raises(InputError, match="no column in common") as caught:
        sample([pool], 9, 0, without=[other])
    assert "--columns" in caught.value.hint


def test_a_list_that_is_part_of_the_other_ends_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_HOPELESS", 100)
    monkeypatch.setattr(sampling, "_MOST_AT_ONCE", 64)
    path = lists.datacomp(tmp_path / "a.parquet", range(300))
    copy = lists.datacomp(tmp_path / "b.parquet", range(300))
    with pytest.raises(InputError, match="are in the other list too"):
        list(sample([path], 9, 0, without=[copy]))


# --- bad input -----------------------------------------------------------------------------------


def test_a_list_of_photo_ids_cannot_be_drawn_from(tmp_path):
    path = lists.yfcc_subset(tmp_path / "a.tsv", [1, 2])
    with pytest.raises(InputError, match="no addresses of pictures") as caught:
        sample([path], 9, 0)
    assert "YFCC100M's own metadata" in caught.value.hint


def test_a_file_that_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        sample([tmp_path / "none.parquet"], 9, 0)


def test_columns_are_named_where_they_cannot_be_told(tmp_path):
    path = lists.write(tmp_path / "a.parquet", {"LINK": [lists.url(1)], "TXT": ["a cat"]})
    (one,) = sample([path], 9, 0, columns={"url": "LINK", "text": "TXT"})
    assert one == Listed(url=lists.url(1), text="a cat")
    with pytest.raises(InputError, match="no column is called 'NOPE'"):
        sample([path], 9, 0, columns={"url": "NOPE"})
    with pytest.raises(UsageError, match="no column can hold that"):
        sample([path], 9, 0, columns={"picture": "LINK"})
