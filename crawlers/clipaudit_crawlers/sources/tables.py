"""Lists in files, row by row: text, CSV, TSV and Parquet; whatever their size, little memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from clipaudit.errors import SourceError
from clipaudit_crawlers.licenses import http_url
from clipaudit_crawlers.sources.local import reason

Row = dict[str, object]

ENDINGS = (".txt", ".csv", ".tsv", ".parquet")

_LONGEST_LINE = 1 << 16
"""More characters in a line are read as several lines: no memory is lost to a file without any."""

_ROWS_AT_ONCE = 4096


class Table(Protocol):
    """A list in a file that was looked at, but not read yet.

    Attributes:
        unit: What a place in the file is counted in: `line` or `row`.
    """

    unit: ClassVar[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, as they are written in the file."""
        ...

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
        """The place of each row, from 1, and what it holds in the given columns; lazy.

        Raises:
            SourceError: The file is broken, or gone.
        """
        ...


def open_table(path: Path) -> Table:
    """A list, by the ending of its file; its first bytes are read, to see its columns.

    Raises:
        SourceError: The file cannot be read, is empty, or is not what its ending says.
    """
    ending = path.suffix.lower()
    if not path.is_file():
        raise SourceError(f"{str(path)!r} is no file", "Name a file; a folder is folder:PATH.")
    if ending not in ENDINGS:
        raise SourceError(
            f"{path.name!r} does not end like a list: {', '.join(ENDINGS)}",
            "Name it after what it holds: .txt for one address a line; unpack it first if packed.",
        )
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_LINE)
    except OSError as error:
        raise SourceError(
            f"{str(path)!r} cannot be read: {reason(error)}", "Look at its permissions."
        ) from error
    if not start.strip():
        raise SourceError(f"{str(path)!r} is empty", "Name a list that holds addresses.")
    if ending == ".parquet":
        return _Parquet.open(path)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{str(path)!r} is UTF-16 text", "Save it as UTF-8.")
    if b"\0" in start:
        raise SourceError(
            f"{str(path)!r} is no text, but a binary file", f"Name a list: {', '.join(ENDINGS)}."
        )
    return _Lines(path) if ending == ".txt" else _Separated.open(path, ending)


@dataclass(frozen=True, slots=True)
class _Lines:
    """One address a line; empty lines, and those that begin with #, are no rows."""

    unit: ClassVar[str] = "line"
    path: Path

    @property
    def columns(self) -> tuple[str, ...]:
        return ("url",)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
        for number, line in enumerate(_text(self.path), 1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield number, {"url": text}


@dataclass(frozen=True, slots=True)
class _Separated:
    """CSV, or TSV, whose cells hold no quotes that mean anything: captions may begin with one."""

    unit: ClassVar[str] = "line"
    path: Path
    is_tsv: bool
    columns: tuple[str, ...]
    has_header: bool

    @classmethod
    def open(cls, path: Path, ending: str) -> _Separated:
        is_tsv = ending == ".tsv"
        _, first = next(_cells(path, is_tsv=is_tsv), (0, []))
        addresses = [bool(http_url(cell)) for cell in first]
        if not any(addresses):
            return cls(path, is_tsv, tuple(name.strip() for name in first), has_header=True)
        # As CC12M and CC3M are published: no header, an address and a caption.
        rest = "caption" if len(first) == 2 else "column {}"
        columns = [rest.format(number) for number in range(1, len(first) + 1)]
        columns[addresses.index(True)] = "url"
        return cls(path, is_tsv, tuple(columns), has_header=False)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
        places = [(name, self.columns.index(name)) for name in columns]
        lines = _cells(self.path, is_tsv=self.is_tsv)
        if self.has_header:
            next(lines, None)
        for number, cells in lines:
            yield number, {name: cells[at] for name, at in places if at < len(cells)}


@dataclass(frozen=True, slots=True)
class _Parquet:
    unit: ClassVar[str] = "row"
    path: Path
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> _Parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
        except (OSError, pa.ArrowException, MemoryError) as error:
            raise _broken(path, error) from error
        return cls(path, tuple(schema.names))

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
        number = 0
        for batch in self._batches(columns):
            for values in zip(*batch, strict=True):
                number += 1
                yield number, dict(zip(columns, values, strict=True))

    def _batches(self, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # With a buffer, a row group comes in pieces and not at once.
            with pq.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
                for batch in file.iter_batches(
                    _ROWS_AT_ONCE, columns=list(columns), use_threads=False
                ):
                    yield [batch.column(name).to_pylist() for name in columns]
        except (OSError, pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
            raise _broken(self.path, error) from error


def _broken(path: Path, error: Exception) -> SourceError:
    first_line = str(error).partition("\n")[0]
    return SourceError(
        f"{str(path)!r} cannot be read as Parquet: {first_line or type(error).__name__}",
        "Fetch it anew: it is damaged, cut off, or another kind of file.",
    )


def _text(path: Path) -> Iterator[str]:
    """The lines of a file; what is not UTF-8 shows as �, which no address holds."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line
    except OSError as error:
        raise SourceError(
            f"{str(path)!r} cannot be read: {reason(error)}", "Look whether it is still there."
        ) from error


def _cells(path: Path, *, is_tsv: bool) -> Iterator[tuple[int, list[str]]]:
    """The last line and the cells of each row that is not empty."""
    if is_tsv:
        for number, line in enumerate(_text(path), 1):
            if line.strip():
                yield number, [_bare(cell) for cell in line.rstrip("\r\n").split("\t")]
        return
    reader = csv.reader(_text(path), strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise SourceError(
            f"{str(path)!r} is broken at line {reader.line_num}: {error}",
            'A cell with quotes is written "so ""to say""", and each quote is closed.',
        ) from error


def _bare(cell: str) -> str:
    is_quoted = len(cell) > 1 and cell.startswith('"') and cell.endswith('"')
    return cell[1:-1].replace('""', '"') if is_quoted else cell
