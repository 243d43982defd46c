"""Captions from files that others wrote."""

from __future__ import annotations

import gzip
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipaudit.captions.choosing import open_captions
from clipaudit.captions.rows import ENDINGS, read_rows
from clipaudit.captions.tables import TableCaptions
from clipaudit.errors import InputError, UsageError
from clipaudit.evaluation_sets.collecting import Picture
from clipaudit.evaluation_sets.manifest import JSON_LINES, PARQUET, Manifest, Origin, Row
from tests.made.set_pictures import fetched, picture, record


@pytest.fixture
def folder(tmp_path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (pictures / name).write_bytes(b"picture")
    return pictures


def opened(file: Path, folder: Path) -> TableCaptions:
    source = open_captions(str(file), [folder])
    assert isinstance(source, TableCaptions)
    return source


def captions(file: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    """Caption of each picture that has one."""
    return ask(opened(file, folder), folder)


def ask(source, folder: Path) -> dict[str, tuple[str, ...]]:
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))]
    found = {name: source.captions_of(str(folder / name), b"") for name in names}
    return {name: texts for name, texts in found.items() if texts}


def notes(file: Path, folder: Path) -> list[str]:
    source = opened(file, folder)
    ask(source, folder)
    return [note.removeprefix(f"{file.name}: ") for note in source.facts.notes]


CAT_AND_DOG = {"a.jpg": ("a cat, grey",), "sub/c.jpg": ("zoë, a dog",)}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_file_is_read_in_any_encoding(folder, encoding, end):
    text = 'file_name,text\na.jpg,"a cat, grey"\nsub/c.jpg,"zoë, a dog"\n'
    file = folder / "metadata.csv"
    file.write_bytes(text.replace("\n", end).encode(encoding))
    assert captions(file, folder) == CAT_AND_DOG


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.tsv", 'path\tcaption\na.jpg\ta cat, grey\nsub/c.jpg\t"zoë, a dog"\n'),
        ("captions.csv", "filepath\ttitle\na.jpg\ta cat, grey\nsub/c.jpg\tzoë, a dog\n"),
        ("captions.csv", "image| number| comment\na.jpg|0|a cat, grey\nsub/c.jpg|0|zoë, a dog\n"),
        ("captions.csv", "sep=;\nTEXT;Filename\na cat, grey;a.jpg\nzoë, a dog;sub/c.jpg\n"),
        ("captions.txt", 'image,caption\na.jpg,"a cat, grey"\nsub/c.jpg,"zoë, a dog"\n'),
        ("captions.txt", "a.jpg#0\ta cat, grey\nsub/c.jpg#0\tzoë, a dog\n"),
        ("captions.tsv", "a.jpg\ta cat, grey\nsub/c.jpg\tzoë, a dog\n"),
        ("captions.csv", 'a.jpg,"a cat, grey"\nsub/c.jpg,"zoë, a dog"\n'),
        ("captions.csv", 'key,caption\na,"a cat, grey"\nc,"zoë, a dog"\n'),
        (
            "captions.csv",
            'URL,TEXT\nhttp://x.io/a.jpg?v=1,"a cat, grey"\nhttp://x.io/c.jpg,"zoë, a dog"\n',
        ),
        (
            "metadata.jsonl",
            (
                '{"file_name": "a.jpg", "text": "a cat, grey", "n": NaN}\n\n{"text": "zoë, a dog",'
                ' "file_name": "sub/c.jpg"}\n'
            ),
        ),
        (
            "metadata.json",
            (
                '[{"image": {"path": "a.jpg"}, "caption": "a cat, grey"},'
                ' {"path": "sub/c.jpg", "captions": ["zoë, a dog"]}]'
            ),
        ),
        ("captions.json", '{"a.jpg": "a cat, grey",\n"sub/c.jpg": {"caption": "zoë, a dog"}}'),
        (
            "captions_train.json",
            (
                '{"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "c.jpg"}],'
                ' "annotations": [{"image_id": 7, "caption": "a cat, grey"},'
                ' {"image_id": 8, "caption": "zoë, a dog"}, {"image_id": 9, "caption": "x"}]}'
            ),
        ),
    ],
)
def test_what_others_write_is_read(folder, name, text):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    assert captions(file, folder) == CAT_AND_DOG


