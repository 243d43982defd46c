"""Address space and memory: enough for what a command loads, or a line that says so."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

from clipaudit.errors import ClipAuditError
from clipaudit.text.numbers import size

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITHOUT_TORCH = frozenset(
    {"calibrations", "control", "report", "lookup", "inferrers", "cache", "encoders"}
)
_NEEDED = 1.5e9
_NEEDED_BY_TORCH = 3.4e9
"""Measured with two threads: below it libraries of C end the process, and nothing can be said."""

_SIGNS = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "not enough memory",
    "can't start new thread",
    "bad_alloc",
)


class TooLittleMemoryError(ClipAuditError):
    """Libraries or pictures do not fit into the memory."""

    exit_code = 4

    def __init__(
        self,
        message: str = "there is too little memory",
        hint: str = "Close other programs, raise `ulimit -v`, or pass a smaller --batch-size and "
        "fewer --workers.",
    ) -> None:
        super().__init__(message, hint)


def require(command: str) -> None:
    """Raise where the address space is too small for what a command loads.

    Raises:
        TooLittleMemoryError: It is, by `ulimit -v`; says what is needed.
    """
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _NEEDED if command in _WITHOUT_TORCH else _NEEDED_BY_TORCH
    if resource.RLIM_INFINITY != limit < needed:
        raise TooLittleMemoryError(
            f"the address space is limited to {size(limit)}, and `clipaudit {command}` needs "
            f"{size(needed)}",
            "Raise `ulimit -v`, or set it to unlimited.",
        )


def is_short(error: BaseException) -> bool:
    """Whether memory that could not be had is the cause of an error."""
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or any(sign in str(cause).lower() for sign in _SIGNS)
        for cause in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
