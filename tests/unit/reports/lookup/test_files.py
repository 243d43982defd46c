"""A lookup as JSON, JSON lines, CSV, Parquet and a table; whatever names and rows hold."""

import base64
import csv
import io
import json
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from clipaudit.errors import UsageError
from clipaudit.reports.formats import dump, write
from clipaudit.reports.lookup.files import COLUMNS
from clipaudit.results.lookup import Answer, Host, ListFile, Lookup, Match, Run, Site

SCHEMA = json.loads(
    (Path(__file__).parents[4] / "docs/schemas/lookup-1.schema.json").read_text(encoding="utf-8")
)
EVIL = '=cmd()\x1b[2J[red]\n\u202e,"<script>'
EVIL_PATH = "a\udcff/=1.jpg"

BY_URL = Match("normalised_url", "list.parquet", 7, "k7", "http://a.example/7.jpg", EVIL)
BY_LOOK = Match("phash", "list.parquet", 8, None, None, None, 3)
FOUND = Lookup(
    run=Run("clipaudit lookup a", {"duckdb": "2.0"}, 6, "2026-01-01T00:00:00+00:00", 1.5),
    lists=(
        ListFile("list.parquet", "parquet", 10, {"url": "URL"}, ("column hash is not compared",)),
        ListFile("b.tsv", "tsv", 5, {"url": "1", "text": EVIL}),
    ),
    sites=(Site("a.example", 3, (Host("www.a.example", 3, EVIL),)),),
    notes=("A note.",),
    answers=(
        Answer("https://a.example/7.jpg", "url", "listed", None, None, None, None,
               ("url", "normalised_url"), {"normalised_url": 41}, (BY_URL,)),
        Answer(EVIL_PATH, "file", "listed", "truncated: cut off", "0" * 64, "1" * 32, "2" * 16,
               ("sha256", "phash"), {"phash": 1}, (BY_LOOK,)),
        Answer(EVIL, "file", "not_listed", None, "3" * 64, "4" * 32, "5" * 16, ("sha256",)),
        Answer("c.jpg", "file", "not_compared", None, "6" * 64, "7" * 32, "8" * 16),
        Answer("d.txt", "file", "skipped", f"not_an_image: {EVIL}"),
    ),
)  # fmt: skip
NOTHING = Lookup(FOUND.run, FOUND.lists, (), (), ())


def dumped(found, style):
    file = io.BytesIO()
    dump(found, style, file)
    return file.getvalue()


@pytest.mark.parametrize("found", [FOUND, NOTHING])
def test_json_is_as_its_schema_says(found):
    document = json.loads(dumped(found, "json"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert len(document["answers"]) == len(found)
    assert dumped(found, "json").isascii()


def test_json_has_everything_as_it_is():
    document = json.loads(dumped(FOUND, "json"))
    assert document["answers"][0]["matches"][0]["text"] == EVIL
    assert base64.b64decode(document["answers"][1]["asked_b64"]) == b"a\xff/=1.jpg"
    assert document["summary"] == {
        "n_asked": 5,
        "n_listed": 2,
        "n_not_listed": 1,
        "n_not_compared": 1,
        "n_skipped": 1,
        "n_by_way": {"url": 0, "normalised_url": 1, "sha256": 0, "phash": 1},
        "skip_reasons": {"not_an_image": 1},
        "n_lists": 2,
        "n_rows": 15,
    }


def test_every_line_of_json_lines_is_as_the_schema_says():
    lines = [json.loads(line) for line in dumped(FOUND, "jsonl").splitlines()]
    validator = jsonschema.Draft202012Validator(
        {**SCHEMA, "$ref": "#/$defs/line"} | {"required": []}
    )
    for line in lines:
        validator.validate(line)
    assert [line["record"] for line in lines] == ["run", *["answer"] * 5]


def test_csv_has_a_record_a_row_and_one_for_what_was_not_found():
    text = dumped(FOUND, "csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["status"] for row in rows] == [
        "listed", "listed", "not_listed", "not_compared", "skipped",
    ]  # fmt: skip
    assert (rows[0]["way"], rows[0]["n_matches"], rows[0]["row"]) == ("normalised_url", "41", "7")
    assert (rows[1]["bits"], rows[1]["asked"]) == ("3", r"a\xff/=1.jpg")
    assert base64.b64decode(rows[1]["asked_b64"]) == b"a\xff/=1.jpg"
    assert rows[2]["way"] == ""
    assert rows[0]["compared"] == "url normalised_url"


def test_no_cell_of_csv_is_a_formula_or_a_control_character():
    text = dumped(FOUND, "csv").decode()
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_parquet_is_typed_and_has_the_run(tmp_path):
    write(FOUND, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table["row"].to_pylist() == [7, 8, None, None, None]
    assert table["text"].to_pylist()[0] == EVIL
    head = json.loads(table.schema.metadata[b"clipaudit.lookup"])
    assert head["sites"][0]["n_rows"] == 3


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_a_file_holds_what_is_printed(tmp_path, ending):
    write(FOUND, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == dumped(FOUND, ending)


def test_an_ending_that_names_no_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match="names no format"):
        write(FOUND, tmp_path / "a.html")


def table(monkeypatch, found, width):
    monkeypatch.setenv("COLUMNS", str(width))
    return dumped(found, "table").decode()


def flat(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_table_says_what_is_listed_and_what_that_means(monkeypatch, width):
    text = table(monkeypatch, FOUND, width)
    assert all(len(line) <= width for line in text.splitlines())
    words = flat(text)
    assert "Listed (2)" in words
    if width > 60:  # else lines of several columns stand between
        assert "row 7" in words
        assert "3 of 64" in words
    assert "and 40 more rows" in words
    assert "It does not mean that the picture was downloaded" in words
    assert "Not listed proves nothing either" in words
    assert "nothing left this machine" in words


def test_the_table_shows_no_control_characters_and_no_markup(monkeypatch):
    text = table(monkeypatch, FOUND, 160)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text


def test_an_empty_lookup_is_a_table_too(monkeypatch):
    words = flat(table(monkeypatch, NOTHING, 100))
    assert "Pictures" not in words
    assert "list.parquet, 10 rows" in words
