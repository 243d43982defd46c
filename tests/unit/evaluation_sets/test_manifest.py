"""The manifest says the same in both its files, and is read back as it was written."""

import json
from io import BytesIO
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.collecting import Picture
from clipaudit.evaluation_sets.manifest import Manifest, Origin, Row, origins, read_manifest
from tests.made.set_pictures import fetched, picture, record

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def some_manifest():
    natural = Row(
        path="members/a.png",
        sha256="a" * 64,
        phash="0123456789abcdef",
        label="potential-member",
        reason="found for 'otter'",
        origin=Origin.of(picture("one")),
    )
    joined = Row(
        path="nonmembers/b.png",
        sha256="b" * 64,
        phash="f" * 16,
        label="non-member",
        reason="joined",
        parents=(Origin.of(picture("two", rank=3)), Origin.of(picture("three", "crab"))),
        layout="horizontal",
    )
    return Manifest((natural, joined), {"size_px": 224, "keywords": ["otter"]}, 7, "1.2.3")


def test_both_files_hold_the_same_rows():
    manifest = some_manifest()
    table = pq.read_table(BytesIO(manifest.write_parquet()))
    lines = manifest.write_json_lines().decode().splitlines()
    assert table.to_pylist() == [json.loads(line) for line in lines] == manifest.to_dicts()


def test_the_files_are_the_same_bytes_every_time():
    assert some_manifest().write_parquet() == some_manifest().write_parquet()
    assert some_manifest().write_json_lines() == some_manifest().write_json_lines()


def test_a_manifest_is_read_back_as_it_was(tmp_path):
    manifest = some_manifest()
    (tmp_path / "manifest.jsonl").write_bytes(manifest.write_json_lines())
    assert read_manifest(tmp_path) == manifest


def test_every_row_is_what_the_schema_says():
    schema = json.loads((SCHEMAS / "manifest-1.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for row, path in zip(some_manifest().to_dicts(), ("members/", "nonmembers/"), strict=True):
        whole = {**row, "path": f"{path}{'0' * 32}.png"}
        validator.validate(whole)
        assert set(whole) == set(schema["properties"])
        for field in schema["required"]:
            assert not validator.is_valid({key: whole[key] for key in whole if key != field})


def test_an_empty_set_has_the_same_columns():
    empty = pq.read_table(BytesIO(Manifest((), {"size_px": 224}, 0, "1").write_parquet()))
    full = pq.read_table(BytesIO(some_manifest().write_parquet()))
    assert empty.schema.equals(full.schema)


def test_a_source_that_says_no_licence_gives_an_unknown_one():
    assert Origin.of(picture("one")).license == "unknown"
    said = Picture(record("one", license="by-sa"), fetched("one"), "otter", 1)
    assert Origin.of(said).license == "by-sa"


def test_halves_of_characters_do_not_end_a_build():
    odd = Picture(record("one", title="a\ud800b"), fetched("one"), "otter", 1)
    row = Row(
        path="members/a.png",
        sha256="a",
        phash="0",
        label="member",
        reason="",
        origin=Origin.of(odd),
    )
    manifest = Manifest((row,), {"size_px": 1}, 0, "1")
    (line,) = map(json.loads, manifest.write_json_lines().decode().splitlines())
    assert line["title"] == "a?b"
    manifest.write_parquet()


def test_origins_are_all_natural_pictures_each_once_by_keyword_and_rank():
    found = origins([*some_manifest().rows, *some_manifest().rows])
    assert [(origin.keyword, origin.rank) for origin in found] == [
        ("crab", 1),
        ("otter", 1),
        ("otter", 3),
    ]


@pytest.mark.parametrize("content", ["{", "[]\n", '{"schema_version": "1.0"}\n', "1\n"])
def test_a_file_that_is_no_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.jsonl"):
        read_manifest(tmp_path)


def test_a_later_version_is_refused_by_its_number(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"schema_version": 99}\n')
    with pytest.raises(InputError, match="version 99"):
        read_manifest(tmp_path)


def test_a_folder_without_one_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="holds no") as caught:
        read_manifest(tmp_path)
    assert "build-eval" in caught.value.hint
