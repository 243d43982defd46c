"""Text files of lists: what parts their columns, how DuckDB reads them, and rows that are damaged.

A CSV file has commas, or what its first line says (`sep=;`), or what makes a header or columns of
it. Damaged rows are counted and named: they cannot be read as they were meant.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from clipaudit.errors import InputError
from clipaudit.listings.columns import is_header
from clipaudit.listings.urls import is_web
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from clipaudit.listings.columns import Role
    from clipaudit.listings.engine import Engine

TextKind = Literal["tsv", "csv", "txt"]

N_SAMPLED = 20
START_BYTES = 1 << 18
ROW = "row_number() OVER () - 1"
"""The SQL of a row's number, from 0, within a reader that has none of its own."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may stand between the cells of a CSV file, the likeliest first; and its name."""

_SEP_LINE = re.compile(r"sep=([,;|\t]|\\t)", re.IGNORECASE)
"""What some programs write, and read, as the first line of a CSV file."""

_NOT_IN_TEXT = "\x01"  # no address holds it


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        kind: CSV may quote line ends; in TSV, as these lists are published, a quote is a quote.
        delimiter: What stands between two cells.
        names: Those of the header, or empty texts; as many as most rows have cells.
        n_named: How many cells a row may have.
        n_head: How many rows stand before the first of the list.
        reader: The SQL that reads it; it has one column more than there are names.
        is_empty: Whether there is no row at all.
        note: A sentence where it is not laid out as its name says.
    """

    kind: TextKind
    delimiter: str
    names: tuple[str, ...]
    n_named: int
    n_head: int
    reader: str
    is_empty: bool
    note: str | None

    def holds_rows(self, column: str) -> str:
        """The SQL of whether a cell holds what looks like whole rows, after a line end."""
        part = re.escape(self.delimiter)
        known = "https?://|[0-9a-fA-F]{32}"
        behind, before = f'{part}"?({known})', f'"?({known})[^\\s{part}]*{part}\\S'
        pattern = f"\\n([^\\n]*{behind}|{before})"
        return f"contains({column}, chr(10)) AND regexp_matches({column}, '{pattern}')"


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows there are.

    Attributes:
        n_rows: All of them.
        faults: Sentences on those that are damaged.
    """

    n_rows: int
    faults: tuple[str, ...]


def read_layout(
    path: Path, kind: TextKind, start: bytes, overrides: Mapping[Role, str]
) -> tuple[Layout, list[list[str]]]:
    """How a text file is laid out, and the cells of its first rows below the header.

    Args:
        path: For messages, and how it is packed.
        kind: By its name.
        start: The first bytes of it.
        overrides: Role → name of a column, where the user says it.

    Raises:
        InputError: It is no text of that kind.
    """
    lines = _first_lines(path, start)
    delimiter, has_line_of_its_own = _delimiter(lines, kind, overrides)
    rows = _rows(path, lines[has_line_of_its_own:], kind, delimiter)
    has_header = kind != "txt" and bool(rows) and is_header(rows[0], overrides)
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 1  # a caption may hold tabs
    names = [*rows[0], *[""] * width][:width] if has_header else [""] * width
    layout = Layout(
        kind=kind,
        delimiter=delimiter,
        names=tuple(names),
        n_named=min(len(rows[0]), width) if has_header else width,
        n_head=has_header + has_line_of_its_own,
        reader=_reader(
            path, kind, delimiter, width, has_header=has_header, n_skipped=has_line_of_its_own
        ),
        is_empty=not rows,
        note=f"{_DELIMITERS[delimiter]} part its columns"
        if kind == "csv" and delimiter != ","
        else None,
    )
    return layout, rows[has_header:]


def count_rows(engine: Engine, path: Path, layout: Layout, used: Sequence[str]) -> RowCounts:
    """How many rows there are; reads all that is used later, so that broken text shows now.

    Args:
        engine: May read the file.
        path: The file.
        layout: How it is laid out.
        used: The SQL of the columns that are used.

    Raises:
        InputError: A column that is used is damaged, or the file is.
    """
    every = [f"c{number}" for number in range(1, len(layout.names) + 2)]
    counts = ["count(*)", *(f"count({column})" for column in used)]
    has_more = " OR ".join(f"{column} IS NOT NULL" for column in every[layout.n_named :])
    checked: dict[TextKind, list[Sequence[str]]] = {
        "csv": [every[:-1], used],
        "tsv": [()],
        "txt": [],
    }
    for columns in checked[layout.kind]:
        holds_rows = " OR ".join(map(layout.holds_rows, columns)) or "false"
        faulty = [f"count(*) FILTER ({condition})" for condition in (has_more, holds_rows)]
        query = f"SELECT {', '.join([*faulty, *counts])} FROM {layout.reader}"  # noqa: S608
        try:
            (n_more, n_holding, n_rows, *_) = engine.row(path, query)
        except InputError:  # columns that nobody uses may be damaged
            continue
        found = ((n_more, has_more), (n_holding, holds_rows))
        return RowCounts(int(n_rows), tuple(_faults(engine, path, layout, found)))
    (n_rows, *_) = engine.row(path, f"SELECT {', '.join(counts)} FROM {layout.reader}")  # noqa: S608
    return RowCounts(int(n_rows), ())


