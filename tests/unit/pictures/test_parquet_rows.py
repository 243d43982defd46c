"""Parquet files with pictures: rows and their names, texts beside them, and hostile files."""

import os
import threading
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipaudit.captions.choosing import open_captions
from clipaudit.pictures import parquet_rows
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id, hash_file, read_file
from tests.made.present import present
from tests.made.shards import write_parquet

LIMITS = Limits()
PICTURES = [f"picture {number}".encode() * 50 for number in range(8)]


def listed(path):
    return [
        (os.path.relpath(found.path, path.parent), found.problem and found.problem.reason)
        for found in find_images([path])
    ]


def reason_of(found, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        read_file(found.path, limits, found.place)
    return caught.value.reason


def test_each_row_is_a_picture_with_its_number_and_name(tmp_path):
    part = write_parquet(tmp_path / "part.parquet", PICTURES)
    found = [*find_images([tmp_path])]
    assert [one.path for one in found] == [f"{part}#{row}/{row}.png" for row in range(8)]
    assert [read_file(one.path, LIMITS, one.place) for one in found] == PICTURES
    assert [read_file(one.path, LIMITS) for one in reversed(found)] == PICTURES[::-1]
    assert hash_file(found[5].path)[0] == content_id(PICTURES[5])
    single = [*find_images([f"{part}#7/7.png", f"{part}#7/8.png", f"{part}#8/8.png", f"{part}#x"])]
    reasons = [one.problem and one.problem.reason for one in single]
    assert reasons == [None, "missing", "missing", "missing"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_bytes_will_do_with_and_without_names(tmp_path, kind):
    pq.write_table(pa.table({"jpg": pa.array(PICTURES, kind)}), tmp_path / "a.parquet")
    assert listed(tmp_path / "a.parquet")[3] == ("a.parquet#3", None)
    assert read_file(f"{tmp_path}/a.parquet#3", LIMITS) == PICTURES[3]
    names = [f"{number}.jpg" for number in range(8)]
    table = pa.table({"file_name": names, "Image": pa.array(PICTURES, kind)})
    pq.write_table(table, tmp_path / "b.parquet")
    assert listed(tmp_path / "b.parquet")[3] == ("b.parquet#3/3.jpg", None)


def test_a_name_in_a_row_is_a_name_and_no_more(tmp_path):
    names = ["../../etc/passwd", "/a/b.jpg", "..", "", None, "c\\d\0.jpg", "x" * 5000, "ä#3/é.png"]
    part = write_parquet(tmp_path / "p.parquet", PICTURES, names)
    found = [*find_images([part])]
    assert [one.path.removeprefix(str(part)) for one in found] == [
        *("#0/passwd", "#1/b.jpg", "#2", "#3", "#4", "#5/d.jpg", "#6/" + "x" * 200, "#7/é.png")
    ]
    assert [read_file(one.path, LIMITS) for one in found] == PICTURES


def test_rows_without_bytes_are_skipped_and_the_limit_holds(tmp_path):
    part = write_parquet(tmp_path / "p.parquet", [b"a", None, b"", b"c" * 101, b"d"])
    found = [*find_images([part])]
    assert [reason_of(one, Limits(max_file_bytes=100)) for one in found[1:4]] == [
        *("missing", "empty", "too_large")
    ]
    assert read_file(found[4].path, LIMITS, found[4].place) == b"d"


def test_a_row_group_that_is_too_large_is_skipped_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_MOST_GROUP_BYTES", 5000)
    large = [b"x", os.urandom(9000), b"y"]
    part = write_parquet(tmp_path / "p.parquet", [*large, *PICTURES[:3]])
    found = [*find_images([part])]
    assert [one.problem and one.problem.reason for one in found] == ["too_large"] * 3 + [None] * 3
    assert "smaller row groups" in present(found[0].problem).explanation
    assert read_file(found[3].path, LIMITS, found[3].place) == PICTURES[0]


def test_columns_of_other_types_are_told_for_what_they_are(tmp_path):
    for name, column in {
        "paths": pa.array(["a.jpg"]),
        "numbers": pa.array([[1, 2]]),
        "struct": pa.array([{"bytes": "text", "path": "a"}]),
    }.items():
        pq.write_table(pa.table({"image": column}), tmp_path / f"{name}.parquet")
        assert listed(tmp_path / f"{name}.parquet") == [(f"{name}.parquet", "unsupported")]
    pq.write_table(pa.table({"file_name": ["a.jpg"], "bytes": [17]}), tmp_path / "list.parquet")
    assert listed(tmp_path / "list.parquet") == [("list.parquet", None)], "a table of captions"
    write_parquet(tmp_path / "empty.parquet", [])
    assert listed(tmp_path / "empty.parquet") == [("empty.parquet", "empty")]
    (tmp_path / "key.parquet").write_bytes(b"PARE" + bytes(90) + b"PARE")
    assert listed(tmp_path / "key.parquet") == [("key.parquet", "unsupported")]
    many = pa.array([None] * 5_000_000, pa.binary())
    pq.write_table(pa.table({"image": many}), tmp_path / "many.parquet")
    assert listed(tmp_path / "many.parquet") == [("many.parquet", "corrupt")]
    (tmp_path / "none.parquet").write_bytes(b"\xff\xd8\xff")
    assert listed(tmp_path / "none.parquet") == [("none.parquet", None)]


def test_a_file_cut_off_anywhere_says_so(tmp_path):
    whole = write_parquet(tmp_path / "whole.parquet", PICTURES).read_bytes()
    cut = tmp_path / "cut.parquet"
    for n_bytes in (4, 8, 11, 12, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        cut.write_bytes(whole[:n_bytes])
        assert listed(cut) in ([("cut.parquet", "truncated")], [("cut.parquet", "corrupt")])


def test_a_damaged_file_gives_reasons_and_the_run_goes_on(tmp_path):
    whole = write_parquet(tmp_path / "whole.parquet", PICTURES).read_bytes()
    part = tmp_path / "p.parquet"
    for place in range(4, len(whole), 23):
        data = bytearray(whole)
        data[place] ^= 0xFF
        part.write_bytes(data)
        for found in find_images([part]):
            if found.problem is None:
                with suppress(BadImage):
                    read_file(found.path, LIMITS, found.place)


def test_a_file_that_changed_since_is_not_read(tmp_path):
    part = write_parquet(tmp_path / "p.parquet", PICTURES)
    found = [*find_images([part])]
    write_parquet(part, PICTURES * 2)
    assert reason_of(found[1]) == "changed"
    part.unlink()
    assert reason_of(found[1]) == "missing"


def test_threads_read_one_file_without_being_in_each_others_way(tmp_path):
    part = write_parquet(tmp_path / "p.parquet", PICTURES * 10)
    wrong: list[int] = []

    def read(numbers):
        data = {row: read_file(f"{part}#{row}/{row}.png", LIMITS) for row in numbers}
        wrong.extend(row for row in data if data[row] != PICTURES[row % 8])

    orders = (range(80), range(79, -1, -1), range(0, 80, 7))
    threads = [threading.Thread(target=read, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_captions_are_the_texts_beside_the_pictures(tmp_path):
    texts = ["a dog", None, " ", "a cat", *["more"] * 4]
    lists = [["one", "two"]] * 8
    part = write_parquet(tmp_path / "p.parquet", PICTURES, label=[1] * 8, text=texts)
    other = write_parquet(tmp_path / "q.parquet", PICTURES, Caption=lists)
    source = present(open_captions("auto", [tmp_path]))
    told = [source.captions_of(found.path, b"") for found in find_images([part])]
    assert told[:4] == [("a dog",), (), (), ("a cat",)]
    assert source.captions_of(f"{other}#2/2.png", b"") == ("one", "two")
    assert source.facts.source == "columns of Parquet files"
    assert source.facts.notes == ("Parquet files: 2 rows without a caption",)
    bare = write_parquet(tmp_path / "bare" / "p.parquet", PICTURES)
    assert open_captions("auto", [bare]) is None
