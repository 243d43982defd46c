"""Where a picture lies in an archive, whatever kind of archive it is."""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from clipaudit.pictures.base import BadImage
from clipaudit.text.numbers import count

PICTURE_ENDINGS = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "gif", "bmp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "jpx"),
    )
)
"""What the names of pictures end with, in small letters."""

PASSED_OVER_LINK = "a link or a device"


class ZipMember(NamedTuple):
    """How a file is kept in a zip archive.

    Attributes:
        n_packed: Bytes that it takes there.
        is_deflated: Whether they are compressed, and not the file's own.
        crc32: Checksum of the file.
    """

    n_packed: int
    is_deflated: bool
    crc32: int


class ParquetCell(NamedTuple):
    """Which cell of a Parquet file holds a picture.

    Attributes:
        row: Number of the row, from 0.
        column: Path of the column.
    """

    row: int
    column: str


class Place(NamedTuple):
    """Where a file lies in an archive.

    Attributes:
        archive: Path of the archive.
        offset: Bytes before it; in a zip archive, before its header.
        n_bytes: Bytes that it has; 0 in a Parquet file, which does not say so beforehand.
        stamp: Size and time of change of the archive when it was looked through.
        inside: How it is kept there; None where its bytes stand there as they are.
    """

    archive: bytes
    offset: int
    n_bytes: int
    stamp: tuple[int, int]
    inside: ZipMember | ParquetCell | None = None


class ArchivedPicture(NamedTuple):
    """A picture in an archive, or another file beside it.

    Attributes:
        name: Name in the archive, with `/` between folders and none before the first.
        place: Where its bytes are.
        problem: Why it is not even tried.
    """

    name: str
    place: Place
    problem: BadImage | None = None


def stamp_of(descriptor: int) -> tuple[int, int]:
    """Size and time of change of an open file: what tells whether places in it still hold."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def plain_name(name: str) -> str:
    """A name in an archive without what says nothing: `./a//b.jpg` is `a/b.jpg`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def cut_off() -> BadImage:
    """What an archive says that ends too early."""
    return BadImage("truncated", "the archive is cut off; the pictures before that are taken")


def damaged() -> BadImage:
    """What an archive says that makes no sense from some place on."""
    return BadImage("corrupt", "the archive is damaged; the pictures before that are taken")


def passed_over_note(archive: bytes, passed_over: Counter[str]) -> str:
    """A sentence on the files of an archive that are no pictures."""
    n_files = sum(passed_over.values())
    reasons = ", ".join(f"{n:,} {why}" for why, n in passed_over.items() if n)
    return f"{os.fsdecode(archive)}: {count(n_files, 'file')} passed over ({reasons})"
