"""Files of lists: found, opened, and refused with a reason."""

import gzip
import os
from typing import cast

import numpy as np
import pyarrow as pa
import pytest

from clipaudit.errors import InputError
from clipaudit.listings.columns import Role
from clipaudit.listings.engine import Engine
from clipaudit.listings.files import find_lists, open_tables, quoted
from clipaudit.listings.matching import Asked, find
from clipaudit.listings.rows import all_rows
from tests.made import lists


def opened(*paths, **overrides: str):
    files = find_lists(paths)
    with Engine(files) as engine:
        return open_tables(engine, files, cast("dict[Role, str]", overrides))


def roles(table):
    return {role: column.name for role, column in table.columns.by_role.items()}


@pytest.mark.parametrize(
    ("make", "name", "kind", "url", "extra"),
    [
        (lists.datacomp, "a.parquet", "parquet", "url", "sha256"),
        (lists.laion400m, "a.parquet", "parquet", "URL", "license"),
        (lists.laion2b, "a.parquet", "parquet", "URL", "text"),
        (lists.coyo, "a.parquet", "parquet", "url", "phash"),
        (lists.cc12m, "cc12m.tsv", "tsv", "1", "text"),
        (lists.cc12m_hashes, "hashes.tsv", "tsv", "1", "md5"),
        (lists.cc3m, "cc3m.tsv", "tsv", "2", "text"),
    ],
)
def test_published_lists_are_opened_as_they_are(tmp_path, make, name, kind, url, extra):
    (table,) = opened(make(tmp_path / name, range(7)))
    assert (table.kind, table.n_rows) == (kind, 7)
    assert roles(table)["url"] == url
    assert extra in roles(table)


def test_plain_text_that_is_named_is_an_address_a_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffhttps://a.org/1.jpg\r\n\nhttps://a.org/2,3.jpg#x\nnone\n")
    (table,) = opened(path)
    assert (table.kind, roles(table)) == ("txt", {"url": "url"})
    with Engine([path]) as engine:
        found = [cells["url"] for cells in all_rows(engine, table)]
        assert found == ["https://a.org/1.jpg", "https://a.org/2,3.jpg#x", "none"]
        asked = [Asked(url="https://a.org/2,3.jpg")]
        assert {way for _, way in find(engine, table, asked)} == {"normalised_url"}
    with pytest.raises(InputError, match="holds no file"):
        opened(tmp_path)  # a folder of lists may hold texts of any kind


def test_openais_subset_of_yfcc_has_photo_ids_and_no_hash(tmp_path):
    path = lists.yfcc_subset(tmp_path / "yfcc100m_subset_data.tsv", [617, 5_068_346_023])
    (table,) = opened(path)
    assert roles(table) == {"flickr": "2", "key": "2"}
    assert "column 3 is not compared" in table.columns.notes[0]


def test_a_packed_file_is_read_as_it_is(tmp_path):
    plain = lists.cc12m_hashes(tmp_path / "plain.tsv", range(5))
    packed = tmp_path / "cc12m.tsv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    (table,) = opened(packed)
    assert (table.kind, table.n_rows, roles(table)["sha256"]) == ("tsv", 5, "2")


def test_a_csv_has_a_header_and_quotes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('URL,TEXT\nhttp://a.example/1.jpg,"two\nlines, ""quoted"""\n', encoding="utf-8")
    (table,) = opened(path)
    assert (table.n_rows, roles(table)) == (1, {"url": "URL", "text": "TEXT"})


def test_a_byte_order_mark_is_not_part_of_a_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfurl,text\r\nhttp://a.example/1.jpg,x\r\n")
    (table,) = opened(path)
    assert (table.n_rows, roles(table)["url"]) == (1, "url")


