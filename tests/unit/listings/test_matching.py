"""Rows that are about a picture, against a slow and obvious search."""

from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import InputError
from clipaudit.listings.columns import Role
from clipaudit.listings.engine import Engine
from clipaudit.listings.files import find_lists, open_tables
from clipaudit.listings.matching import MOST_ROWS, Asked, Hit, find, ways_for
from clipaudit.listings.rows import details, hosts_of
from clipaudit.listings.urls import flickr_id, normalise
from tests.made import lists
from tests.made.present import present
from tests.made.spellings import OTHERS, PAIRS, SAME


def search(path, *asked, most_bits=6, **overrides: str):
    """(place, way) → number of rows, and (bits, row) of those that are named."""
    files = find_lists([path])
    with Engine(files) as engine:
        (table,) = open_tables(engine, files, cast("dict[Role, str]", overrides))
        hits = find(engine, table, asked, most_bits)
    return {key: (hit.n_rows, hit.rows) for key, hit in hits.items()}


def one(row, bits=0):
    return (1, [(bits, row)])


# --- addresses -----------------------------------------------------------------------------------


def test_an_equal_address_is_told_from_one_that_is_equal_when_normalised(tmp_path):
    path = lists.laion2b(tmp_path / "a.parquet", range(9))
    exact = Asked(url=lists.url(3))
    other = Asked(url="http://www.images.example.org:80/photos/4.jpg?utm_source=x#top")
    absent = Asked(url=lists.url(99))
    assert search(path, exact, other, absent) == {
        (0, "url"): one(3),
        (1, "normalised_url"): one(4),
    }


def test_all_rows_of_an_address_are_counted_and_the_first_are_named(tmp_path):
    urls = [lists.url(1)] * 30 + ["http://images.example.org/photos/1.jpg"] * 2
    path = lists.write(tmp_path / "a.parquet", {"url": urls})
    hits = search(path, Asked(url=lists.url(1)))
    assert hits[0, "url"] == (30, [(0, row) for row in range(MOST_ROWS)])
    assert hits[0, "normalised_url"] == (2, [(0, 30), (0, 31)])


def test_who_is_asked_for_twice_is_found_twice(tmp_path):
    path = lists.laion2b(tmp_path / "a.parquet", range(9))
    asked = Asked(url=lists.url(3))
    assert search(path, asked, asked) == {(0, "url"): one(3), (1, "url"): one(3)}


def test_rows_without_an_address_are_no_obstacle(tmp_path):
    path = lists.write(tmp_path / "a.parquet", {"url": [None, "", "http://", lists.url(3)]})
    assert search(path, Asked(url=lists.url(3))) == {(0, "url"): one(3)}


def brute_force(rows, asked):
    """What normalising every row finds."""
    expected = {}
    for place, url in enumerate(asked):
        equal = [(0, row) for row, other in enumerate(rows) if other.strip() == url.strip()]
        alike = [
            (0, row)
            for row, other in enumerate(rows)
            if other.strip() != url.strip() and normalise(other) == normalise(url) is not None
        ]
        if equal:
            expected[place, "url"] = (len(equal), equal[:MOST_ROWS])
        if alike:
            expected[place, "normalised_url"] = (len(alike), alike[:MOST_ROWS])
    return expected


def test_every_spelling_is_found_by_every_other_and_nothing_else_is(tmp_path):
    rows = [*SAME, *OTHERS, *(url for pair in PAIRS for url in pair)]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    expected = brute_force(rows, rows)
    assert all((place, "normalised_url") in expected for place in range(len(SAME)))
    assert search(path, *(Asked(url=url) for url in rows)) == expected


@pytest.mark.parametrize(("url", "other"), PAIRS + [(other, url) for url, other in PAIRS])
def test_a_row_in_another_spelling_is_found_where_nothing_else_is_asked_for(tmp_path, url, other):
    path = lists.write(tmp_path / "a.parquet", {"url": ["http://ex.org/", None, "", url, "/"]})
    rows = [(0, 0), (0, 3)] if normalise(url) == "ex.org/" else [(0, 3)]
    found = search(path, Asked(url=other))
    assert sorted(row for _, hits in found.values() for row in hits) == rows


