"""Files that an encoder is read from: what they are is looked at before they are opened.

They may come from anybody, so a pipe that never ends, a description of a gigabyte, and a page of
a web server in the place of a download are answered here, in a line.

Every look goes through here, so that `recorded_looks` can say which files an encoder depends on.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from clipaudit.errors import EncoderError
from clipaudit.files import load_json

_LARGEST_DESCRIPTION = 1 << 20
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
_DOWNLOAD = "Download the file itself"


class Stamp(NamedTuple):
    """What tells whether a file is as it was.

    Attributes:
        n_bytes: Its size.
        changed_ns: When its content was changed.
        status_changed_ns: When its content, name or rights were.
        inode: Its number in the file system.
    """

    n_bytes: int
    changed_ns: int
    status_changed_ns: int
    inode: int


Looks = dict[str, Stamp | None]
"""The stamp of each file by its path; None where there is none."""

_looks: ContextVar[Looks | None] = ContextVar("looks", default=None)


@contextmanager
def recorded_looks() -> Iterator[Looks]:
    """The files that are looked at within, each as it was at the first look."""
    looks: Looks = {}
    token = _looks.set(looks)
    try:
        yield looks
    finally:
        _looks.reset(token)


def look_at(path: Path) -> bool:
    """Whether there is something at a path on which an encoder depends."""
    stamp = stamp_of(path)
    looks = _looks.get()
    if looks is not None:
        looks.setdefault(str(path), stamp)
    return stamp is not None


def stamp_of(path: Path | str) -> Stamp | None:
    """The stamp of what is at a path, behind any links; None where nothing is."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def check_is_file(path: Path) -> None:
    """Raise an EncoderError unless this is a file that can be read, and may be a model."""
    look_at(path)
    try:
        _check_is_regular(path)
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise EncoderError(f"there is no file {path}", "Check the path.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head:
        raise EncoderError(f"{path} is empty", "Fetch or write it again.")
    if head.startswith(_GIT_LFS):
        raise EncoderError(
            f"{path} is a pointer of git-lfs, which stands for the file in a clone without it",
            f"{_DOWNLOAD}: run `git lfs pull` in that clone.",
        )
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_MARKUP):
        raise EncoderError(
            f"{path} is a web page, not a model: a server sent it in the place of the file",
            f"{_DOWNLOAD}: open its address in a browser to see what the server says; it may ask "
            "you to log in.",
        )


def read_description(path: Path) -> Any:
    """The plain values of a JSON file, in any of the encodings that JSON may have, with BOM or not.

    Raises:
        FileNotFoundError: There is none.
        EncoderError: It is something else, or larger than any description is.
    """
    look_at(path)
    try:
        _check_is_regular(path)
        with path.open("rb") as file:
            content = file.read(_LARGEST_DESCRIPTION + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > _LARGEST_DESCRIPTION:
        raise EncoderError(
            f"{path} is larger than a megabyte, so it is no description of an encoder",
            "Write the JSON that belongs there, or remove it.",
        )
    try:
        return load_json(content.decode(json.detect_encoding(content)))
    except ValueError as error:
        raise EncoderError(
            f"cannot read {path}: {str(error)[:200]}", "Mend it; it must be JSON."
        ) from error


def _check_is_regular(path: Path) -> None:
    """Raise unless opening and reading it comes to an end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "is a folder" if stat.S_ISDIR(mode) else "is a pipe or a device, not a file"
        raise EncoderError(f"cannot read {path}: it {kind}", "Name a file.")


def _unreadable(path: Path, error: OSError) -> EncoderError:
    return EncoderError(
        f"cannot read {path}: {error.strerror}", "Check what it is, and its permissions."
    )
