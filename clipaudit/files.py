"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from clipaudit.errors import ClipAuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = ".clipaudit-*.tmp"


class FileError(ClipAuditError):
    """A file or a folder cannot be written."""

    exit_code = 4


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, and not where it raises.

    It is written beside `path`, under another name, and reaches the disk before it is renamed.
    A link stays a link: what it points to is replaced. A file that was there keeps its rights.

    Raises:
        FileError: The disk is full, or the system says no for another reason.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(_TEMPORARY.replace("*", secrets.token_hex(8)))
    try:
        with _explained(path):
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
    finally:
        with suppress(OSError):  # it has been renamed, or could not even be made
            temporary.unlink()


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file in the place of another, or leave that as it was.

    Raises:
        FileError: As `replacing`.
    """
    with replacing(path) as file:
        file.write(content)


def append_line(path: Path, line: str) -> None:
    """Write a line at the end of a text file, which is made where there is none.

    Raises:
        FileError: As `replacing`; part of the line may have been written.
    """
    with _explained(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def make_folder(path: Path) -> None:
    """Make a folder with those above it; one that is there stays as it is.

    Raises:
        FileError: The system does not let us, or a file is in the way.
    """
    with _explained(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left half written, there and below; nobody else may write there."""
    for path in folder.rglob(_TEMPORARY):
        with suppress(OSError):
            path.unlink()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Free some space" if error.errno in _FULL else "Name another place with -o"
        raise FileError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            f"{advice} and run it again: what was computed is kept, so it takes little time.",
        ) from error
