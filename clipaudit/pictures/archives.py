"""Tar archives → the pictures in them, as webdataset, img2dataset and DataComp pack them.

A shard holds samples one after another: files with one name up to its first dot, such as
`000123.jpg`, `000123.txt` and `000123.json`. Headers are read in their order, once and forwards;
the bytes of a file are left where they are, and their place is noted. Nothing is unpacked, no link
is followed, and no name in an archive is ever opened as a file.

Source: https://github.com/webdataset/webdataset (base_plus_ext, group_by_keys).
"""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from clipaudit.pictures.base import BadImage
from clipaudit.text.numbers import count

_PICTURES = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "gif", "bmp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "jpx"),
    )
)
_CAPTIONS = frozenset(("txt", "caption", "json"))
_MOST_HEADER_BYTES = 1 << 20
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_COMPRESSED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

_TWICE = BadImage("unsupported", "the archive has this name twice; the first is taken")
_PASSED_OVER_KIND = "neither a picture nor a caption"
_PASSED_OVER_LINK = "a link or a device"


class Place(NamedTuple):
    """Where a file lies in an archive.

    Attributes:
        archive: Path of the archive.
        offset: Bytes before it.
        n_bytes: Bytes that it has.
        stamp: Size and time of change of the archive when it was looked through.
    """

    archive: bytes
    offset: int
    n_bytes: int
    stamp: tuple[int, int]


class ArchivedPicture(NamedTuple):
    """A picture in an archive.

    Attributes:
        name: Name in the archive, with `/` between folders and none before the first.
        place: Where its bytes are.
        problem: Why it is not even tried.
    """

    name: str
    place: Place
    problem: BadImage | None = None


def is_named_as_archive(path: str) -> bool:
    """Whether a file's name ends as those of tar archives do, plain or compressed."""
    return path.lower().endswith((".tar", *_COMPRESSED_ENDINGS))


def is_archive(path: str, descriptor: int) -> bool:
    """Whether a file of such a name is a plain tar archive; the reading goes back to its start.

    Raises:
        BadImage: It is a compressed one.
    """
    start = os.read(descriptor, tarfile.BLOCKSIZE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if start.startswith(_COMPRESSED) or path.lower().endswith(_COMPRESSED_ENDINGS):
        raise BadImage(
            "unsupported", "a compressed archive is not read; decompress it to a plain .tar first"
        )
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        # Nothing but zeros is an archive without files.
        return len(start) == tarfile.BLOCKSIZE and not any(start)
    return True


def pictures_in(
    archive: bytes,
    descriptor: int,
    *,
    include_hidden: bool = False,
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[ArchivedPicture]:
    """The pictures of an archive, in their order.

    Args:
        archive: Its path.
        descriptor: The open file.
        include_hidden: Whether names that start with a dot count.
        on_note: Takes a sentence on what was passed over, if anything was.

    Raises:
        BadImage: `truncated`, `corrupt` or `empty`, after the pictures that come before that.
    """
    reading = _Reading(archive, descriptor)
    names: set[int] = set()
    problem: BadImage | None = None
    try:
        for name, place in reading.files():
            if not include_hidden and _is_hidden(name):
                continue
            ending = name.rpartition(".")[2].lower()
            if ending in _PICTURES:
                yield ArchivedPicture(name, place, _TWICE if hash(name) in names else None)
                names.add(hash(name))
            elif ending not in _CAPTIONS:
                reading.passed_over[_PASSED_OVER_KIND] += 1
    except BadImage as damage:
        problem = damage
    if reading.passed_over.total():
        on_note(_note(archive, reading.passed_over))
    if problem is None and not names:
        problem = BadImage("empty", "the archive holds no pictures")
    if problem is not None:
        raise problem


def places_in(archive: bytes, descriptor: int) -> dict[str, Place]:
    """Where each file of an archive lies, by its name; of doubled names the first counts."""
    places: dict[str, Place] = {}
    with suppress(BadImage):  # those before the damage are there
        for name, place in _Reading(archive, descriptor).files():
            places.setdefault(name, place)
    return places


class _Headers(io.FileIO):
    """An archive from which no header can take much memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MOST_HEADER_BYTES:
            raise tarfile.ReadError("a header is too long")
        return super().read(size) or b""


class _Reading:
    """A way through an archive, forwards."""

    def __init__(self, archive: bytes, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._archive = archive
        self._stamp = (status.st_size, status.st_mtime_ns)
        self._stream = _Headers(descriptor, closefd=False)
        self.passed_over: Counter[str] = Counter()

    def files(self) -> Iterator[tuple[str, Place]]:
        """Names of its plain files, and where each lies.

        Raises:
            BadImage: It is damaged or cut off from here on.
        """
        n_bytes, _ = self._stamp
        end = 0
        try:
            with tarfile.open(
                fileobj=self._stream, mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep them
                    if member.size < 0 or archive.offset <= end:
                        raise _damaged()
                    end = archive.offset
                    if not member.isreg() or member.issparse():
                        self.passed_over[_PASSED_OVER_LINK] += not member.isdir()
                        continue
                    if member.offset_data + member.size > n_bytes:
                        raise _cut_off()
                    parts = [part for part in member.name.split("/") if part not in ("", ".")]
                    place = Place(self._archive, member.offset_data, member.size, self._stamp)
                    yield "/".join(parts), place
                end = archive.offset
        except BadImage:
            raise
        except tarfile.ReadError as error:
            raise (_cut_off() if "unexpected end" in str(error) else _damaged()) from error
        except Exception as error:  # whatever tarfile comes up with on a stranger's bytes
            raise _damaged() from error
        self._require_end(end)

    def _require_end(self, offset: int) -> None:
        """That there are zeros where tarfile found no further header.

        Raises:
            BadImage: There is something else.
        """
        n_bytes, _ = self._stamp
        self._stream.seek(offset)
        block = self._stream.read(tarfile.BLOCKSIZE)
        if any(block):
            raise _cut_off() if offset + tarfile.BLOCKSIZE > n_bytes else _damaged()


def _cut_off() -> BadImage:
    return BadImage("truncated", "the archive is cut off; the pictures before that are taken")


def _damaged() -> BadImage:
    return BadImage("corrupt", "the archive is damaged; the pictures before that are taken")


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts)


def _note(archive: bytes, passed_over: Counter[str]) -> str:
    n_files = sum(passed_over.values())
    reasons = ", ".join(f"{n:,} {why}" for why, n in passed_over.items() if n)
    return f"{os.fsdecode(archive)}: {count(n_files, 'file')} passed over ({reasons})"
