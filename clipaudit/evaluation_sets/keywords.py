"""Lists of keywords: those of the paper by name, or a person's own."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from clipaudit.errors import InputError, UsageError

LISTS = {
    "cifar10": ("airplane automobile bird cat deer dog frog horse ship truck"),
    "cifar100": (
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
        "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
        "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
        "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
        "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
        "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road "
        "rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
        "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
        "turtle wardrobe whale willow_tree wolf woman worm"
    ),
}
"""Class names of data sets, apart by spaces; an underscore is a space within a name."""

_BETWEEN_WORDS = re.compile(r"[\s_-]+")

MOST_CHARACTERS = 200
"""The longest query that every source takes."""


def read_keywords(text: str) -> tuple[str, ...]:
    """The keywords that an option's value stands for.

    Args:
        text: The name of one of the `LISTS`, a text file with a keyword a line (lines that start
            with # are comments), or keywords with commas between.

    Returns:
        Each once, upper and lower case alike, in the order given.

    Raises:
        UsageError: No keyword, or a word that looks like a misspelt name of a list.
        InputError: The file is not there, is no UTF-8 text, or holds no keyword.

    >>> read_keywords("cifar100")[:3]
    ('apple', 'aquarium fish', 'baby')
    >>> read_keywords("otter, snow leopard, Otter")
    ('otter', 'snow leopard')
    """
    if text.strip().lower() in LISTS:
        names = LISTS[text.strip().lower()].split()
        return tuple(name.replace("_", " ") for name in names)
    path = Path(text)
    if "," not in text and ("/" in text or path.suffix or path.exists()):
        return _from_file(path)
    words = text.split(",")
    if len(words) == 1 and (near := get_close_matches(text.lower(), LISTS, n=1, cutoff=0.75)):
        raise UsageError(
            f"there is no list of keywords {text!r}",
            f"Did you mean {near[0]}? The lists are {', '.join(LISTS)}. To look for the word "
            f"itself, write a comma behind it: {text + ','!r}.",
        )
    keywords = _clean(words)
    if not keywords:
        raise UsageError(
            "no keyword was given",
            f"Name a list ({', '.join(LISTS)}), a file, or words with commas between.",
        )
    return keywords


def _from_file(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"cannot read the keywords in {str(path)!r}: {error.strerror}",
            f"Name a text file with a keyword a line, or one of {', '.join(LISTS)}.",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(path)!r} is no text in UTF-8", "Save it as UTF-8, with a keyword a line."
        ) from error
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    keywords = _clean(lines)
    if not keywords:
        raise InputError(f"{str(path)!r} holds no keyword", "Write one keyword a line.")
    return keywords


def _clean(words: list[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for word in words:
        keyword = " ".join(unicodedata.normalize("NFC", word).split())
        if len(keyword) > MOST_CHARACTERS or not keyword.isprintable():
            raise UsageError(
                f"{keyword[:40]!r}… is no keyword",
                f"A keyword is one line of at most {MOST_CHARACTERS} characters.",
            )
        if keyword:
            found.setdefault(keyword.casefold(), keyword)
    return tuple(found.values())


@lru_cache(maxsize=4096)
def spelling(keyword: str) -> str:
    """A keyword as it is compared: case, and what stands between its words, do not matter.

    >>> spelling("Aquarium_Fish") == spelling("aquarium-fish") == "aquarium fish"
    True
    """
    return _BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFC", keyword).casefold()).strip()
