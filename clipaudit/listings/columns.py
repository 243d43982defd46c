"""Which column of a list holds what: by name, by the look of the values, or as the user says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from clipaudit.errors import InputError, UsageError
from clipaudit.listings.urls import is_web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Role = Literal[
    "url",
    "text",
    "sha256",
    "md5",
    "phash",
    "key",
    "flickr",
    "width",
    "height",
    "license",
    "license_url",
    "keyword",
    "author",
    "page_url",
    "sha1",
]
ROLES: tuple[Role, ...] = get_args(Role)

COMPARABLE: tuple[Role, ...] = ("url", "sha256", "md5", "phash", "flickr")
"""The roles that a picture can be found by."""

_NAMES: dict[Role, tuple[str, ...]] = {
    "url": ("url", "image_url", "img_url", "imageurl", "downloadurl", "download_url"),
    "text": ("text", "caption", "title", "alt_text", "alt", "top_caption", "description"),
    "sha256": ("sha256", "image_sha256", "sha_256"),
    "md5": ("md5", "image_md5", "md5sum"),
    "phash": ("image_phash", "phash", "perceptual_hash"),
    "key": ("uid", "sample_id", "key", "__key__", "image_id", "id"),
    "flickr": ("photoid", "photo_id", "flickr_id", "flickr"),
    "width": ("original_width", "image_width", "width"),
    "height": ("original_height", "image_height", "height"),
    "license": ("license", "licence", "licensename", "license_name"),
    "license_url": ("license_url", "licence_url"),
    "keyword": ("keyword",),
    "author": ("author", "creator"),
    "page_url": ("page_url", "landing_url"),
    "sha1": ("sha1",),
}
"""What columns are called, in small letters, in LAION, DataComp and CommonPool, COYO, CC12M and
CC3M, YFCC100M and PD12M, and in what img2dataset writes; the first that is there counts.
`original_width` before `width`, which in the output of img2dataset is that of the small copy."""

FILE_NAMES = (
    "file_name",
    "filename",
    "path",
    "filepath",
    "file_path",
    "image_path",
    "img_path",
    "image_file",
    "image_name",
    "image",
    "img",
    "file",
)
"""What columns with the file of a picture are called, in small letters, in imagefolder data sets
of Hugging Face, what open_clip trains on, Flickr30k and our own manifests; the first counts. Lists
are not searched by it: a file is called otherwise on another machine."""

_SHARED_KEYS = ("uid", "sample_id")
"""Keys that mean the same row in every list that has them; others are running numbers."""

_TEXT = ("VARCHAR", "BLOB")
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_NUMBERS = (*_WHOLE, "UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE")
_TYPES: dict[Role, tuple[str, ...]] = {
    "url": _TEXT,
    "text": _TEXT,
    "sha256": _TEXT,
    "md5": _TEXT,
    "phash": (*_TEXT, "BIGINT", "UBIGINT"),
    "key": (*_TEXT, *_NUMBERS, "UUID"),
    "flickr": (*_TEXT, *_WHOLE, "UBIGINT", "HUGEINT"),
    "width": (*_TEXT, *_NUMBERS),
    "height": (*_TEXT, *_NUMBERS),
    **dict.fromkeys(("license", "license_url", "keyword", "author", "page_url", "sha1"), _TEXT),
}
"""DuckDB's types that a role can be read from."""

_HEX: dict[int, Role] = {64: "sha256", 32: "md5"}
_MOST = 0.8
"""This share of the values has to look like an address or a number: the rest may be damaged."""

_ENDS_LIKE_A_PICTURE = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|avif)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list as it is in the file.

    Attributes:
        name: As written there, or its number from 1 where the file has no header.
        sql: What DuckDB calls it.
        type: DuckDB's type.
    """

    name: str
    sql: str
    type: str


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a list hold, as far as it matters here.

    Attributes:
        by_role: Role → column.
        notes: Sentences on what is not compared, and why.
        shared_key: Name of the key where it means the same row in every list that has it.
    """

    by_role: Mapping[Role, Column]
    notes: tuple[str, ...] = ()
    shared_key: str | None = None

    @property
    def comparable(self) -> tuple[Role, ...]:
        """The roles that a picture can be found by here."""
        return tuple(role for role in COMPARABLE if role in self.by_role)


def names_of(role: Role) -> tuple[str, ...]:
    """What columns of a role are called, in small letters; the first that is there counts."""
    return _NAMES[role]


def parse_columns(text: str) -> dict[str, str]:
    """What `--columns` says: `url=URL,sha256=SHA` → role → name.

    >>> parse_columns("url=Image Link, sha256=3")
    {'url': 'Image Link', 'sha256': '3'}

    Raises:
        UsageError: It is not written like this.
    """
    found: dict[str, str] = {}
    for pair in text.split(","):
        role, equals, name = (part.strip() for part in pair.partition("="))
        if not (role and equals and name):
            raise UsageError(
                f"--columns {text!r}: {pair.strip()!r} does not say what a column holds",
                f"Write it as url=URL,sha256=SHA; on the left stands one of {', '.join(ROLES)}.",
            )
        found[role.lower()] = name
    return found


def check_roles(columns: Mapping[str, str]) -> dict[Role, str]:
    """The same, its roles checked.

    Raises:
        UsageError: There is no such role.
    """
    known: dict[str, Role] = {role: role for role in ROLES}
    for role in columns:
        if role not in known:
            raise UsageError(
                f"--columns {role}=…: no column can hold that", f"Roles are {', '.join(ROLES)}."
            )
    return {known[role]: name for role, name in columns.items()}


