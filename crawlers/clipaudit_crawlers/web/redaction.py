"""Keys that nobody may read, and what takes their place."""

from __future__ import annotations

import re
import secrets
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

STRUCK = "***"

SHORTEST = 4
"""A value with fewer characters is no key, and striking it out would tear words apart."""


class Keys:
    """Every key that this process was given.

    For people and files, `hidden` strikes them out for good. For the libraries below us, `marked`
    puts marks in their place, and only the socket turns these back (`wire.py`): what requests and
    urllib3 log or raise cannot hold a key, since they never see one.

    A key is found as it was typed and in any percent-encoding, in whole or in part. Safe to use
    from several threads.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = Lock()
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._tag = secrets.token_hex(4)  # so that nobody can ask for a key to be put somewhere
        self._mark = re.compile(rf"~{self._tag}\.(\d+)~")
        self._marked: list[str] = []
        self.add(*values)

    def __repr__(self) -> str:
        return f"<{len(self._values)} keys>"

    def add(self, *values: str) -> None:
        """Know these too from now on."""
        keys = {value for value in values if len(value) >= SHORTEST}
        with self._lock:
            if keys <= self._values:
                return
            self._values |= keys
            # The longest first: one key may begin like another.
            longest_first = sorted(self._values, key=lambda value: (-len(value), value))
            spellings = "|".join(map(_spellings, longest_first))
            self._pattern = re.compile(spellings) if spellings else None

    def hidden(self, text: str) -> str:
        """The text with every key struck out."""
        return self._pattern.sub(STRUCK, text) if self._pattern else text

    def hidden_in(self, answer: Any) -> Any:
        """Parsed JSON with every key struck out of its strings, names and numbers."""
        if isinstance(answer, str):
            return self.hidden(answer)
        if isinstance(answer, list):
            return [self.hidden_in(item) for item in answer]
        if isinstance(answer, dict):
            return {self.hidden(name): self.hidden_in(item) for name, item in answer.items()}
        is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
        return STRUCK if is_number and str(answer) in self._values else answer

    def marked(self, text: str) -> str:
        """The text with a mark in the place of every key."""
        return self._pattern.sub(self._mark_of, text) if self._pattern else text

    def holds_mark(self, text: str) -> bool:
        """Whether a key stood in a text that was `marked`."""
        return self._mark.search(text) is not None

    def revealed(self, text: str) -> str:
        """The text as it was before it was `marked`."""
        return self._mark.sub(lambda mark: self._marked[int(mark[1])], text)

    def _mark_of(self, found: re.Match[str]) -> str:
        with self._lock:
            if found[0] not in self._marked:
                self._marked.append(found[0])
            return f"~{self._tag}.{self._marked.index(found[0])}~"


def _spellings(value: str) -> str:
    """A pattern for every way to write a value in a URL, a query, or a URL within a query."""
    return "".join(map(_spellings_of_one, value))


def _spellings_of_one(character: str) -> str:
    encoded = character.encode("utf-8", "surrogatepass")
    quoted = "".join(rf"%(?:25)*(?i:{byte:02x})" for byte in encoded)
    plus = r"|\+" if character == " " else ""
    return f"(?:{re.escape(character)}|{quoted}{plus})"
