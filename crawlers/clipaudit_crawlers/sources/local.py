"""What the sources of this machine's own files share: paths, and spellings of keywords."""

from __future__ import annotations

import os
import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from clipaudit.errors import SourceError

_BETWEEN_WORDS = re.compile(r"[\s_-]+")


@lru_cache(maxsize=4096)
def spelling(keyword: str) -> str:
    """A keyword as it is compared: case, and what stands between its words, do not matter.

    >>> spelling("Aquarium_Fish") == spelling("aquarium-fish") == "aquarium fish"
    True
    """
    return _BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFC", keyword).casefold()).strip()


def existing_path(name: str, argument: str, what: str) -> Path:
    """The path behind the colon, absolute and without links.

    Args:
        name: Of the source.
        argument: What stands behind the colon; `~` is the home folder.
        what: What has to be there: FILE or FOLDER.

    Raises:
        SourceError: Nothing stands there, or what does is not there.
    """
    if not argument.strip():
        raise SourceError(
            f"{name} does not say which {what.lower()}", f"Write --source {name}:{what}."
        )
    try:
        return Path(argument).expanduser().resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, ~ of nobody, links in a circle
        raise SourceError(
            f"{name} cannot use {argument!r}: {reason(error)}",
            f"Look at the path behind --source {name}:, and at what it is relative to.",
        ) from error


def reason(error: Exception) -> str:
    """Why the system refuses, without the path, which the sentence names already."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
