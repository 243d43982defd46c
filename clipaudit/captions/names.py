"""Captions from the names of files: the words in them, and in those of their folders."""

from __future__ import annotations

import os
import re
import unicodedata
from urllib.parse import unquote

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.cleaning import Tally, clean_all
from clipaudit.text.numbers import count

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")
_NUMBER = re.compile(r"\d+")
_CAMEL = re.compile("(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where words meet that are written in one: aB, and the second of ABc."""

_LEAST_ID_CHARS = 8

_SAYS_NOTHING = re.compile(
    "img|images?|imag|dsc[nf]?|dcim|pict?|pics|pictures?|photos?|pxl|mvi|mov|gopr|dji|scan"
    "|screenshot|file|untitled|copy|jpe?g|png|gif|webp|tiff?|bmp|px|thumb(nail)?|small|medium|large"
    "|original|final|new|the|a|an|of|and"
)
"""Words that alone are no caption."""

_SETS = re.compile(
    "(non)?members?|train(ing)?|test(ing)?|val(id|idation)?|data(sets?)?|images?|pictures|photos"
    "|control|suspects|downloads|tmp"
)
"""Names of folders that say which set a picture is in, and not what it shows."""


def words_of(name: str) -> str:
    """The words of a file's name without its ending; empty where it has none that say anything.

    Numbers, hashes and what cameras write are left out.

    >>> words_of("RedBicycle_on-the+beach02"), words_of("IMG_1234"), words_of("a%20cat")
    ('Red Bicycle on the beach', '', 'a cat')
    >>> words_of("51234567890_0a1b2c3d4e_b"), words_of("HTMLPage"), words_of("dQw4w9WgXcQ")
    ('', 'HTML Page', '')
    """
    plain = _UUID.sub(" ", unicodedata.normalize("NFC", unquote(name)))
    runs = "".join(char if _is_in_words(char) else " " for char in plain).split()
    words = [word for run in runs if not _is_id(run) for word in _split(run)]
    says = [word for word in words if len(word) > 1 or not word.isascii()]
    is_empty = all(_SAYS_NOTHING.fullmatch(word.lower()) for word in says)
    return "" if is_empty else " ".join(words)


def _is_in_words(char: str) -> bool:
    # Vowels of Indian scripts are marks, not letters.
    return char.isalnum() or char in "'\u2019" or unicodedata.category(char)[0] == "M"


def _is_id(run: str) -> bool:
    """Whether a run of letters and digits was made by a machine."""
    numbers = _NUMBER.findall(run)
    if len(run) < _LEAST_ID_CHARS or not numbers:
        return False
    return len(numbers) > 1 or _HEX.fullmatch(run) is not None


def _split(run: str) -> list[str]:
    """The words in a run; single letters between digits are none."""
    words = (word.strip("'\u2019") for word in _CAMEL.sub(" ", _NUMBER.sub(" ", run)).split())
    return [
        word for word in words if len(word) > 1 or (word and (word == run or not run.isascii()))
    ]


class NameCaptions:
    """A `CaptionSource` that needs no other file.

    Args:
        with_folder: Whether the words of the folder's name come before those of the file's.
    """

    def __init__(self, *, with_folder: bool = False) -> None:
        self._with_folder = with_folder
        self._tally = Tally()

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        n = self._tally.count("none")
        notes = (f"File names: {count(n, 'picture')} whose name says nothing",) if n else ()
        names = "names of folders and files" if self._with_folder else "file names"
        return CaptionFacts(names, notes)

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`."""
        folder, name = os.path.split(path)
        words = [words_of(os.path.splitext(name)[0])]  # noqa: PTH122
        if self._with_folder:
            above = words_of(os.path.basename(folder))  # noqa: PTH119
            if not _SETS.fullmatch(above.replace(" ", "").lower()):
                words.insert(0, above)
        captions = clean_all(" ".join(filter(None, words)))
        if not captions:
            self._tally.add("none", path)
        return captions
