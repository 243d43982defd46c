"""Caption files → rows: CSV, TSV, JSON lines, JSON and Parquet, however they are written.

A row that cannot be read is counted, and the others are used. Nothing that a row names is opened.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from clipaudit.captions.cleaning import ENCODING_NAMES, clean_all, encoding_of, load_leniently
from clipaudit.errors import InputError
from clipaudit.listings.columns import FILE_NAMES, names_of
from clipaudit.listings.delimited import START_BYTES, read_layout, unquoted
from clipaudit.listings.urls import is_web, path_of
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipaudit.captions.cleaning import Encoding
    from clipaudit.listings.delimited import TextKind

ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
"""What a caption file may end with; the text ones also with `.gz` behind it."""

MOST_ROWS = 2_000_000
_MOST_CHARS = 1 << 30
_MOST_LINE_CHARS = 1 << 22
_MOST_JSON_BYTES = 1 << 29
_CHUNK_BYTES = 1 << 20

CAPTION_COLUMNS = (*names_of("text"), "captions", "sentences", "sentence", "prompt", "comment")
"""What columns with captions are called, in small letters; the first that is there counts."""

ADDRESS_COLUMNS = names_of("url")

_KEYS = (*names_of("key"), *names_of("url"))
"""What may stand for the path of a picture: the name of its file without the ending, which
img2dataset calls `key`; or an address that ends in that name."""

_PICTURE = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|avif|heic|jp2)(#\d+)?$", re.IGNORECASE)
_NUMBERED = re.compile(r"#\d+$")
"""What Flickr8k's list of captions has behind a file's name: the number of the caption."""


@dataclass(slots=True)
class CaptionRows:
    """What a caption file holds.

    Attributes:
        columns: What the column is called that is read, in small letters.
        captions: Name of a picture as its rows write it → its captions.
        n_rows: How many rows were read.
        n_repeated: How many rows name a picture that had a row before.
        faults: What was wrong with rows → how many.
        encoding: Encoding of the text.
    """

    columns: tuple[str, ...] = CAPTION_COLUMNS
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    n_rows: int = 0
    n_repeated: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    encoding: Encoding = "utf-8"

    def add(self, name: str, value: object) -> None:
        """Take up a row; without a name or a caption it says nothing of a picture."""
        self.n_rows += 1
        name = name.strip()
        if "#" in name:
            name = _NUMBERED.sub("", name)
        if "//" in name and is_web(name):
            name = unquote((path_of(name) or "").rpartition("/")[2])
        texts = clean_all(value)
        if not name or "\0" in name:
            self.faults["without a picture's name"] += 1
        elif not texts:
            self.faults["without a caption"] += 1
        else:
            before = self.captions.get(name, ())
            self.n_repeated += name in self.captions
            self.captions[name] = tuple(dict.fromkeys((*before, *texts)))

    def notes(self) -> list[str]:
        """Sentences on what was wrong."""
        found = [f"{count(n, 'row')} {fault}" for fault, n in sorted(self.faults.items())]
        if self.n_repeated:
            found.append(
                f"{count(self.n_repeated, 'row')} besides the first of a picture: all its captions "
                "are used"
            )
        if self.encoding in ENCODING_NAMES:
            found.append(f"read as {ENCODING_NAMES[self.encoding]}")
        return found


def read_rows(path: Path, columns: tuple[str, ...] = CAPTION_COLUMNS) -> CaptionRows:
    """The rows of a caption file.

    Args:
        path: The file.
        columns: What the column may be called that is read beside the name of the picture.

    Raises:
        InputError: It is missing, no plain file, of another kind, damaged as a whole or too large,
            or has no column with captions or none with names of pictures.
    """
    _require_file(path)
    try:
        with _opened(path) as file:
            start = file.read(START_BYTES)
        rows = CaptionRows(columns)
        if start.startswith(b"PAR1"):
            _read_parquet(path, rows)
        else:
            _read_text(path, start, rows)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot read {str(path)!r}: {reason}", "Look at its permissions, or fetch it anew."
        ) from error
    if not rows.captions:
        raise InputError(
            f"{str(path)!r} holds no captions",
            "A row must have the name of a picture's file and its caption, as in: file_name,text",
        )
    return rows


def _require_file(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"there is no caption file {str(path)!r}",
            "Name a CSV, TSV, JSON lines or Parquet file, or one of auto, none, sidecar, embedded, "
            "names and folder-names.",
        )
    if not path.is_file():
        raise InputError(
            f"{str(path)!r} is no plain file",
            "Name the caption file itself; for texts beside each picture say sidecar."
            if path.is_dir()
            else "Name a CSV, TSV, JSON lines or Parquet file.",
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    is_packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if is_packed else path.open("rb") as file:
        yield cast("BinaryIO", file)


# --- text ----------------------------------------------------------------------------------------


def _read_text(path: Path, start: bytes, rows: CaptionRows) -> None:
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(ENDINGS) or name.endswith(".parquet"):
        raise InputError(
            f"{str(path)!r} is no caption file that is known",
            f"Name a file that ends in {', '.join(ENDINGS)}, after what it holds.",
        )
    encoding = encoding_of(start, is_whole=len(start) < START_BYTES)
    if encoding is None:
        raise InputError(
            f"{str(path)!r} is no text, but a binary file",
            "Name a CSV, TSV, JSON lines or Parquet file.",
        )
    if encoding == "utf-8" and not _is_utf8(path):
        encoding = "cp1252"
    rows.encoding = encoding
    first = start.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if not first:
        raise InputError(f"{str(path)!r} is empty", "Name another file, or fetch it anew.")
    if name.endswith((".json", ".jsonl", ".ndjson")):
        if first.startswith("[") or (name.endswith(".json") and not _is_json_lines(first)):
            _read_json(path, rows)
        else:
            _read_json_lines(path, rows)
    else:
        _read_delimited(path, _kind(name, first), start, rows)


def _kind(name: str, first: str) -> TextKind:
    is_tsv = name.endswith(".tsv") or (name.endswith(".txt") and "\t" in first.partition("\n")[0])
    return "tsv" if is_tsv else "csv"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _opened(path) as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _lines(path: Path, rows: CaptionRows) -> Iterator[str]:
    """Lines with their ends; what is too long for one is counted, and passed over."""
    n_chars = 0
    with _opened(path) as file:
        text = io.TextIOWrapper(file, rows.encoding, errors="replace", newline="\n")
        while line := text.readline(_MOST_LINE_CHARS):
            n_chars += len(line)
            if n_chars > _MOST_CHARS:
                raise _too_large(path, "more than a thousand million characters")
            if len(line) == _MOST_LINE_CHARS and not line.endswith("\n"):
                rows.faults["too long to be read"] += 1
                while (more := text.readline(_MOST_LINE_CHARS)) and not more.endswith("\n"):
                    n_chars += len(more)
                    if n_chars > _MOST_CHARS:
                        raise _too_large(path, "more than a thousand million characters")
                continue
            yield line


def _too_large(path: Path, what: str) -> InputError:
    return InputError(
        f"{str(path)!r} has {what}",
        "Write the rows of the pictures that you score to a file of their own; for a published "
        "list pass --captions lookup:LIST.",
    )


def _require_few(path: Path, rows: CaptionRows) -> None:
    if rows.n_rows > MOST_ROWS:
        raise _too_large(path, f"more than {MOST_ROWS:,} rows")


def _read_delimited(path: Path, kind: TextKind, start: bytes, rows: CaptionRows) -> None:
    text = start.decode(rows.encoding, "replace").lstrip("\ufeff")
    head = text.encode("utf-8", "replace")[:START_BYTES]
    layout, first_rows = read_layout(path, kind, head, {})
    names = [name.strip().lower() for name in layout.names]
    if any(names):
        place, column = _columns(path, rows, names, layout.names)
    else:
        place, column = _columns_by_look(path, first_rows)
    cells = _cells(path, kind, layout.delimiter, rows)
    for row in islice(cells, layout.n_head, None):
        if len(row) <= max(place, column):
            rows.faults["with too few cells"] += 1
        else:
            rows.add(row[place], row[column])
            _require_few(path, rows)


def _cells(path: Path, kind: TextKind, delimiter: str, rows: CaptionRows) -> Iterator[list[str]]:
    """The cells of every row that is not empty."""
    if kind != "csv":
        for line in _lines(path, rows):
            if line.strip():
                yield [*map(unquoted, line.rstrip("\r\n").split(delimiter))]
        return
    reader = csv.reader(_lines(path, rows), delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a cell that never ends: a quote is missing
            rows.faults["damaged: a quote may be missing"] += 1
        else:
            if row:
                yield row


def _columns(
    path: Path, rows: CaptionRows, names: Sequence[str], written: Sequence[str]
) -> tuple[int, int]:
    """The columns with the picture's name and with the caption."""
    column = next((names.index(name) for name in rows.columns if name in names), None)
    place = next((names.index(name) for name in (*FILE_NAMES, *_KEYS) if name in names), None)
    if column is None or place is None:
        wanted = "captions" if column is None else "the names of pictures"
        known = rows.columns[:4] if column is None else (*FILE_NAMES[:4], "key")
        there = shown(", ".join(filter(None, written))[:300])
        raise InputError(
            f"{str(path)!r} has no column with {wanted}; it has {there}",
            f"Call it {', '.join(known[:-1])} or {known[-1]}.",
        )
    return place, column