def test_a_packed_file_is_read(folder):
    file = folder / "captions.tsv.gz"
    file.write_bytes(gzip.compress("path\ttext\na.jpg\ta cat\n".encode("utf-16")))
    assert captions(file, folder) == {"a.jpg": ("a cat",)}


def test_parquet_is_read_as_img2dataset_and_others_write_it(folder):
    file = folder.parent / "00000.parquet"
    keys = {"url": ["http://x.example/1.jpg"] * 2, "caption": ["a cat, grey", "zoë, a dog"]}
    pq.write_table(pa.table({**keys, "key": ["a", "c"], "image": [b"\xff", b"\xff"]}), file)
    assert captions(file, folder) == CAT_AND_DOG
    several = [["a cat", "a grey cat"], []]
    pq.write_table(pa.table({"file_name": ["a.jpg", "b.jpg"], "captions": several}), file)
    assert captions(file, folder) == {"a.jpg": ("a cat", "a grey cat")}


def test_rows_that_come_twice_add_a_caption_and_are_counted(folder):
    file = folder / "metadata.csv"
    file.write_text("file_name,text\na.jpg,one\n./a.jpg,two\na.jpg,one\nb.jpg,three\n")
    assert captions(file, folder) == {"a.jpg": ("one", "two"), "b.jpg": ("three",)}
    note = "2 rows besides the first of a picture: all its captions are used"
    assert note in notes(file, folder)


def test_what_is_missing_on_either_side_is_counted(folder):
    file = folder / "metadata.csv"
    file.write_text("file_name,text\na.jpg,a cat\nb.jpg,\n,no name\nx.jpg,gone\ny.jpg\n")
    assert sorted(notes(file, folder)) == [
        "1 row with too few cells",
        "1 row without a caption",
        "1 row without a picture",
        "1 row without a picture's name",
        "2 pictures without a row",
    ]


def test_paths_may_differ_in_case_separators_and_folder(folder):
    file = folder.parent / "elsewhere.csv"
    file.write_text("path,text\nD:\\Train\\A.JPG,cat\n/home/x/pictures/SUB/C.jpg,dog\n")
    assert captions(file, folder) == {"a.jpg": ("cat",), "sub/c.jpg": ("dog",)}
    assert "2 pictures matched although case, separators, folder or ending differ" in notes(
        file, folder
    )


def test_a_name_that_several_pictures_have_is_no_match(folder):
    (folder / "sub" / "a.jpg").write_bytes(b"another")
    file = folder.parent / "elsewhere.csv"
    file.write_text("path,text\na.jpg,cat\n")
    assert captions(file, folder) == {}
    assert "2 pictures without a caption: several rows or files fit" in notes(file, folder)


def test_rows_lead_to_no_file_but_the_pictures(folder):
    secret = folder.parent / "secret.jpg"
    secret.write_bytes(b"secret")
    file = folder / "metadata.csv"
    file.write_text(
        "file_name,text\n../secret.jpg,x\n/etc/passwd,y\n../pictures/a.jpg,=cmd|'x'!A1\n"
    )
    assert captions(file, folder) == {"a.jpg": ("=cmd|'x'!A1",)}


def test_damaged_rows_cost_no_others(folder):
    file = folder / "metadata.jsonl"
    lines = [
        '{"file_name": "a.jpg", "text": "a\\ud800"}',
        "{",
        "[1]",
        '{"a":' * 9000,
        "\0",
        "x" * 5_000_000,
    ]
    file.write_text("\n".join([*lines, '{"file_name": "b.jpg", "text": "b"}']))
    assert captions(file, folder) == {"a.jpg": ("a\ufffd",), "b.jpg": ("b",)}
    assert "4 rows that are no JSON object" in notes(file, folder)
    assert "1 row too long to be read" in notes(file, folder)


def test_a_quote_that_is_not_closed_costs_some_rows(folder):
    file = folder / "metadata.csv"
    file.write_text(
        "file_name,text\n"
        + "a.jpg,a cat\n" * 50
        + 'x.jpg,"no end\n'
        + "y.jpg,filler\n" * 20_000
        + "b.jpg,b\n"
    )
    assert captions(file, folder) == {"a.jpg": ("a cat",), "b.jpg": ("b",)}
    assert "1 row damaged: a quote may be missing" in notes(file, folder)