def _faults(
    engine: Engine, path: Path, layout: Layout, found: Iterable[tuple[int, str]]
) -> Iterator[str]:
    wide = f"more than {count(layout.n_named, 'cell')}"
    meanings = (
        f"{wide}, and may be read in the wrong columns: put cells with a separator in quotes",
        "what looks like whole rows within a cell, which are not seen: a quote may be missing",
    )
    for (n_rows, condition), meaning in zip(found, meanings, strict=True):
        if n_rows:
            query = f"""
                SELECT min("row") FROM (
                    SELECT {ROW} AS "row", {condition} AS is_faulty FROM {layout.reader}
                ) WHERE is_faulty
            """  # noqa: S608 - fixed text
            (first,) = engine.row(path, query)
            has, which = ("has", "it is") if n_rows == 1 else ("have", "the first is")
            yield f"{count(n_rows, 'row')} {has} {meaning} ({which} row {first + 1:,})"


# --- laying out ----------------------------------------------------------------------------------


def _first_lines(path: Path, start: bytes) -> list[str]:
    """The first lines; the last one of `start` may be cut off, and is left out."""
    lines = start.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split("\n")
    if len(start) == START_BYTES and len(lines) == 1:
        raise InputError(
            f"the first line of {str(path)!r} has no end", "Name a file with a row a line."
        )
    return lines[:-1] if len(start) == START_BYTES else lines


def _delimiter(
    lines: Sequence[str], kind: TextKind, overrides: Mapping[Role, str]
) -> tuple[str, bool]:
    """What stands between two cells, and whether the first line says so, and nothing else."""
    if kind != "csv":
        return ("\t" if kind == "tsv" else _NOT_IN_TEXT), False
    said = _SEP_LINE.fullmatch(lines[0].rstrip("\r"))
    if said is not None:
        return said[1].replace("\\t", "\t"), True
    starts = {delimiter: _first_rows(lines, delimiter) for delimiter in _DELIMITERS}
    for delimiter, rows in starts.items():
        if rows and len(rows[0]) > 1 and is_header(rows[0], overrides):
            return delimiter, False
    for delimiter, rows in starts.items():
        widths = set(map(len, rows))
        if len(widths) == 1 and widths != {1} and any(map(_are_addresses, zip(*rows, strict=True))):
            return delimiter, False
    return ",", False


def _are_addresses(cells: Sequence[str]) -> bool:
    """Whether a column holds addresses, below what may be its name."""
    return all(map(is_web, cells[1:] or cells))


def _first_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The cells of the first rows, as far as they can be read."""
    rows = []
    with suppress(csv.Error):
        for row in filter(None, csv.reader(lines, delimiter=delimiter)):
            rows.append(row)
            if len(rows) > N_SAMPLED:
                break
    return rows


def _rows(path: Path, lines: Sequence[str], kind: TextKind, delimiter: str) -> list[list[str]]:
    if kind != "csv":
        filled = (line.rstrip("\r") for line in lines if line.strip())
        return [[*map(unquoted, line.split(delimiter))] for line in islice(filled, N_SAMPLED + 1)]
    try:
        rows = csv.reader(lines, delimiter=delimiter)
        return list(islice(filter(None, rows), N_SAMPLED + 1))
    except csv.Error as error:
        raise InputError(
            f"{str(path)!r} is no CSV: {error}",
            "Save it anew, with quotes around cells; a quote may be missing.",
        ) from error


def _reader(
    path: Path, kind: TextKind, delimiter: str, width: int, *, has_header: bool, n_skipped: int
) -> str:
    n_columns = width if kind == "txt" else width + 1  # the last is for what is too much
    settings = {
        "delim": f"'{delimiter}'",
        "quote": "'\"'" if kind == "csv" else "''",
        "escape": "'\"'" if kind == "csv" else "''",
        "parallel": "false" if kind == "csv" else "true",
        "header": "true" if has_header else "false",
        "skip": str(n_skipped),
        "compression": "'gzip'" if path.name.lower().endswith(".gz") else "'none'",
        "columns": "{" + ", ".join(f"'c{n}': 'VARCHAR'" for n in range(1, n_columns + 1)) + "}",
        "auto_detect": "false",
        "strict_mode": "false",
        "null_padding": "true",
    }
    return f"read_csv($file, {', '.join(f'{name} = {value}' for name, value in settings.items())})"


def unquoted(cell: str) -> str:
    """A cell of a TSV file without the quotes that some writers put around all of them.

    >>> unquoted('"an ""odd"" otter"'), unquoted('"An otter" it says')
    ('an "odd" otter', '"An otter" it says')
    """
    is_quoted = len(cell) > 1 and cell.startswith('"') and cell.endswith('"')
    return cell[1:-1].replace('""', '"') if is_quoted else cell
