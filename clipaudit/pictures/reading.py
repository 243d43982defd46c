"""Files → bytes: only of regular files, and only such as held still."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from clipaudit.pictures.archives import archive_kind, places_in
from clipaudit.pictures.base import AnyPath, BadImage, Limits
from clipaudit.pictures.parquet_rows import row_bytes, row_place
from clipaudit.pictures.places import ParquetCell, Place, ZipMember, stamp_of
from clipaudit.pictures.remote import local_path
from clipaudit.pictures.zips import unpacked

_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # as far as the system has them
    _OPEN_FLAGS |= getattr(os, _flag, 0)

_THROUGH_ARCHIVE = re.compile(rb"\.(?:tar|zip)/", re.IGNORECASE)
_MOST_AT_ONCE = 1 << 24


def read_file(path: AnyPath, limits: Limits, place: Place | None = None) -> bytes:
    """The bytes of a regular file, or of one in an archive; never blocks on a pipe or a device.

    Args:
        path: Path of the file; one in an archive is `shard.tar/000123.jpg`.
        limits: How many bytes it may have.
        place: Where it lies in an archive, if that is known.

    Raises:
        BadImage: `missing`, `unreadable`, `not_a_file`, `empty`, `too_large`, `changed` or
            `out_of_memory`.
    """
    place = place or archived_place(path)
    if place is None:
        with opened(path, limits.most_file_bytes) as descriptor:
            return _read_all(descriptor, limits, None)
    with opened(place.archive, anew=False) as descriptor:
        return _read_all(descriptor, limits, place)


def hash_file(path: AnyPath) -> tuple[str, str]:
    """SHA-256 and MD5 of a regular file of any size, in hex; it is not held in memory.

    Raises:
        BadImage: As `read_file`, but for the size.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    place = archived_place(path)
    with opened(path if place is None else place.archive, anew=place is None) as descriptor:
        for chunk in _chunks(descriptor, place, _MOST_AT_ONCE):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()


def archived_place(path: AnyPath) -> Place | None:
    """Where in an archive the file lies that a path such as `shard.tar/000123.jpg` leads to.

    None where the path leads through no archive, or it holds no such file.
    """
    name = os.fsencode(path)
    for through in _THROUGH_ARCHIVE.finditer(name):
        archive = name[: through.end() - 1]
        with suppress(OSError, ValueError, BadImage):
            status = os.stat(local_path(archive))  # noqa: PTH116
            if stat.S_ISREG(status.st_mode):
                places = _places(archive, status.st_size, status.st_mtime_ns)
                return places.get(os.fsdecode(name[through.end() :]))
    return row_place(name)


@lru_cache(maxsize=4)
def _places(archive: bytes, n_bytes: int, mtime_ns: int) -> dict[str, Place]:
    """Where the files lie in an archive of that size which was changed at that time."""
    with suppress(BadImage), opened(archive, anew=False) as descriptor:
        if kind := archive_kind(os.fsdecode(archive), descriptor):
            return places_in(kind, archive, descriptor)
    return {}


@contextmanager
def opened(path: AnyPath, most_bytes: int | None = None, *, anew: bool = True) -> Iterator[int]:
    """A descriptor of a regular file; what the system says against it is a `BadImage`.

    Args:
        path: Path of the file, or an address.
        most_bytes: How many bytes are fetched from an address at most.
        anew: Whether a copy of what lies at an address must be the newest.
    """
    name = local_path(path, most_bytes, anew=anew)
    try:
        # Before it is opened, because opening alone can do things to a device.
        _require_regular(os.stat(name))  # noqa: PTH116
        descriptor = os.open(name, _OPEN_FLAGS)
        try:
            _require_regular(os.fstat(descriptor))
            yield descriptor
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise path_problem(name, error) from error
    except MemoryError as error:
        raise BadImage("out_of_memory", "the file does not fit into memory") from error


def path_problem(path: bytes, error: OSError | ValueError) -> BadImage:
    """Why the system does not give what is at a path."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(path):  # noqa: PTH114
            return BadImage("missing", "the link points to nothing")
        return BadImage("missing", "there is no such file or folder")
    if isinstance(error, ValueError):  # a NUL in the name
        return BadImage("missing", "no file can have this name")
    if isinstance(error, PermissionError):
        return BadImage("unreadable", "permission to read it is denied")
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return BadImage("unreadable", f"the system cannot read it ({reason})")


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise BadImage("not_a_file", f"{kind}, not a regular file")


def _read_all(descriptor: int, limits: Limits, place: Place | None) -> bytes:
    before = os.fstat(descriptor)
    option = "" if limits.max_file_bytes else "; --max-megapixels raises it"
    too_large = BadImage(
        "too_large", f"the file has more than {limits.most_file_bytes:,} bytes, the limit{option}"
    )
    is_known = place is None or not isinstance(place.inside, ParquetCell)
    n_bytes = place.n_bytes if place else before.st_size
    if n_bytes > limits.most_file_bytes:
        raise too_large
    chunks = []
    n_read = 0
    for chunk in _chunks(descriptor, place, min(n_bytes + 1, _MOST_AT_ONCE)):
        chunks.append(chunk)
        n_read += len(chunk)
        if n_read > limits.most_file_bytes:
            raise too_large
    after = os.fstat(descriptor)
    is_same = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    if not is_same or (is_known and n_read != (place.n_bytes if place else after.st_size)):
        raise _changed()
    if not n_read:
        raise BadImage("empty", "the file has no bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _chunks(descriptor: int, place: Place | None, n_bytes: int) -> Iterator[bytes]:
    """The bytes of a file, or of one at a place in it, so many at a time."""
    if place is None:
        while chunk := os.read(descriptor, n_bytes):
            yield chunk
        return
    if stamp_of(descriptor) != place.stamp:
        raise _changed()
    if isinstance(place.inside, ZipMember):
        yield from unpacked(descriptor, place, place.inside)
        return
    if isinstance(place.inside, ParquetCell):
        yield row_bytes(place, place.inside)
        return
    os.lseek(descriptor, place.offset, os.SEEK_SET)
    n_left = place.n_bytes
    while n_left and (chunk := os.read(descriptor, min(n_left, n_bytes))):
        yield chunk
        n_left -= len(chunk)


def _changed() -> BadImage:
    return BadImage("changed", "the file was written to while it was read")


def content_id(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: what a picture is known by, whatever its name."""
    return hashlib.sha256(data).hexdigest()