def test_rows_may_be_ragged_and_captions_broken(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(
        b"http://a.example/1.jpg\tone\textra\nhttp://a.example/2.jpg\n\n"
        b"http://a.example/3.jpg\tbad \xff caption\nhttp://a.example/4.jpg\tlast"
    )
    (table,) = opened(path)
    assert table.n_rows == 4
    assert roles(table) == {"url": "1"}
    assert "not shown" in table.columns.notes[0]


def test_a_broken_caption_costs_the_captions_and_nothing_else(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"http://a.example/1.jpg\tone\nhttp://a.example/2.jpg\tbad \xff caption\n")
    (table,) = opened(path)
    assert (table.n_rows, roles(table)) == (2, {"url": "1"})
    assert "captions and keys are not shown" in table.columns.notes[0]


def test_broken_addresses_are_an_error_that_says_how_to_mend_it(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"http://a.example/1.jpg\tone\nhttp://a.example/\xff.jpg\ttwo\n" * 9)
    with pytest.raises(InputError, match="not UTF-8") as caught:
        opened(path)
    assert "iconv" in caught.value.hint


# --- finding -------------------------------------------------------------------------------------


def test_a_folder_gives_its_lists_in_order_and_passes_the_rest_over(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b/2.parquet", "a.parquet", ".git/x.parquet", ".hidden.parquet", "README.md"):
        (tmp_path / name).write_bytes(b"")
    names = [str(path.relative_to(tmp_path)) for path in find_lists([tmp_path])]
    assert names == ["a.parquet", "b/2.parquet"]


def test_a_file_that_is_reached_twice_counts_once(tmp_path):
    path = lists.datacomp(tmp_path / "a.parquet", range(3))
    (tmp_path / "link.parquet").symlink_to(path)
    assert find_lists([path, tmp_path, path]) == [path]


def test_shards_may_differ_in_their_columns(tmp_path):
    lists.datacomp(tmp_path / "a.parquet", range(3))
    lists.laion2b(tmp_path / "b.parquet", range(4))
    assert [table.n_rows for table in opened(tmp_path)] == [3, 4]


@pytest.mark.parametrize("name", ["none.parquet", "none"])
def test_what_is_not_there_is_said(tmp_path, name):
    with pytest.raises(InputError, match="there is no file or folder"):
        find_lists([tmp_path / name])


def test_a_folder_without_lists_is_said(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match=r"holds no file that ends in \.parquet"):
        find_lists([tmp_path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(InputError, match="no plain file"):
        find_lists([tmp_path / "pipe.parquet"])


@pytest.mark.parametrize("name", ["a*.parquet", "a?.parquet", "a[1].parquet", b"\xff.parquet"])
def test_a_name_that_would_be_read_as_a_pattern_is_refused(tmp_path, name):
    path = lists.datacomp(tmp_path / "plain.parquet", range(3))
    named = tmp_path / os.fsdecode(name)
    named.hardlink_to(path)
    with pytest.raises(InputError, match="cannot be opened under this name"):
        find_lists([named])


@pytest.mark.parametrize(
    "name", ["it's; DROP TABLE a.parquet", 'a "b" $file.parquet', "x=1.parquet", "ü {1,2}.parquet"]
)
def test_other_names_are_no_danger(tmp_path, name):
    (table,) = opened(lists.datacomp(tmp_path / name, range(3)))
    assert table.n_rows == 3


# --- bad files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"", "no Parquet file"),
        ("a.parquet", b"<!DOCTYPE html><p>404", "no Parquet file"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1", "no Parquet file"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read"),
        ("a.parquet", b"PAR1" + b"\xff" * 100 + b"\x10\0\0\0PAR1", "cannot be read"),
        ("a.bin", b"url\nhttp://a.example/\n", "neither Parquet"),
        ("a.tsv.bz2", b"BZh9", "neither Parquet"),
        ("a.tsv.gz", b"no gzip", "cannot read"),
        (
            "a.tsv.gz",
            gzip.compress(b"http://a.example/1.jpg\tx\n" * 99, mtime=0)[:-20],
            "cannot read",
        ),
        ("a.tsv", b"\xff\xfeu\0r\0l\0", "UTF-16"),
        ("a.tsv", b"x" * 300_000, "has no end"),
        ("a.tsv", b"", "has no rows"),
        ("a.csv", b"\n\n", "has no rows"),
        ("a.csv", b"url,text\n", "has no rows"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_a_reason(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_list_without_a_row_is_refused_and_an_empty_shard_is_not(tmp_path):
    empty = lists.datacomp(tmp_path / "empty.parquet", range(0))
    with pytest.raises(InputError, match="has no rows"):
        opened(empty)
    full = lists.datacomp(tmp_path / "full.parquet", range(2))
    assert [table.n_rows for table in opened(empty, full)] == [0, 2]


def varint(number):
    """As Thrift's compact protocol writes a signed number."""
    number *= 2
    out = b""
    while number > 127:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def test_a_footer_that_lies_costs_nothing(tmp_path):
    """A billion rows in the footer, and three in the file."""
    path = lists.datacomp(tmp_path / "a.parquet", range(3))
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    body, footer = content[: -8 - length], content[-8 - length : -8]
    three, billion = b"\x16" + varint(3), b"\x16" + varint(10**9)
    assert footer.count(three) > 1
    footer = footer.replace(three, billion)
    path.write_bytes(body + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    files = find_lists([path])
    with Engine(files) as engine:
        (table,) = open_tables(engine, files, {})
        assert table.n_rows == 10**9  # which is only what it says
        with pytest.raises(InputError, match="cannot be read"):
            find(engine, table, [Asked(sha256=lists.sha256(1)), Asked(url=lists.url(2))])


def test_every_cut_of_a_parquet_file_is_an_error_of_the_file(tmp_path):
    content = lists.datacomp(tmp_path / "whole.parquet", range(3)).read_bytes()
    path = tmp_path / "cut.parquet"
    for length in range(4, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="cannot be read"):
            opened(path)


def test_damaged_files_are_errors_of_the_file_or_read_as_they_are(tmp_path):
    """Sixty files with a few bytes changed, most of them where the footer is."""
    content = lists.datacomp(tmp_path / "whole.parquet", range(40)).read_bytes()
    rng = np.random.default_rng(0)
    refused = {}
    for number in range(60):
        damaged = bytearray(content)
        first = 4 if number % 3 == 0 else len(content) - 1500
        for place in rng.integers(first, len(content) - 4, 3):
            damaged[place] = rng.integers(256)
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(damaged)
        try:
            with Engine([path]) as engine:
                (table,) = open_tables(engine, [path], {})
                find(engine, table, [Asked(sha256=lists.sha256(1)), Asked(url=lists.url(2))])
        except InputError as error:
            refused[path] = str(error)
    assert 10 < len(refused) < 60
    assert all(str(path) in message for path, message in refused.items())


def test_columns_with_names_that_are_code_are_but_names(tmp_path):
    names = ['u"; DROP TABLE x; --', "it's", "a\nb", "$file", "", "sha256'", "{1}"]
    columns = {name: ["nothing"] for name in names} | {"url": [lists.url(1)]}
    (table,) = opened(lists.write(tmp_path / "a.parquet", columns))
    assert roles(table) == {"url": "url"}
    (table,) = opened(tmp_path / "a.parquet", text=names[0])
    assert roles(table)["text"] == names[0]
    assert table.columns.by_role["text"].sql == quoted(names[0])


def test_a_column_called_like_the_row_number_is_but_a_column(tmp_path):
    columns = {"file_row_number": [7, 8], "url": [lists.url(1), lists.url(2)]}
    path = lists.write(tmp_path / "a.parquet", columns)
    files = find_lists([path])
    with Engine(files) as engine:
        (table,) = open_tables(engine, files, {})
        rows = engine.all(path, f"SELECT {table.row}, url FROM {table.reader}")
    assert rows == [(0, lists.url(1)), (1, lists.url(2))]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["http://a.example/1.jpg"]]),
        pa.array([{"src": "http://a.example/1.jpg"}]),
        pa.array([7], pa.int64()),
        pa.array([None], pa.null()),
    ],
)
def test_an_address_of_a_wrong_type_is_not_compared_and_said(tmp_path, values):
    columns = {"url": values, "sha256": [lists.sha256(1)]}
    (table,) = opened(lists.write(tmp_path / "a.parquet", columns))
    assert roles(table) == {"sha256": "sha256"}
    assert "url is not compared: it holds" in table.columns.notes[0]


# --- what the user says --------------------------------------------------------------------------


def test_a_column_that_is_not_there_is_an_error_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match="no column is called 'LINK'") as caught:
        opened(lists.laion2b(tmp_path / "a.parquet", range(2)), url="LINK")
    assert "URL, TEXT, WIDTH" in caught.value.hint


def test_columns_of_a_file_without_a_header_are_numbers(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("x\tftp.example/1.jpg\n", encoding="utf-8")
    (table,) = opened(path, url="2", text="1")
    assert roles(table) == {"url": "2", "text": "1"}
    with pytest.raises(InputError, match="no column is called '9'") as caught:
        opened(path, url="9")
    assert "by its number, from 1" in caught.value.hint


def test_a_header_that_only_the_user_knows_is_one(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("Bild\tWorte\nhttp://a.example/1.jpg\tx\n", encoding="utf-8")
    (table,) = opened(path, url="bild")
    assert (table.n_rows, roles(table)["url"]) == (1, "Bild")


def test_a_column_has_to_be_in_one_of_several_files(tmp_path):
    one = lists.laion2b(tmp_path / "a.parquet", range(2))
    other = lists.write(tmp_path / "b.parquet", {"LINK": [lists.url(1)]})
    assert [roles(table)["url"] for table in opened(one, other, url="LINK")] == ["URL", "LINK"]
