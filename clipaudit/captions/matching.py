"""Which rows of a caption file are about a picture: paths that may be written in other ways.

A row may give a path from the folder of its file, an absolute one, one of another machine, or the
bare name; and case, separators and Unicode normal forms differ from system to system. What is
exact goes first. Anything else has to be the only one that fits, on both sides.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

How = Literal["exact", "loose", "ambiguous", "none"]
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for a picture.

    Attributes:
        how: `exact`: the same path; `loose`: the only row and the only picture that fit each
            other; `ambiguous`: several rows, or several pictures, fit alike.
        row: Path of the row, as it was given to the matcher; None where there is none.
    """

    how: How
    row: str | None = None


class PathMatcher:
    """Finds the row of a picture.

    Args:
        rows: Paths of the rows, as `absolute` gives them.
        pictures: All pictures that are scored, as paths; asked once, and only where a row has to
            be found by less than its whole path.
    """

    def __init__(self, rows: Collection[str], pictures: Callable[[], Iterable[str]]) -> None:
        self._rows = rows
        self._ask_pictures = pictures

    def find(self, picture: str) -> Match:
        """The row of a picture, by its path.

        Of the rows with the name of its file (or that name without its ending, where they have
        none) the one that agrees in most folders above it is taken. It is not, where another row
        or another picture agrees as well; nor where it is exactly that of another picture, of
        those that are scored or of any other that is there.
        """
        path = absolute(picture)
        if path in self._rows:
            return Match("exact", path)
        parts = split_loosely(path)
        if parts[-1] in self._by_name:
            wanted = parts
        else:
            wanted = (*parts[:-1], os.path.splitext(parts[-1])[0])  # noqa: PTH122
        lengths = {
            row: _common_tail(split_loosely(row), wanted)
            for row in self._by_name.get(wanted[-1], ())
            if row not in self._pictures and not _is_another_file(row, path)
        }
        if not lengths:
            return Match("none")
        best = max(lengths.values())
        found = [row for row, length in lengths.items() if length == best]
        tail = parts[-best:]
        rivals = (
            other
            for other in self._pictures_by_name.get(parts[-1], ())
            if other != path and split_loosely(other)[-best:] == tail
        )
        if len(found) > 1 or any(rivals):
            return Match("ambiguous")
        return Match("loose", found[0])

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _index(self._rows)

    @cached_property
    def _pictures(self) -> frozenset[str]:
        return frozenset(map(absolute, self._ask_pictures()))

    @cached_property
    def _pictures_by_name(self) -> dict[str, list[str]]:
        return _index(self._pictures)


def _is_another_file(row: str, picture: str) -> bool:
    """Whether a row names a file that is there, and is not the picture in another spelling."""
    try:
        return os.path.exists(row) and not os.path.samefile(row, picture)  # noqa: PTH110, PTH121
    except (OSError, ValueError):
        return False


def absolute(path: str, folder: str = "") -> str:
    """The path from the root; a relative one starts in a folder. Links stay links."""
    return os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118


def split_loosely(path: str) -> Parts:
    r"""The names in a path, alike for all ways to write it; never empty.

    >>> split_loosely("/Data\\x\\..\\Zoe\u0308/A.JPG") == split_loosely("/data/zoë/a.jpg")
    True
    """
    parts: list[str] = []
    for name in _fold(path).replace("\\", "/").split("/"):
        if name == "..":
            parts[-1:] = []
        elif name not in {"", "."}:
            parts.append(name)
    return tuple(parts) or ("",)


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _index(paths: Iterable[str]) -> dict[str, list[str]]:
    """Name of the file, as `split_loosely` has it → all paths that end in it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[_fold(path.replace("\\", "/").rpartition("/")[2])].append(path)
    return dict(found)


def _common_tail(first: Parts, second: Parts) -> int:
    """How many names at the end are the same."""
    n_same = 0
    for ours, theirs in zip(reversed(first), reversed(second), strict=False):
        if ours != theirs:
            break
        n_same += 1
    return n_same
