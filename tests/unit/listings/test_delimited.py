"""Text files of lists: what parts their columns, and rows that are damaged."""

import gzip
from typing import Any, cast

import pytest

from clipaudit.errors import InputError
from clipaudit.listings import sample
from clipaudit.listings.columns import Role
from clipaudit.listings.engine import Engine
from clipaudit.listings.files import open_tables
from clipaudit.listings.rows import all_rows

URLS = [f"http://a.example/{number}.jpg" for number in range(1, 6)]


def read(path, text, /, **overrides: Any):
    """The table, and its addresses and captions."""
    if isinstance(text, str):
        path.write_bytes(text.encode())
    with Engine([path]) as engine:
        (table,) = open_tables(engine, [path], cast("dict[Role, str]", overrides))
        return table, [(row["url"], row["text"]) for row in all_rows(engine, table)]


def written(delimiter, rows, end="\n"):
    return "".join(delimiter.join(row) + end for row in rows)


ROWS = [(URLS[0], "one"), (URLS[1], "two, three"), (URLS[2], "fo;ur|five")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [("url", "text"), ("Image Link", "Caption"), None])
@pytest.mark.parametrize(("delimiter", "name"), [(";", "semi"), ("\t", "tabs"), ("|", "bars")])
def test_a_csv_may_have_other_separators(tmp_path, delimiter, name, header, end):
    quoted = [(url, f'"{text}"') for url, text in ROWS]
    text = written(delimiter, [*([header] if header else []), *quoted], end)
    named = {"url": "Image Link", "text": "Caption"} if header and header[0] != "url" else {}
    table, found = read(tmp_path / "a.csv", text, **named)
    assert found == ROWS
    assert any(note.startswith(name) for note in table.columns.notes)
    assert table.faults == ()


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("line", ["sep=;", "SEP=;\r"])
def test_the_first_line_may_say_what_the_separator_is(tmp_path, start, line):
    text = f"{start}{line}\nurl;text\n{URLS[0]};a, b\n"
    table, found = read(tmp_path / "a.csv", text)
    assert (table.n_rows, found) == (1, [(URLS[0], "a, b")])


@pytest.mark.parametrize("text", ["url,text\n{};x,y\n", "{};x,y\n", "text,url\na;b,{}\n"])
def test_commas_come_first(tmp_path, text):
    address = "http://a.example/1;2.jpg"
    table, found = read(tmp_path / "a.csv", text.format(address))
    assert found[0][0].startswith("http://a.example/1;2.jpg")
    assert table.faults == ()


@pytest.mark.parametrize(
    ("name", "text", "n_bad", "first"),
    [
        ("a.csv", f"text,url\nx,{URLS[0]}\nx, y,{URLS[1]}\nx,{URLS[2]}\n", 1, 2),
        ("a.csv", f"url,text\n{URLS[0]},x,y,z\n{URLS[1]},x\n{URLS[2]},x,y\n", 2, 1),
        ("a.csv", f"url,text\n{URLS[0]},x,y\n{URLS[1]},x,y\n{URLS[2]},x,y\n", 3, 1),
        ("a.csv", f"url\n{URLS[0]}\nhttp://a.example/1,2.jpg\n", 1, 2),
        ("a.csv", f"{URLS[0]},x\n{URLS[1]},x\n{URLS[2]},x,y\n", 1, 3),
        ("a.csv", f"sep=;\nurl;text\n{URLS[0]};x\n{URLS[1]};x;y\n", 1, 2),
        ("a.tsv", f"url\ttext\n{URLS[0]}\tx\n{URLS[1]}\tx\ty\n", 1, 2),
        ("a.tsv", f"{URLS[0]}\tx\n{URLS[1]}\tx\n{URLS[2]}\tx\ty\n", 1, 3),
    ],
)
def test_rows_with_more_cells_than_the_header_are_counted_and_named(
    tmp_path, name, text, n_bad, first
):
    table, _ = read(tmp_path / name, text)
    (fault,) = table.faults
    assert fault.startswith(f"{n_bad} row")
    assert f"row {first})" in fault
    assert fault in table.columns.notes


@pytest.mark.parametrize(
    "text",
    [
        f"url,text,\n{URLS[0]},x,\n{URLS[1]},x,\n",
        f"url,text\n{URLS[0]},x,\n{URLS[1]},x,,\n",
        f"url,text,width\n{URLS[0]},x\n{URLS[1]}\n{URLS[2]},x,7\n",
        f'url,text\n{URLS[0]},"see\nhttp://b.example/\nand, well"\n{URLS[1]},"a\n\nb, c"\n',
    ],
)
def test_fewer_cells_empty_ones_and_captions_of_several_lines_are_no_fault(tmp_path, text):
    table, found = read(tmp_path / "a.csv", text)
    assert table.faults == ()
    assert found[0][0] == URLS[0]


@pytest.mark.parametrize(
    "text",
    [
        f'url,text\n{URLS[0]},"x\n{URLS[1]},y\n{URLS[2]},z\n',
        f'url,text\n{URLS[0]},"x\n{URLS[1]},y\n{URLS[2]},"z"\n{URLS[3]},z\n',
        f'text,url\n"x,{URLS[0]}\ny,{URLS[1]}\nz,{URLS[2]}\n',
        f'url;text\n{URLS[0]};"x\n{URLS[1]};y\n',
        f'sha256,text\n{"a" * 64},"x\n{"b" * 64},y\n',
    ],
)
def test_a_quote_that_is_not_closed_and_swallows_rows_is_told(tmp_path, text):
    table, _ = read(tmp_path / "a.csv", text)
    (fault,) = table.faults
    assert "a quote may be missing" in fault
    assert "row 1)" in fault


@pytest.mark.parametrize("n_rows", [5000, 90_000])
def test_a_quote_that_swallows_too_much_to_be_read_is_an_error(tmp_path, n_rows):
    path = tmp_path / "a.csv"
    rows = "".join(f"http://a.example/{number}.jpg,caption\n" for number in range(n_rows))
    path.write_text(f'url,text\n{URLS[0]},"x\n{rows}')
    with pytest.raises(InputError) as caught:
        read(path, None)
    assert "quote may be missing" in caught.value.hint


def test_damaged_columns_that_nobody_uses_do_not_hide_a_fault(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(f"url,other\n{URLS[0]},bad \xff\n{URLS[1]},x,y\n".encode("latin-1"))
    table, _ = read(path, None)
    assert "more than 2 cells" in table.faults[0]


def test_a_packed_file_is_laid_out_as_it_is(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"sep=|\nurl|text\n{URLS[0]}|a|b\n".encode()))
    table, found = read(path, None)
    assert found == [(URLS[0], "a")]
    assert "more than 2 cells" in table.faults[0]


def test_who_draws_from_a_damaged_list_is_warned(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text(f"url,text\n{URLS[0]},x\n{URLS[1]},x,y\n")
    assert len(list(sample([path], 9, 0))) == 2
    assert "a.csv: 1 row has more than 2 cells" in caplog.text
