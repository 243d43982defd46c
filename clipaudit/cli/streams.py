"""Standard streams that are closed, or that lead to a full disk or to a reader that went away."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from clipaudit.files import FileError

if TYPE_CHECKING:
    from typing import TextIO

    from typing_extensions import Buffer


def set_up() -> None:
    """Make standard streams whose loss harms nothing else; a text that cannot be shown is escaped.

    A stream that was closed is put in its place again, so that no file is opened under its number
    and written over by a message. To use it fails as it would on the closed one.
    """
    if sys.stdin is None:
        _occupy(0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as we run
    sys.stdout = _wrap(sys.stdout, sys.__stdout__, _Output, 1)
    sys.stderr = _wrap(sys.stderr, sys.__stderr__, _Messages, 2)


class OutputError(FileError):
    """Standard output is closed, or its disk is full."""


class _Output(io.FileIO):
    """Standard output, whose errors are told from those of files.

    A reader that went away, as `head` does, is no error of ours; rich would take it for one.
    """

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _give_up()
            raise SystemExit(141) from None
        except OSError as error:
            _give_up()
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise OutputError(
                f"cannot write to standard output: {reason}",
                "Free some space, or lead it elsewhere; a file that -o names is written all the "
                "same.",
            ) from error


class _Messages(io.FileIO):
    """Standard error: a message that cannot be written ends no run."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _wrap(
    stream: TextIO | None, original: TextIO | None, kind: type[io.FileIO], number: int
) -> TextIO:
    if stream is None:
        _occupy(number)
    elif stream is not original or stream.isatty():  # a test's, or a terminal, which never fills
        if isinstance(stream, io.TextIOWrapper):  # one without Unicode gets escapes, no error
            stream.reconfigure(errors="backslashreplace")
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(number, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=number == 2,
    )


def _occupy(number: int) -> None:
    """Open what can be neither read nor written, under a number that is free."""
    opened = os.open(os.devnull, os.O_WRONLY if number == 0 else os.O_RDONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _give_up() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - Python flushes it at exit