HOSTS = st.sampled_from(
    [
        *("a.example", "www.a.example", "A.Example", "a.example.", "b.example:80", "b.example"),
        *("u@b.example", "ü.example", "xn--tda.example", "%C3%BC.example", "Ü.EXAMPLE:"),
    ]
)
PIECES = st.sampled_from(
    [
        *("/", "/x.jpg", "/X.jpg", "/.", "/..", "/%2e", "ü", "%C3%BC", "%c3%bc", "%FC", "%20"),
        *("%41", "A", "'", "%27", "&apos;", "&#39;", "&", "&amp;", "%26", "(", "%28", "[", "%5b"),
        *('"', "%22", "%2F", "%25", "%", "%2541", "@", "%40", ":", ";", "%3B", "+", " ", "\t"),
        "\u00a0",
    ]
)
PATHS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "/"]),
    st.lists(PIECES, max_size=4).map(lambda pieces: "/" + "".join(pieces) if pieces else ""),
    st.sampled_from(["", "?v=1", "?utm_id=7&v=1#z", "?utm_id=7&amp;v=1", "?v=%31", "#", "?"]),
)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "//", " https://", "HTTP://", '\ufeff"http://']),
    HOSTS,
    PATHS,
    st.sampled_from(["", " ", "\u00a0", '"']),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(URLS, min_size=1, max_size=30), asked=st.lists(URLS, min_size=1, max_size=4))
@pytest.mark.parametrize("ending", ["parquet", "tsv"])
def test_addresses_are_found_as_by_looking_at_every_row(tmp_path, ending, rows, asked):
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        lists.write(path, {"url": rows})
    else:
        rows = [row.replace("\t", "").replace("\ufeff", "") for row in rows]
        path.write_text("".join(f"{row}\tcaption\n" for row in rows), encoding="utf-8")
    found = search(path, *(Asked(url=url) for url in asked))
    assert found == brute_force(rows, asked)


# --- Flickr --------------------------------------------------------------------------------------


def test_a_photo_of_openais_subset_is_found_by_any_of_its_addresses(tmp_path):
    path = lists.yfcc_subset(tmp_path / "a.tsv", [11, 5_068_346_023, 33])
    file = Asked(url="https://live.staticflickr.com/4086/5068346023_8ba8e3a8f6_b.jpg")
    page = Asked(url="https://www.flickr.com/photos/some-one/5068346023/in/photostream")
    other = Asked(url="https://www.flickr.com/photos/some-one/5068346024")
    no_flickr = Asked(url="https://example.org/5068346023_8ba8e3a8f6_b.jpg")
    assert search(path, file, page, other, no_flickr) == {
        (0, "flickr_id"): one(1),
        (1, "flickr_id"): one(1),
    }


@pytest.mark.parametrize("values", [pa.array([11, 617], pa.int64()), pa.array(["11", "617"])])
def test_photo_ids_may_be_numbers_or_text(tmp_path, values):
    path = lists.write(tmp_path / "a.parquet", {"photoid": values})
    assert search(path, Asked(flickr="617")) == {(0, "flickr_id"): one(1)}
    assert search(path, Asked(flickr="no number")) == {}


def test_a_photo_is_found_in_other_sizes_and_on_its_page_where_a_list_has_addresses(tmp_path):
    rows = [
        "https://farm5.staticflickr.com/4086/5068346023_8ba8e3a8f6_z.jpg",
        "https://www.flickr.com/photos/some-one/5068346023/",
        "https://example.org/5068346023_8ba8e3a8f6_z.jpg",
        "https://live.staticflickr.com/4086/15068346023_8ba8e3a8f6.jpg",
        "https://www.flickr.com/photos/some-one/50683460231",
    ]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    asked = "https://live.staticflickr.com/4086/5068346023_8ba8e3a8f6_b.jpg"
    assert [flickr_id(row) == "5068346023" for row in rows] == [True, True, False, False, False]
    assert search(path, Asked(url=asked)) == {(0, "flickr_id"): (2, [(0, 0), (0, 1)])}