def is_header(cells: Sequence[str], overrides: Mapping[Role, str]) -> bool:
    """Whether the first row of a text file names its columns."""
    known = {name for names in _NAMES.values() for name in names} | {"hash", *FILE_NAMES}
    known |= {name.lower() for name in overrides.values() if not name.isdigit()}
    if any(map(is_web, cells)):  # a caption may well be "title"
        return False
    return any(cell.strip().lower() in known for cell in cells)


def assign(
    columns: Sequence[Column], samples: Mapping[str, Sequence[str]], overrides: Mapping[Role, str]
) -> Columns:
    """What the columns of a list hold.

    Args:
        columns: All of them, in the order of the file.
        samples: Some values of the columns that only these tell apart, by `Column.name`: `hash`
            where that is text, and all of a file without a header.
        overrides: Role → name, where the user says it; those that are not here are passed over.

    Raises:
        InputError: A column that the user names has a type that its role cannot be read from.
    """
    has_header = not all(column.name.isdigit() for column in columns)
    found = _by_name(columns) if has_header else _by_look(columns, samples)
    notes = []
    if has_header:
        notes += _assign_hash(columns, samples, found)
    elif _is_yfcc(columns, samples):
        notes.append("column 3 is not compared: the photo hash of YFCC100M is not one of the file")
    for role, name in overrides.items():
        column = _named(columns, name)
        if column is None:
            continue
        if column.type not in _TYPES[role]:
            raise InputError(
                f"column {name!r} holds {column.type}, which is no {role}",
                f"Name another with --columns {role}=…",
            )
        found[role] = column
    for role, column in [*found.items()]:
        if column.type not in _TYPES[role]:
            notes.append(f"column {column.name} is not compared: it holds {column.type}")
            del found[role]
    if "flickr" in found and "key" not in overrides:
        found["key"] = found["flickr"]  # in YFCC100M `uid` is the person who put it online
    key = found.get("key")
    is_shared = key is not None and (key.name.lower() in _SHARED_KEYS or "key" in overrides)
    return Columns(found, tuple(notes), key.name.lower() if key and is_shared else None)


def missing(names: Sequence[str], overrides: Mapping[Role, str]) -> set[Role]:
    """The roles whose column, as the user names it, is not among these."""
    known = {name.lower() for name in names}
    return {role for role, name in overrides.items() if name.lower() not in known}


def _named(columns: Sequence[Column], name: str) -> Column | None:
    exact = (column for column in columns if column.name == name)
    alike = (column for column in columns if column.name.lower() == name.lower())
    return next(exact, None) or next(alike, None)


def _by_name(columns: Sequence[Column]) -> dict[Role, Column]:
    by_name = {column.name.strip().lower(): column for column in reversed(columns)}
    return {
        role: next(by_name[name] for name in names if name in by_name)
        for role, names in _NAMES.items()
        if any(name in by_name for name in names)
    }


def _assign_hash(
    columns: Sequence[Column],
    samples: Mapping[str, Sequence[str]],
    found: dict[Role, Column],
) -> list[str]:
    """Take a column called `hash` for what its values look like; say so where they do not."""
    column = _named(columns, "hash")
    if column is None:
        return []
    role = _HEX.get(_hex_length(samples.get(column.name, ())) or 0)
    if role is not None and role not in found:
        found[role] = column
        return [f"column {column.name} is taken for {role}, which its values look like"]
    if column.type not in _TEXT:
        why = "these numbers (LAION's) are no hash of a picture's file or pixels"
        return [f"column {column.name} is not compared: {why}"]
    return [f"column {column.name} is not compared: its values look like no hash of a file"]


def _by_look(columns: Sequence[Column], samples: Mapping[str, Sequence[str]]) -> dict[Role, Column]:
    """The roles in a file without a header.

    That is CC12M (url, caption), its hashes (url, sha256, md5), CC3M (caption, url), YFCC100M
    (line, photo id, photo hash, …), and what is like them.
    """
    found: dict[Role, Column] = {}
    addresses = [column for column in columns if _share(samples[column.name], is_web) > _MOST]
    if addresses:
        found["url"] = max(
            addresses, key=lambda column: _share(samples[column.name], _is_a_picture)
        )
    if _is_yfcc(columns, samples):
        found["flickr"] = columns[1]
    else:
        for column in columns:
            role = _HEX.get(_hex_length(samples[column.name]) or 0)
            if role is not None:
                found.setdefault(role, column)
    rest = [column for column in columns if column not in found.values()]
    if len(columns) == 2 and len(rest) == 1:
        found["text"] = rest[0]
    return found


def _is_yfcc(columns: Sequence[Column], samples: Mapping[str, Sequence[str]]) -> bool:
    if len(columns) < 3:
        return False
    line, photo, digest = (samples[column.name] for column in columns[:3])
    both = min(_share(line, str.isdecimal), _share(photo, str.isdecimal))
    return both > _MOST and _hex_length(digest) == 32


def _share(values: Sequence[str], fits: Callable[[str], bool]) -> float:
    """Share of the values that fit, among those that are not empty."""
    filled = [value for value in values if value]
    return sum(map(fits, filled)) / len(filled) if filled else 0.0


def _is_a_picture(address: str) -> bool:
    return bool(_ENDS_LIKE_A_PICTURE.search(address))


def _hex_length(values: Sequence[str]) -> int | None:
    """How long the values are, where all are hexadecimal and of one length."""
    lengths = {len(value) for value in values if value}
    is_hex = all(re.fullmatch(r"[0-9a-fA-F]*", value) for value in values)
    return lengths.pop() if len(lengths) == 1 and is_hex else None
