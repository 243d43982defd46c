"""Archives → the pictures in them: tar shards, zip files, and Parquet files with image bytes.

A tar shard holds samples one after another: files with one name up to its first dot, such as
`000123.jpg`, `000123.txt` and `000123.json`. Zip files are read alike. In a Parquet file each row
is a picture, as Hugging Face writes them. What is in an archive is listed in its order; nothing is
unpacked to disk, no link is followed, and no name in an archive is ever opened as a file.

Source: https://github.com/webdataset/webdataset (base_plus_ext, group_by_keys).
"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

from clipaudit.pictures.base import BadImage
from clipaudit.pictures.parquet_rows import is_parquet, rows_in
from clipaudit.pictures.places import (
    PICTURE_ENDINGS,
    ArchivedPicture,
    Place,
    passed_over_note,
)
from clipaudit.pictures.tars import TarReading, compressed, is_tar
from clipaudit.pictures.zips import ZipReading, is_zip

Kind = Literal["tar", "zip", "parquet"]

_CAPTIONS = frozenset(("txt", "caption", "json"))
_COMPRESSED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

_TWICE = BadImage("unsupported", "the archive has this name twice; the first is taken")
_PASSED_OVER_KIND = "neither a picture nor a caption"


def is_named_as_archive(path: str) -> bool:
    """Whether a file's name ends as those of archives do."""
    return path.lower().endswith((".tar", ".zip", ".parquet", *_COMPRESSED_ENDINGS))


def archive_kind(path: str, descriptor: int) -> Kind | None:
    """What kind of archive a file of such a name is; the reading goes back to its start.

    Raises:
        BadImage: It is a compressed tar archive, or a Parquet file that is damaged or whose
            pictures are not kept as bytes.
    """
    start = os.read(descriptor, tarfile.BLOCKSIZE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    ending = path.lower().rpartition(".")[2]
    if ending == "zip":
        return "zip" if is_zip(start) else None
    if ending == "parquet":
        return "parquet" if is_parquet(os.fsencode(path), start) else None
    if path.lower().endswith(_COMPRESSED_ENDINGS):
        raise compressed()
    return "tar" if is_tar(start) else None


def pictures_in(
    kind: Kind,
    archive: bytes,
    descriptor: int,
    *,
    include_hidden: bool = False,
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[ArchivedPicture]:
    """The pictures of an archive, in their order.

    Args:
        kind: What it is.
        archive: Its path.
        descriptor: The open file.
        include_hidden: Whether names that start with a dot count.
        on_note: Takes a sentence on what was passed over, if anything was.

    Raises:
        BadImage: `truncated`, `corrupt` or `empty`, after the pictures that come before that.
    """
    if kind == "parquet":
        yield from rows_in(archive)
        return
    files, passed_over = _files(kind, archive, descriptor)
    names: set[int] = set()
    problem: BadImage | None = None
    try:
        for name, place, why_not in files:
            if not include_hidden and _is_hidden(name):
                continue
            ending = name.rpartition(".")[2].lower()
            if ending in PICTURE_ENDINGS:
                yield ArchivedPicture(name, place, _TWICE if hash(name) in names else why_not)
                names.add(hash(name))
            elif ending not in _CAPTIONS:
                passed_over[_PASSED_OVER_KIND] += 1
    except BadImage as damage:
        problem = damage
    if passed_over.total():
        on_note(passed_over_note(archive, passed_over))
    if problem is None and not names:
        problem = BadImage("empty", "the archive holds no pictures")
    if problem is not None:
        raise problem


def places_in(kind: Kind, archive: bytes, descriptor: int) -> dict[str, Place]:
    """Where each file of a tar or zip archive lies, by its name; of doubled names the first counts.

    What cannot be read, such as an encrypted file, is not there.
    """
    places: dict[str, Place] = {}
    with suppress(BadImage):  # those before the damage are there
        for name, place, why_not in _files(kind, archive, descriptor)[0]:
            if why_not is None:
                places.setdefault(name, place)
    return places


def _files(
    kind: Kind, archive: bytes, descriptor: int
) -> tuple[Iterator[ArchivedPicture], Counter[str]]:
    """The plain files of a tar or zip archive, and the count of what else is there."""
    if kind == "zip":
        zipped = ZipReading(archive, descriptor)
        return zipped.files(), zipped.passed_over
    shard = TarReading(archive, descriptor)
    return (ArchivedPicture(name, place, None) for name, place in shard.files()), shard.passed_over


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts)
