"""Files → bytes: only of regular files, and only such as held still."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from clipaudit.pictures.base import AnyPath, BadImage, Limits

_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # as far as the system has them
    _OPEN_FLAGS |= getattr(os, _flag, 0)


def read_file(path: AnyPath, limits: Limits) -> bytes:
    """The bytes of a regular file; never blocks on a pipe or a device.

    Raises:
        BadImage: `missing`, `unreadable`, `not_a_file`, `empty`, `too_large`, `changed` or
            `out_of_memory`.
    """
    with _opened(path) as descriptor:
        return _read_all(descriptor, limits)


def hash_file(path: AnyPath) -> tuple[str, str]:
    """SHA-256 and MD5 of a regular file of any size, in hex; it is not held in memory.

    Raises:
        BadImage: As `read_file`, but for the size.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with _opened(path) as descriptor:
        _require_regular(os.fstat(descriptor))
        while chunk := os.read(descriptor, 1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()


@contextmanager
def _opened(path: AnyPath) -> Iterator[int]:
    """A descriptor of a regular file; what goes wrong with it is a `BadImage`."""
    name = os.fsencode(path)
    try:
        # Before it is opened, because opening alone can do things to a device.
        _require_regular(os.stat(name))  # noqa: PTH116
        descriptor = os.open(name, _OPEN_FLAGS)
        try:
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


def _read_all(descriptor: int, limits: Limits) -> bytes:
    before = os.fstat(descriptor)
    _require_regular(before)
    option = "" if limits.max_file_bytes else "; --max-megapixels raises it"
    too_large = BadImage(
        "too_large", f"the file has more than {limits.most_file_bytes:,} bytes, the limit{option}"
    )
    if before.st_size > limits.most_file_bytes:
        raise too_large
    chunks = []
    n_read = 0
    while chunk := os.read(descriptor, max(before.st_size - n_read, 0) + 1):
        chunks.append(chunk)
        n_read += len(chunk)
        if n_read > limits.most_file_bytes:
            raise too_large
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or (
        n_read != after.st_size
    ):
        raise BadImage("changed", "the file was written to while it was read")
    if not n_read:
        raise BadImage("empty", "the file has no bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def content_id(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: what a picture is known by, whatever its name."""
    return hashlib.sha256(data).hexdigest()