def _columns_by_look(path: Path, rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """The same in a file without a header: a name of a picture, and another column."""
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    wide = [row for row in rows if len(row) >= width]
    for place in range(width):
        if all(_PICTURE.search(row[place].strip()) for row in wide) and width > 1:
            return place, 0 if place else 1
    raise InputError(
        f"{str(path)!r} does not say which of its columns holds what",
        "Begin it with a line like file_name,text.",
    )


# --- JSON ----------------------------------------------------------------------------------------


def _is_json_lines(first: str) -> bool:
    """Whether a JSON text has an object in its first line, and another one behind it."""
    line, _, rest = first.partition("\n")
    return isinstance(load_leniently(line), dict) and rest.lstrip().startswith("{")


def _read_json_lines(path: Path, rows: CaptionRows) -> None:
    names: dict[str, None] = {}
    for line in _lines(path, rows):
        if not line.strip():
            continue
        record = load_leniently(line)
        if isinstance(record, dict):
            _add_record(record, rows)
            if len(names) < 100:
                names |= dict.fromkeys(record)
        else:
            rows.faults["that are no JSON object"] += 1
        _require_few(path, rows)
    if not rows.captions and names:
        _columns(path, rows, [name.strip().lower() for name in names], [*names])


def _add_record(record: Mapping[str, Any], rows: CaptionRows) -> None:
    cells = {name.strip().lower(): value for name, value in record.items()}
    places = (_name_in(cells.get(name)) for name in (*FILE_NAMES, *_KEYS))
    texts = (cells[name] for name in rows.columns if cells.get(name))
    rows.add(next(filter(None, places), ""), next(texts, None))


def _name_in(value: object) -> str:
    """The name of a picture in a cell; Hugging Face's have a path beside the bytes."""
    if isinstance(value, dict):
        value = value.get("path")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _read_json(path: Path, rows: CaptionRows) -> None:
    """One JSON text: a list of rows, names with their captions, or COCO's captions."""
    with _opened(path) as file:
        data = file.read(_MOST_JSON_BYTES + 1)
    if len(data) > _MOST_JSON_BYTES:
        raise _too_large(path, f"more than {_MOST_JSON_BYTES >> 20} MiB")
    plain = load_leniently(data.decode(rows.encoding, "replace").lstrip("\ufeff"))
    del data
    if isinstance(plain, dict) and isinstance(plain.get("annotations"), list):
        plain = _coco_records(plain)
    if isinstance(plain, dict):
        for name, value in plain.items():
            if isinstance(value, dict):
                _add_record({**value, "file_name": name}, rows)
            else:
                rows.add(name, value)
    elif isinstance(plain, list):
        for record in plain:
            if isinstance(record, dict):
                _add_record(record, rows)
            else:
                rows.faults["that are no JSON object"] += 1
    else:
        raise InputError(
            f"{str(path)!r} is no JSON, or it is cut off", "Fetch it anew, or name another file."
        )
    _require_few(path, rows)


def _coco_records(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The captions of COCO's annotations, each with the name of its picture."""
    images = plain.get("images")
    images = images if isinstance(images, list) else []
    names = {str(image.get("id")): image for image in images if isinstance(image, dict)}
    return [
        {
            "file_name": names.get(str(note.get("image_id")), {}).get("file_name"),
            "caption": note.get("caption"),
        }
        for note in plain["annotations"]
        if isinstance(note, dict)
    ]


# --- Parquet -------------------------------------------------------------------------------------


def _read_parquet(path: Path, rows: CaptionRows) -> None:
    from clipaudit.listings.engine import Engine
    from clipaudit.listings.files import find_lists, open_tables, quoted

    with Engine(find_lists([path])) as engine:
        (table,) = open_tables(engine, [path], {})
        described = engine.columns(path, table.reader)
        names = [
            name.strip().lower() if _may_hold_a_name_or_text(kind) else ""
            for name, kind in described
        ]
        place, column = _columns(path, rows, names, table.names)
        sql = (quoted(described[place][0]), quoted(described[column][0]))
        query = f"SELECT {', '.join(sql)} FROM {table.reader}"  # noqa: S608 - quoted names
        for batch in engine.stream(path, query):
            for name, value in batch:
                rows.add(_name_in(name), value)
            _require_few(path, rows)


def _may_hold_a_name_or_text(kind: str) -> bool:
    """Whether a column of one of DuckDB's types may; pictures lie in structs with their bytes."""
    whole = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "UBIGINT")
    return kind in {"VARCHAR", "VARCHAR[]", *whole}
