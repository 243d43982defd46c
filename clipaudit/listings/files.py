"""Paths → lists: Parquet, TSV and CSV files, each looked at once to see what it holds."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipaudit.errors import InputError
from clipaudit.listings.columns import COMPARABLE, Column, Columns, Role, assign, missing
from clipaudit.listings.delimited import (
    N_SAMPLED,
    ROW,
    START_BYTES,
    TextKind,
    count_rows,
    read_layout,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.listings.engine import Engine

ENDINGS = (".parquet", ".tsv", ".csv", ".tsv.gz", ".csv.gz")
"""What the files of a list end with; in a folder all others are passed over."""

_PLAIN = (".txt", ".txt.gz")
"""What a file may end with that holds an address a line; it has to be named itself."""

_GLOBS = "*?["
_PARQUET = "hive_partitioning = false, utf8_validation = 'replace'"

Kind = Literal["parquet"] | TextKind


@dataclass(frozen=True, slots=True)
class Table:
    """One file of a list.

    Attributes:
        path: As it was given or found.
        kind: How it is read; a packed file counts as what is in it.
        reader: The SQL that reads it, whose only parameter is `$file`; nothing in it comes from
            the file or the user.
        row: The SQL of a row's number, from 0, within that reader.
        names: Names of all its columns, numbers from 1 where the file has no header.
        columns: What its columns hold.
        n_rows: How many rows it has.
        faults: Sentences on rows that are damaged, and may be read wrongly.
    """

    path: Path
    kind: Kind
    reader: str
    row: str
    names: tuple[str, ...]
    columns: Columns
    n_rows: int
    faults: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path as the engine opens it."""
        return os.path.abspath(self.path)  # noqa: PTH100 - Path.resolve would follow links


