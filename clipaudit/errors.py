"""What can go wrong, sorted by who can mend it.

Every deliberate error is a `ClipAuditError`: a sentence that says what happened, to which file
or option, and a hint that says what to do next. `clipaudit.cli` turns it into an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class ClipAuditError(Exception):
    """What is wrong, and what to do about it."""

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)  # both in args: survives pickling from a worker
        self.hint = hint

    def __str__(self) -> str:
        return str(self.args[0])


class UsageError(ClipAuditError):
    """Options that contradict each other, or a value that no option takes."""

    exit_code = 2


class InputError(ClipAuditError):
    """No usable picture, or a bad one where none is tolerated."""

    exit_code = 3


class EncoderError(ClipAuditError):
    """An encoder cannot be loaded or run: weights, memory, disk, device."""

    exit_code = 4


class InferrerError(ClipAuditError):
    """An inferrer or a calibration is missing, broken or does not fit."""

    exit_code = 5


class SourceError(ClipAuditError):
    """A data set, the network or a web source does not give what was asked for."""

    exit_code = 6


def nearest(name: str, names: Iterable[str], limit: int = 5) -> list[str]:
    """The names that look most like one, best first; upper and lower case are alike.

    >>> nearest("vit-b32", ["ViT-B-32", "ViT-L-14", "RN50"], limit=1)
    ['ViT-B-32']
    """
    by_lower = {known.lower(): known for known in names}
    found = get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.5)
    return [by_lower[match] for match in found]


def did_you_mean(name: str, names: Iterable[str], otherwise: str) -> str:
    """A hint that offers the nearest names, or another one where none is near."""
    found = nearest(name, names)
    return f"Did you mean {' or '.join(found)}?" if found else otherwise
