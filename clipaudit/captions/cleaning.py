"""What counts as a caption, and files of text in whatever encoding they have."""

from __future__ import annotations

import codecs
import json
import re
import threading
from collections import defaultdict
from typing import Any, Literal

MOST_BYTES = 1_000_000
"""A text of more is no caption: no encoder reads a hundredth of it."""

Encoding = Literal["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]

_MARKS: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0C, 0x0D, 0x1B})
_MOST_CONTROLS = 0.05
_MOST_NULS = 0.4
"""Of the bytes at even, or at odd places, in Western text in UTF-16."""

_SURROGATES = re.compile("[\ud800-\udfff]")

ENCODING_NAMES: dict[Encoding, str] = {
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32": "UTF-32",
    "cp1252": "Windows-1252 (it is not UTF-8)",
}
"""For notes; those of UTF-8 need none."""


def clean(text: str) -> str | None:
    r"""A caption as it goes to a text tower; None for what is none.

    Blanks around it are dropped, and half characters, which no file could hold, are replaced. All
    else stays as it was written.

    >>> clean(" a red bicycle\n"), clean("\u200b\x00 "), clean("half \ud83d")
    ('a red bicycle', None, 'half �')
    """
    text = text.strip().strip("\ufeff").strip()
    if not text.isprintable() and all(not char.isprintable() or char.isspace() for char in text):
        return None
    if not text.isascii():
        text = _SURROGATES.sub("\ufffd", text)
    return text if 0 < len(text) <= MOST_BYTES else None


def clean_all(value: object) -> tuple[str, ...]:
    """The captions in a cell: of a text, or of a list of texts; none comes twice.

    >>> clean_all(["a dog ", "", "a dog", 3]), clean_all(None)
    (('a dog',), ())
    """
    texts = value if isinstance(value, list | tuple) else [value]
    found = (clean(text) for text in texts if isinstance(text, str))
    return tuple(dict.fromkeys(text for text in found if text is not None))


def encoding_of(data: bytes, *, is_whole: bool = True) -> Encoding | None:
    """The encoding of a text; None for what is no text.

    Args:
        data: Bytes of a file, or its first ones.
        is_whole: Whether these are all.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    wide = _wide(data)
    if wide is not None:
        return wide
    if len(data) - len(data.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(data):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=is_whole)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _wide(data: bytes) -> Encoding | None:
    """UTF-16 without a mark, as Windows writes it, or None."""
    n_pairs = len(data) // 2
    if b"\0" not in data:
        return None
    if data[1::2].count(0) > _MOST_NULS * n_pairs and not data[0::2].count(0):
        return "utf-16-le"
    if data[0::2].count(0) > _MOST_NULS * n_pairs and not data[1::2].count(0):
        return "utf-16-be"
    return None


def load_leniently(text: str) -> Any:
    """Plain values of a JSON text of others, which may hold NaN; None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Tally:
    """Which files were met, reason by reason. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, reason: str, path: str) -> None:
        """Count a file; again makes no difference."""
        with self._lock:
            self._paths[reason].add(path)

    def count(self, reason: str) -> int:
        """How many files there are for a reason."""
        with self._lock:
            return len(self._paths[reason])
