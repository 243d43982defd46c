"""What can go wrong, sorted by who can mend it.

Every deliberate error is a `ClipAuditError`: a sentence that says what happened, to which file
or option, and a hint that says what to do next. `clipaudit.cli` turns it into an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


class MissingExtraError(ClipAuditError):
    """A library is not installed that only an extra of the package brings."""

    exit_code = 4


EXTRAS = {
    "crawl": ("protego", "requests", "requests_hardened", "urllib3"),
    "heif": ("pillow_heif",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "pandas": ("pandas",),
    "ray": ("ray",),
    "remote": ("aiohttp", "gcsfs", "s3fs"),
    "train": ("matplotlib",),
    "transformers": ("sentencepiece", "transformers"),
}
"""Extras of the package, and the modules that each brings."""


@contextmanager
def extra_imports(purpose: str, otherwise: str = "") -> Iterator[None]:
    """Around imports of what an extra brings: where it is missing, say how to get it.

    Args:
        purpose: What needs it, as the beginning of a sentence.
        otherwise: What can be done without it, as a sentence.

    Raises:
        MissingExtraError: A module of `EXTRAS` is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        hint = f"pip install '.[{extra}]' in the checkout adds it. {otherwise}"
        raise MissingExtraError(
            f"{purpose} needs {module}, which is not installed", hint.strip()
        ) from error


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
