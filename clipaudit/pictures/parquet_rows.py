"""Parquet files with the bytes of pictures → the pictures in them, and texts of their rows.

Hugging Face's layout: a column `image` that holds `bytes` and `path`; or a column of bytes. Rows
are gone through once and forwards, a row group at a time and of that a page at a time. A picture is
called by the number of its row and its name, as in `part.parquet#17/name.jpg`: the number alone
says where it is, and the name is what the row calls it.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from clipaudit.pictures.base import BadImage
from clipaudit.pictures.places import ArchivedPicture, ParquetCell, Place
from clipaudit.pictures.remote import local_path

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_ROW = re.compile(rb"\.parquet#(\d{1,12})(?:/([^/]*))?$", re.IGNORECASE)
_IMAGE_COLUMNS = (
    *("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp"),
    *("image_bytes", "img_bytes", "bytes"),
)
"""What a column of pictures is called, in small letters, the likeliest first."""

_MOST_GROUP_BYTES = 2 << 30
_MOST_NAME_BYTES = 64 << 20
_MOST_NAME_CHARS = 200
_NAMES_AT_ONCE = 1024
_BUFFER_BYTES = 1 << 20

_NO_BYTES = BadImage("missing", "the row has no bytes of a picture")
_HUGE_GROUP = BadImage(
    "too_large",
    f"its row group has more than {_MOST_GROUP_BYTES:,} bytes of pictures, the limit; write the "
    "file anew with smaller row groups",
)


class _Layout(NamedTuple):
    """What a Parquet file holds.

    Attributes:
        column: Path of the column with the bytes of pictures.
        name_column: Path of the column with their names; None where there is none.
        starts: Number of the first row of each row group, and at the end that of all rows.
        huge: Row groups that hold too much.
        texts: Paths of the columns that hold texts, by their names in small letters.
    """

    column: str
    name_column: str | None
    starts: tuple[int, ...]
    huge: frozenset[int]
    texts: dict[str, str]


def is_parquet(archive: bytes, start: bytes) -> bool:
    """Whether a file of that ending is a Parquet file with pictures.

    Args:
        archive: Its path.
        start: Its first bytes.

    Raises:
        BadImage: It is damaged, cut off or encrypted, or its column `image` holds something else.
    """
    if start.startswith(_ENCRYPTED_MAGIC):
        raise BadImage("unsupported", "it is encrypted; write it anew without a key first")
    return start.startswith(_MAGIC) and _layout_of(archive) is not None


def rows_in(archive: bytes) -> Iterator[ArchivedPicture]:
    """The pictures of a Parquet file, in the order of its rows.

    Raises:
        BadImage: `corrupt` or `empty`, after the pictures that come before that.
    """
    layout = _layout_of(archive)
    assert layout is not None
    if not layout.starts[-1]:
        raise BadImage("empty", "the file holds no rows")
    stamp = _stamp(archive)
    for row, name in enumerate(_names(archive, layout)):
        place = Place(archive, row, 0, stamp, ParquetCell(row, layout.column))
        group = bisect_right(layout.starts, row) - 1
        yield ArchivedPicture(
            _row_name(row, name), place, _HUGE_GROUP if group in layout.huge else None
        )


def row_place(path: bytes) -> Place | None:
    """Where the picture lies that a path such as `part.parquet#17/name.jpg` leads to.

    None where it leads to no row of such a file, or the row goes by another name.
    """
    if not (match := _ROW.search(path)):
        return None
    archive = path[: match.start(1) - 1]
    with suppress(BadImage):
        layout = _layout_of(archive) if os.path.isfile(local_path(archive)) else None  # noqa: PTH113
        row = int(match[1])
        if layout is None or row >= layout.starts[-1]:
            return None
        name = None
        if layout.name_column:
            name = _cell(archive, layout, layout.name_column, row)
        if os.fsencode(_row_name(row, name)) == path[len(archive) + 1 :]:
            return Place(archive, row, 0, _stamp(archive), ParquetCell(row, layout.column))
    return None


def row_bytes(place: Place, cell: ParquetCell) -> bytes:
    """The bytes of a picture.

    Raises:
        BadImage: `changed`, `corrupt`, `missing`, `too_large` or `out_of_memory`.
    """
    if _stamp(place.archive) != place.stamp:
        raise BadImage("changed", "the file was written to while it was read")
    layout = _layout_of(place.archive)
    if layout is None:
        raise BadImage("changed", "the file was written to while it was read")
    data = _cell(place.archive, layout, cell.column, cell.row)
    if not isinstance(data, bytes):
        raise _NO_BYTES
    return data


def row_text(place: Place, names: Sequence[str]) -> object:
    """What the first of some columns that has a value says in the row of a picture, or None.

    Args:
        place: Where the picture lies.
        names: Names of columns in small letters.
    """
    assert isinstance(place.inside, ParquetCell)
    with suppress(BadImage):
        layout = _layout_of(place.archive)
        for name in names if layout else ():
            assert layout is not None
            if column := layout.texts.get(name):
                value = _cell(place.archive, layout, column, place.inside.row)
                if value:
                    return value
    return None


def _row_name(row: int, name: object) -> str:
    """What a picture is called in its file: its row, and the last part of its name."""
    last = re.split(r"[/\\]", name)[-1] if isinstance(name, str) else ""
    last = last.replace("\0", "")[:_MOST_NAME_CHARS]
    return f"{row}/{last}" if last not in ("", ".", "..") else str(row)


def _names(archive: bytes, layout: _Layout) -> Iterator[object]:
    if layout.name_column is None:
        yield from (None for _ in range(layout.starts[-1]))
        return
    file = _open(archive)
    try:
        for batch in file.iter_batches(
            _NAMES_AT_ONCE, columns=[layout.name_column], use_threads=False
        ):
            yield from _values(batch, layout.name_column)
    except Exception as error:  # whatever pyarrow comes up with on a stranger's bytes
        raise _broken(error) from error


# --- a cell ---


class _Cursor:
    """Rows of one column of a file, forwards; a row that lies behind makes it start anew."""

    def __init__(self, archive: bytes, layout: _Layout, column: str) -> None:
        self._file = _open(archive)
        self._layout = layout
        self._column = column
        self._group = -1
        self._next = 0
        self._values: Iterator[object] = iter(())

    def at(self, row: int) -> object:
        """The value of a row."""
        group = bisect_right(self._layout.starts, row) - 1
        if group != self._group or row < self._next:
            self._group, self._next = group, self._layout.starts[group]
            self._values = self._in_group(group)
        while True:
            value = next(self._values)
            self._next += 1
            if self._next > row:
                return value

    def _in_group(self, group: int) -> Iterator[object]:
        for batch in self._file.iter_batches(
            1, row_groups=[group], columns=[self._column], use_threads=False
        ):
            yield from _values(batch, self._column)


class _Cursors(threading.local):
    """The cursor of each column that a thread reads; of one file at a time."""

    def __init__(self) -> None:
        self.key: tuple[bytes, tuple[int, int]] | None = None
        self.by_column: dict[str, _Cursor] = {}


_cursors = _Cursors()


def _cell(archive: bytes, layout: _Layout, column: str, row: int) -> object:
    """The value of one cell.

    Raises:
        BadImage: `corrupt`, `out_of_memory`, or `too_large` for a row group that is.
    """
    if column == layout.column and bisect_right(layout.starts, row) - 1 in layout.huge:
        raise _HUGE_GROUP
    key = (archive, _stamp(archive))
    if _cursors.key != key:
        _cursors.key, _cursors.by_column = key, {}
    try:
        if column not in _cursors.by_column:
            _cursors.by_column[column] = _Cursor(archive, layout, column)
        return _cursors.by_column[column].at(row)
    except Exception as error:
        _cursors.by_column.pop(column, None)
        raise _broken(error) from error


def _values(batch: pa.RecordBatch, column: str) -> Iterator[object]:
    """The values of a column or of a field in one."""
    import pyarrow.compute as pc

    values: Any = batch.column(0)
    for field in column.split(".")[1:] if batch.schema.names[0] != column else ():
        values = pc.struct_field(values, field)
    for value in values:
        yield value.as_py()


# --- the file ---


def _stamp(archive: bytes) -> tuple[int, int]:
    try:
        status = os.stat(local_path(archive))  # noqa: PTH116
    except OSError as error:
        raise BadImage("missing", "the file is gone") from error
    return status.st_size, status.st_mtime_ns


def _open(archive: bytes) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.OSFile(local_path(archive)), buffer_size=_BUFFER_BYTES, pre_buffer=False
    )


def _layout_of(archive: bytes) -> _Layout | None:
    """What a file holds; None where it holds no pictures."""
    return _read_layout(archive, _stamp(archive))


@lru_cache(maxsize=16)
def _read_layout(archive: bytes, stamp: tuple[int, int]) -> _Layout | None:
    import pyarrow as pa

    try:
        file = _open(archive)
        schema = file.schema_arrow
        metadata = file.metadata
        sizes: list[dict[str, int]] = []
        for group in range(metadata.num_row_groups):
            facts = metadata.row_group(group)
            columns = (facts.column(number) for number in range(facts.num_columns))
            sizes.append({c.path_in_schema: c.total_uncompressed_size for c in columns})
        n_rows = [metadata.row_group(group).num_rows for group in range(len(sizes))]
    except Exception as error:
        raise _broken(error) from error
    column, name_column = _image_column(schema)
    if column is None:
        return None
    if min(n_rows, default=0) < 0 or sum(n_rows) > stamp[0]:  # not even a byte for each picture
        raise BadImage("corrupt", "the file is damaged")
    huge = {group for group, size in enumerate(sizes) if size.get(column, 0) > _MOST_GROUP_BYTES}
    if name_column and any(size.get(name_column, 0) > _MOST_NAME_BYTES for size in sizes):
        name_column = None
    texts = {
        field.name.lower(): field.name
        for field in schema
        if _is_text(field.type)
        or (pa.types.is_list(field.type) and _is_text(field.type.value_type))
    }
    return _Layout(
        column, name_column, tuple(accumulate(n_rows, initial=0)), frozenset(huge), texts
    )


def _image_column(schema: pa.Schema) -> tuple[str | None, str | None]:
    """Paths of the column with pictures and of the one with their names.

    Raises:
        BadImage: A column is called as one with pictures is, and holds something else.
    """
    import pyarrow as pa

    names = {field.name.lower(): field for field in reversed(list(schema))}
    likely = [names[name] for name in _IMAGE_COLUMNS if name in names]
    for field in (*likely, *schema):
        if pa.types.is_struct(field.type) and "." not in field.name:
            inner = {part.name: part.type for part in field.type}
            if "bytes" in inner and _is_binary(inner["bytes"]):
                named = "path" in inner and _is_text(inner["path"])
                return f"{field.name}.bytes", f"{field.name}.path" if named else None
        elif field in likely and _is_binary(field.type):
            by_name = (
                names[name].name
                for name in ("path", "file_name", "filename", "__key__")
                if name in names and _is_text(names[name].type)
            )
            return field.name, next(by_name, None)
    if names.keys() & {"image", "img"}:
        kind = (names.get("image") or names["img"]).type
        raise BadImage(
            "unsupported",
            "its column of pictures holds no bytes, but "
            + ("addresses or paths" if _is_text(kind) else "values of another type"),
        )
    return None, None


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _broken(error: Exception) -> BadImage:
    if isinstance(error, BadImage):
        return error
    if isinstance(error, MemoryError) or "memory" in type(error).__name__.lower():
        return BadImage("out_of_memory", "a row group of the file does not fit into memory")
    if isinstance(error, FileNotFoundError):
        return BadImage("missing", "the file is gone")
    if "footer" in str(error).lower() or "magic bytes" in str(error).lower():
        return BadImage(
            "truncated",
            "the file is cut off, and what it holds is written at its end; fetch it anew",
        )
    return BadImage("corrupt", "the file is damaged")