def test_fifty_megabytes_are_read_in_seconds(folder):
    file = folder / "metadata.csv"
    filler = "a caption of some length, " * 10
    with file.open("w") as out:
        out.write("file_name,text\n")
        out.writelines(f'{n:09}.jpg,"{filler}{n}"\n' for n in range(180_000))
        out.write("a.jpg,a cat\n")
    assert file.stat().st_size > 50_000_000
    started = time.process_time()
    assert captions(file, folder) == {"a.jpg": ("a cat",)}
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf \n", "is empty"),
        ("a.csv", bytes(range(256)) * 99, "is no text, but a binary file"),
        ("a.csv", b"a,b\n1,2\n", "does not say which of its columns holds what"),
        (
            "a.csv",
            b"file_name,label\na.jpg,3\n",
            "has no column with captions; it has file_name, label",
        ),
        (
            "a.csv",
            b"text,label\na,3\n",
            "has no column with the names of pictures; it has text, label",
        ),
        ("a.csv", b"file_name,text\n", "holds no captions"),
        ("a.jsonl", b'{"label": 3}\n', "has no column with captions; it has label"),
        ("a.jsonl", b"hello\n", "holds no captions"),
        ("a.json", b'[{"file_name": "a.jpg"', "is no JSON, or it is cut off"),
        ("a.parquet", b"PAR1 and no more", "cannot be read"),
        ("a.parquet", b"<html>", "is no caption file that is known"),
        ("a.xlsx", b"file_name,text\n", "is no caption file that is known"),
        ("a.csv.gz", b"not packed", "cannot read"),
        ("a.csv.gz", gzip.compress(b"file_name,text\na.jpg,x\n", mtime=0)[:-12], "cannot read"),
    ],
)
def test_what_is_no_caption_file_is_said_to_be_none(folder, name, data, message):
    file = folder / name
    file.write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        open_captions(str(file), [folder])
    assert raised.value.hint


START = st.sampled_from(
    [
        "file_name,text\n",
        "path\tcaption\n",
        "sep=;\n",
        "[",
        "{",
        '{"file_name": "a", "text": "b"}\n',
        "",
    ]
)
CELLS = st.sampled_from(
    ['"', ",", "\t", ";", "\n", "\r", "{", "}", "[", "]", ":", "a.jpg", "\0", "1e999"]
)


@given(
    st.sampled_from(ENDINGS), START, st.lists(CELLS | st.text(max_size=3)), st.binary(max_size=9)
)
@settings(max_examples=200)
def test_whatever_a_file_holds_it_is_read_or_refused(name, start, cells, tail):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"a{name}")
        file.write_bytes((start + "".join(cells)).encode("utf-8", "surrogatepass") + tail)
        with suppress(InputError):
            assert all(texts and all(texts) for texts in read_rows(file).captions.values())


def test_what_is_not_there_is_said_not_to_be(folder):
    with pytest.raises(InputError, match="there is no caption file"):
        open_captions(str(folder / "gone.csv"), [folder])
    with pytest.raises(InputError, match="is no plain file"):
        open_captions(str(folder), [folder])
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(InputError, match="is no plain file"):
        open_captions(str(folder / "pipe.csv"), [folder])
    with pytest.raises(UsageError, match="got 'sidecars'") as raised:
        open_captions("sidecars", [folder])
    assert "Did you mean sidecar?" in raised.value.hint


@pytest.mark.parametrize("name", [PARQUET, JSON_LINES])
def test_titles_in_a_manifest_of_ours_are_captions(folder, name):
    titled = Picture(record("otter", title="An otter, swimming"), fetched("otter"), "otter", 1)
    rows = tuple(
        Row(
            path=f"members/{number}.png",
            sha256="0" * 64,
            phash="0" * 16,
            label="potential-member",
            reason="old",
            origin=Origin.of(found),
        )
        for number, found in enumerate((titled, picture("seal")))
    )
    manifest = Manifest(rows, {"size_px": 32}, 0, "1.0")
    written = manifest.write_parquet() if name == PARQUET else manifest.write_json_lines()
    members = folder / "members"
    members.mkdir()
    (folder / name).write_bytes(written)
    for place in (folder, members):
        source = open_captions("auto", [place])
        assert source is not None
        assert source.facts.source == name
        assert source.captions_of(str(members / "0.png"), b"") == ("An otter, swimming",)
        assert source.captions_of(str(members / "1.png"), b"") == ()