def find_lists(paths: Iterable[Path]) -> list[Path]:
    """The files of lists, each once, in the order given; those of a folder by name.

    Raises:
        InputError: A path leads to nothing, to a folder without any, or to what is no such file.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for file in _in_folder(path) if path.is_dir() else [path]:
            _check(file)
            found.setdefault(os.path.realpath(file), file)
    if not found:
        raise InputError("no list is named", "Name a Parquet, TSV or CSV file, or a folder.")
    return list(found.values())


def open_tables(
    engine: Engine,
    paths: Iterable[Path],
    overrides: Mapping[Role, str],
    *,
    needs_text: bool = False,
) -> list[Table]:
    """The files of a list, looked at: what their columns hold, and how many rows they have.

    Args:
        engine: May read them.
        paths: From `find_lists`.
        overrides: Role → name of a column, where the user says it.
        needs_text: Whether captions and the like that cannot be read are an error; else a file
            goes without them.

    Raises:
        InputError: A file is broken or not what it ends with, a column that the user names is in
            none of them, or there is not one row.
    """
    tables: list[Table] = []
    absent = set(overrides)
    names: dict[str, None] = {}
    for path in paths:
        table = _open(engine, path, overrides, needs_text=needs_text)
        tables.append(table)
        absent &= missing(table.names, overrides)
        names |= dict.fromkeys(table.names)
    for role in sorted(absent):
        has_numbers = all(name.isdigit() for name in names)
        raise InputError(
            f"no column is called {overrides[role]!r}, which --columns says holds the {role}",
            "The file has no header: name a column by its number, from 1."
            if has_numbers
            else f"There are: {', '.join(names)}.",
        )
    if not any(table.n_rows for table in tables):
        raise InputError(f"{_several(tables)} no rows", "Fetch it anew, or name another file.")
    return tables


def _several(tables: Sequence[Table]) -> str:
    if len(tables) == 1:
        return f"{str(tables[0].path)!r} has"
    return f"{len(tables)} files, {str(tables[0].path)!r} the first, have"


# --- finding -------------------------------------------------------------------------------------


def _in_folder(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name)
            for name in sorted(names)
            if name.lower().endswith(ENDINGS) and not name.startswith(".")
        ]
    if not found:
        raise InputError(
            f"the folder {str(folder)!r} holds no file that ends in {', '.join(ENDINGS)}",
            "Name the folder that the files of the list are in.",
        )
    return found


def _check(file: Path) -> None:
    """Refuse what is not there, what is no plain file, and names that DuckDB cannot open."""
    name = str(file)
    if not file.exists():
        raise InputError(
            f"there is no file or folder {name!r}",
            "Fetch the list first: this command reads files on this machine, and asks no server.",
        )
    if not file.is_file():
        raise InputError(f"{name!r} is no plain file", "Name a Parquet, TSV or CSV file.")
    is_text = not any("\ud800" <= char <= "\udfff" for char in os.path.abspath(file))  # noqa: PTH100
    if not is_text or any(char in os.path.abspath(file) for char in _GLOBS):  # noqa: PTH100
        raise InputError(
            f"{name!r} cannot be opened under this name",
            f"Rename it: none of {' '.join(_GLOBS)} may be in it or its folders, nor bytes that "
            "are not UTF-8.",
        )


# --- looking -------------------------------------------------------------------------------------


def _open(engine: Engine, path: Path, overrides: Mapping[Role, str], *, needs_text: bool) -> Table:
    start = _start(path)
    if start.startswith(b"PAR1"):
        return _open_parquet(engine, path, overrides)
    name = path.name.lower()
    if name.endswith(".parquet"):
        raise InputError(
            f"{str(path)!r} is no Parquet file, whatever its name says",
            "Fetch it anew: it may be cut off, an error page, or a pointer of git-lfs.",
        )
    if not name.endswith((*ENDINGS, *_PLAIN)):
        endings = ", ".join((*ENDINGS[1:], *_PLAIN))
        raise InputError(
            f"{str(path)!r} is neither Parquet, nor does it end in {endings}",
            "Name it after what it holds: .txt for one address a line; unpack it first if it ends "
            "in .bz2, .zip or .zst.",
        )
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{str(path)!r} is no text, but a binary file",
            f"Name a list: {', '.join((*ENDINGS, *_PLAIN))}.",
        )
    return _open_text(engine, path, overrides, start, needs_text=needs_text)


def _start(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    is_packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if is_packed else path.open("rb") as file:
            return file.read(START_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot read {str(path)!r}: {reason}", "Look at its permissions, or fetch it anew."
        ) from error


def _open_parquet(engine: Engine, path: Path, overrides: Mapping[Role, str]) -> Table:
    plain = f"read_parquet($file, {_PARQUET})"
    described = engine.columns(path, plain)
    columns = [Column(name, quoted(name), kind) for name, kind in described]
    if any(column.name.lower() == "file_row_number" for column in columns):
        reader, row = plain, ROW
    else:
        reader = f"read_parquet($file, {_PARQUET}, file_row_number = true)"
        row = "file_row_number"
    samples = {
        column.name: _sample(engine, path, plain, column)
        for column in columns
        if column.name.lower() == "hash" and column.type == "VARCHAR"
    }
    (count,) = engine.row(path, f"SELECT count(*) FROM {plain}")  # noqa: S608 - fixed text
    found = assign(columns, samples, overrides)
    names = tuple(column.name for column in columns)
    return Table(path, "parquet", reader, row, names, found, int(count))


def _sample(engine: Engine, path: Path, reader: str, column: Column) -> list[str]:
    query = f"SELECT {column.sql} FROM {reader} LIMIT {N_SAMPLED}"  # noqa: S608 - quoted
    return [str(value) for (value,) in engine.all(path, query) if value is not None]


def _open_text(
    engine: Engine,
    path: Path,
    overrides: Mapping[Role, str],
    start: bytes,
    *,
    needs_text: bool,
) -> Table:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{str(path)!r} is UTF-16 text", "Save it as UTF-8.")
    kind = _text_kind(path)
    layout, rows = read_layout(path, kind, start, overrides)
    names = ["url"] if kind == "txt" else layout.names
    columns = [
        Column(name.strip() or str(number), f"c{number}", "VARCHAR")
        for number, name in enumerate(names, 1)
    ]
    samples = {
        column.name: [row[at] for row in rows if at < len(row)] for at, column in enumerate(columns)
    }
    found = assign(columns, samples, overrides)
    if layout.note is not None:
        found = replace(found, notes=(*found.notes, layout.note))
    table = Table(path, kind, layout.reader, "0", tuple(samples), found, 0)
    if layout.is_empty:
        return table
    try:
        counts = count_rows(engine, path, layout, [c.sql for c in found.by_role.values()])
    except InputError:
        if needs_text:
            raise
        searched = {role: column for role, column in found.by_role.items() if role in COMPARABLE}
        if len(searched) == len(found.by_role):
            raise
        note = "captions and keys are not shown: they are damaged, or not UTF-8"
        found = replace(found, by_role=searched, notes=(*found.notes, note), shared_key=None)
        counts = count_rows(engine, path, layout, [c.sql for c in searched.values()])
    found = replace(found, notes=(*found.notes, *counts.faults))
    return replace(table, row=ROW, columns=found, n_rows=counts.n_rows, faults=counts.faults)


def _text_kind(path: Path) -> TextKind:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".txt"):
        return "txt"
    return "tsv" if name.endswith(".tsv") else "csv"


def quoted(name: str) -> str:
    """A column's name as SQL takes it, whatever is in it.

    >>> quoted('a"; DROP TABLE b')
    '"a""; DROP TABLE b"'
    """
    return '"' + name.replace('"', '""') + '"'