def test_a_photo_is_found_in_any_spelling_of_its_address(tmp_path):
    rows = [
        " //live.staticflickr.com/4086/5068346023%5F8ba8e3a8f6_z.jpg",
        "https://www.Flickr.com/photos/%7Esome/5068346023",
        "https://www.flickr.com/photos/./some/%35068346023/",
    ]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    assert search(path, Asked(flickr="5068346023")) == {
        (0, "flickr_id"): (3, [(0, 0), (0, 1), (0, 2)])
    }


# --- hashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", [str.lower, str.upper])
@pytest.mark.parametrize(
    ("as_stored", "kind"),
    [
        (lambda digest: digest, pa.string()),
        (lambda digest: digest.encode(), pa.binary()),
        (bytes.fromhex, pa.binary()),
    ],
)
def test_hashes_are_found_however_they_are_written(tmp_path, as_stored, kind, letters):
    for name, digest in (("sha256", lists.sha256), ("md5", lists.md5)):
        values = pa.array([as_stored(letters(digest(number))) for number in range(9)], kind)
        path = lists.write(tmp_path / f"{name}.parquet", {name: values})
        asked = [Asked(**{name: digest(4)}), Asked(**{name: digest(40)})]
        assert search(path, *asked) == {(0, name): one(4)}


def test_both_hashes_are_compared_where_both_are_there(tmp_path):
    path = lists.cc12m_hashes(tmp_path / "a.tsv", range(9))
    asked = Asked(sha256=lists.sha256(4), md5=lists.md5(5))
    assert search(path, asked) == {(0, "sha256"): one(4), (0, "md5"): one(5)}


def flipped(number, bits, seed):
    places = np.random.default_rng(seed).choice(64, bits, replace=False)
    return int(lists.phash(number), 16) ^ sum(1 << int(place) for place in places)


HASHES = [int(lists.phash(number), 16) for number in range(30)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"{one:016x}" for one in HASHES], pa.string()),
        ([f"{one:016X}" for one in HASHES], pa.string()),
        ([one.to_bytes(8, "big") for one in HASHES], pa.binary()),
        (HASHES, pa.uint64()),
        ([one - (1 << 64) if one >= 1 << 63 else one for one in HASHES], pa.int64()),
    ],
)
def test_perceptual_hashes_may_differ_by_some_bits(tmp_path, values, kind):
    assert any(one >= 1 << 63 for one in HASHES)
    path = lists.write(tmp_path / "a.parquet", {"phash": pa.array(values, kind)})
    asked = [Asked(phash=flipped(number, bits, 0)) for number, bits in enumerate([0, 3, 6, 7])]
    assert search(path, *asked) == {
        (0, "phash"): one(0, 0),
        (1, "phash"): one(1, 3),
        (2, "phash"): one(2, 6),
    }
    assert search(path, *asked, most_bits=0) == {(0, "phash"): one(0)}


def test_the_nearest_of_many_look_alikes_are_named(tmp_path):
    values = [f"{flipped(0, bits, row):016x}" for row, bits in enumerate([6, 1, 3] * 20)]
    path = lists.write(tmp_path / "a.parquet", {"image_phash": values})
    ((n_rows, rows),) = search(path, Asked(phash=HASHES[0])).values()
    assert n_rows == 60
    assert rows == [(1, row) for row in range(1, 60, 3)]


def test_what_is_no_hash_is_never_alike(tmp_path):
    odd = ["", "0", "g" * 16, "0" * 15, "0" * 17, None, "0x00000000000000", "f" * 16]
    path = lists.write(tmp_path / "a.parquet", {"phash": odd})
    assert search(path, Asked(phash=0)) == {}


def test_numbers_of_laion_are_never_compared(tmp_path):
    path = lists.laion2b(tmp_path / "a.parquet", range(9))
    assert search(path, Asked(phash=(1 << 64) - 3, md5="0" * 32, sha256="0" * 64)) == {}


# --- what is possible ----------------------------------------------------------------------------


