"""Captions of pictures → numbers that say how they are written, and which words they hold.

Neither the encoder nor the pictures have any part in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.pictures.image_statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.statistics.metrics import FloatArray

_LONGEST = 2_000
"""Characters of one caption that are read; what follows tells no more of how it is written."""
_MOST_CAPTIONS = 10
_MOST_WORDS = 300
"""Words that are looked at one by one: the most frequent ones, so that chance has fewer trials."""
_LONGEST_WORD = 30

_WORD = re.compile(r"\w+")
_YEAR = re.compile(r"(?<!\d)(?:1[89]|20)\d\d(?!\d)")
_DATE = re.compile(
    r"(?<!\d)\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?!\d)|"
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d{1,4}\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://|www\.|\S@\S|[@#]\w")

_STOP_WORDS = {
    "English": "the of and a in to is with on for at by from an this are it as",
    "German": "der die das und ein eine mit von im auf ist den zu dem des für am nicht",
    "French": "le la les de des du et un une dans avec sur est au pour en par qui",
    "Spanish": "el los las de del y un una en con por para es al que su se como",
    "Italian": "il lo gli di del della e un una in con per è al che su dal nel",
    "Portuguese": "o os as de do da e um uma em com por para é ao que no na",
    "Dutch": "de het een en van in met op is te voor dat zijn aan door bij uit niet",
}
_STOPS = {language: frozenset(words.split()) for language, words in _STOP_WORDS.items()}

_SHARE = "share, 0 to 1"
CAPTION_STATISTICS = (
    Statistic("is_missing", "whether there is a caption at all", "0 or 1"),
    Statistic("capital_share", "how many letters are capitals", _SHARE),
    Statistic("name_share", "how many words begin with a capital, as names do", _SHARE),
    Statistic("shout_share", "how many words are all in capitals", _SHARE),
    Statistic("begins_with_capital", "whether captions begin with a capital", _SHARE),
    Statistic("has_year", "whether a year is named", "0 or 1"),
    Statistic("latest_year", "the latest year that is named", "year; 0 without one"),
    Statistic("has_date", "whether a date is named", "0 or 1"),
    Statistic("digit_share", "how many characters are digits", _SHARE),
    Statistic("punctuation_share", "how many characters are punctuation", _SHARE),
    Statistic("underscore_share", "how many characters are underscores", _SHARE),
    Statistic("ends_with_stop", "whether captions end with a full stop", _SHARE),
    Statistic("has_line_break", "whether captions run over several lines", "0 or 1"),
    Statistic("has_address", "whether addresses or tags stand in them", "0 or 1"),
    Statistic("accent_share", "how many letters have accents", _SHARE),
    Statistic("other_script_share", "how many letters are not Latin", _SHARE),
    *(
        Statistic(f"stops_{language.lower()}", f"how many words are {language}", _SHARE)
        for language in _STOPS
    ),
    Statistic("n_captions", "the number of captions", "number"),
    Statistic("n_characters", "the length of the captions", "log of characters"),
    Statistic("n_words", "the number of words", "log of words"),
    Statistic("word_length", "the length of the words", "characters"),
    Statistic("repeated_share", "how many words are repeated", _SHARE),
)
"""The columns of `caption_statistics`; of those that tell as much, the first is named."""


def clipped(captions: Sequence[str]) -> list[str]:
    """What is read of the captions of a picture, without lone surrogates.

    >>> clipped(["a cat", "x" * 5000])[1] == "x" * 2000
    True
    """
    return [
        caption[:_LONGEST].encode(errors="replace").decode()
        for caption in captions[:_MOST_CAPTIONS]
    ]


def caption_statistics(captions: Sequence[str]) -> FloatArray:
    """How the captions of one picture are written, shape (len(CAPTION_STATISTICS),).

    A picture without a caption has zeros, but for the first.
    """
    texts = [text for text in clipped(captions) if text.strip()]
    if not texts:
        return np.array([1.0] + [0.0] * (len(CAPTION_STATISTICS) - 1))
    whole = "\n".join(texts)
    words = _WORD.findall(whole)
    letters = [letter for letter in whole if letter.isalpha()]
    lower = [word.lower() for word in words]
    later = [word for text in texts for word in _WORD.findall(text)[1:] if word[0].isalpha()]
    years = [int(year) for year in _YEAR.findall(whole)]

    def share(n: int, of: Sequence[object]) -> float:
        return n / max(1, len(of))

    return np.array(
        [
            0.0,
            share(sum(letter.isupper() for letter in letters), letters),
            share(sum(word[0].isupper() and not word.isupper() for word in later), later),
            share(sum(word.isupper() and len(word) > 1 for word in words), words),
            share(sum(text.lstrip()[0].isupper() for text in texts), texts),
            bool(years),
            max(years, default=0),
            bool(_DATE.search(whole)),
            share(sum(letter.isdecimal() for letter in whole), whole),
            share(sum(unicodedata.category(letter)[0] == "P" for letter in whole), whole),
            share(whole.count("_"), whole),
            share(sum(text.rstrip().endswith(".") for text in texts), texts),
            any("\n" in text.strip() for text in texts),
            bool(_ADDRESS.search(whole)),
            share(sum(_is_accented(letter) for letter in letters), letters),
            share(sum(ord(letter) > _LAST_LATIN for letter in letters), letters),
            *(share(sum(word in stops for word in lower), lower) for stops in _STOPS.values()),
            len(texts),
            np.log(len(whole)),
            np.log1p(len(words)),
            share(sum(map(len, words)), words),
            1 - share(len(set(lower)), lower),
        ],
        dtype=np.float64,
    )


_LAST_LATIN = 0x24F


def _is_accented(letter: str) -> bool:
    return 0x7F < ord(letter) <= _LAST_LATIN


def words_present(captions: Sequence[Sequence[str]]) -> tuple[FloatArray, tuple[Statistic, ...]]:
    """Which of the most frequent words each picture's captions hold: shape (n, n_words), 0 or 1.

    Words that fewer than two pictures have, or all, are left out.

    >>> values, words = words_present([["A cat"], ["the cat", "Cat!"], ["a dog"]])
    >>> [word.words for word in words], values.tolist()
    (['the word “a”', 'the word “cat”'], [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    """
    held = [
        {word.lower()[:_LONGEST_WORD] for text in clipped(texts) for word in _WORD.findall(text)}
        for texts in captions
    ]
    often = Counter(word for words in held for word in words)
    frequent = [word for word, n in often.items() if 2 <= n < len(captions)]
    chosen = sorted(frequent, key=lambda word: (-often[word], word))[:_MOST_WORDS]
    values = np.array([[word in words for word in chosen] for words in held], dtype=np.float64)
    statistics = tuple(Statistic(f"word {word}", f"the word “{word}”", "0 or 1") for word in chosen)
    return values.reshape(len(captions), len(chosen)), statistics