def test_ways_are_those_that_both_sides_have(tmp_path):
    paths = [
        lists.datacomp(tmp_path / "a.parquet", range(2)),
        lists.coyo(tmp_path / "b.parquet", range(2)),
        lists.yfcc_subset(tmp_path / "c.tsv", [1, 2]),
    ]
    with Engine(paths) as engine:
        tables = open_tables(engine, paths, {})
    file = Asked(sha256="0" * 64, md5="0" * 32, phash=1)
    address = Asked(url=lists.url(1))
    photo = Asked(url="https://www.flickr.com/photos/some-one/617")
    assert [ways_for(file, table) for table in tables] == [("sha256",), ("phash",), ()]
    by_url = ("url", "normalised_url")
    assert [ways_for(address, table) for table in tables] == [by_url, by_url, ()]
    with_id = (*by_url, "flickr_id")
    assert [ways_for(photo, table) for table in tables] == [with_id, with_id, ("flickr_id",)]


def test_a_broken_column_is_an_error_of_the_file(tmp_path):
    path = lists.datacomp(tmp_path / "a.parquet", range(2000), compression="none")
    content = bytearray(path.read_bytes())
    at = content.index(lists.sha256(1000).encode())
    content[at - 20_000 : at + 20_000] = b"\xff" * 40_000
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        search(path, Asked(sha256=lists.sha256(1999)))


def test_rows_that_come_in_any_order_leave_the_least():
    hit = Hit()
    for row in range(50, 0, -1):
        hit.add(1, [(row % 2, row)])
    assert hit.n_rows == 50
    assert hit.rows == [(0, row) for row in range(2, 2 + 2 * MOST_ROWS, 2)]


# --- rows and sites ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lists.datacomp, lists.laion400m, lists.cc12m])
def test_a_row_says_what_its_file_has(tmp_path, make):
    path = make(tmp_path / ("a.tsv" if make is lists.cc12m else "a.parquet"), range(300))
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], {})
        said = details(engine, table, [7, 299, 7])
    assert sorted(said) == [7, 299]
    assert said[7].url == lists.url(7)
    assert present(said[7].text).startswith("caption")
    keys = {lists.datacomp: f"{7:032x}", lists.laion400m: "7", lists.cc12m: None}
    assert said[7].key == keys[make]


def test_a_broken_caption_in_parquet_is_shown_as_far_as_it_is_text(tmp_path):
    offsets = np.array([0, 3], np.int32).tobytes()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xffb")]
    broken = pa.Array.from_buffers(pa.string(), 1, buffers)
    path = lists.write(tmp_path / "a.parquet", {"url": [lists.url(1)], "text": broken})
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], {})
        assert details(engine, table, [0])[0].text == "a?b"


def test_no_rows_say_nothing(tmp_path):
    path = lists.datacomp(tmp_path / "a.parquet", range(3))
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], {})
        assert details(engine, table, []) == {}


def test_rows_of_a_site_are_counted_in_every_spelling_of_its_name(tmp_path):
    rows = ["//bücher.example/1.jpg", " https://www.Bücher.example?x", "http://a@bücher.example"]
    rows += ["http://xn--bcher-kva.example./1.jpg", "http://bucher.example/", "bücher.example"]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], {})
        n_rows, hosts = hosts_of(engine, table, "xn--bcher-kva.example")
    assert n_rows == 4
    assert {name for name, _, _ in hosts} == {
        "xn--bcher-kva.example",
        "www.xn--bcher-kva.example",
    }


def test_rows_of_a_site_are_those_at_it_and_below(tmp_path):
    rows = [
        "https://example.org/1.jpg",
        "https://www.example.org/2.jpg",
        "http://CDN.Example.org:8080/3.jpg",
        "http://me:secret@cdn.example.org/0.jpg",
        "https://badexample.org/5.jpg",
        "https://example.org.evil.example/6.jpg",
        "https://other.example/?from=example.org",
        None,
    ]
    path = lists.write(tmp_path / "a.parquet", {"url": rows})
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], {})
        assert hosts_of(engine, table, "example.org") == (
            4,
            [
                ("cdn.example.org", 2, "http://CDN.Example.org:8080/3.jpg"),
                ("example.org", 1, "https://example.org/1.jpg"),
                ("www.example.org", 1, "https://www.example.org/2.jpg"),
            ],
        )
        assert hosts_of(engine, table, "nobody.example") == (0, [])
