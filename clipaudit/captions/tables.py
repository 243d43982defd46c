"""Captions from a file: a row a picture, matched by the path of its file."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.cleaning import Tally
from clipaudit.captions.matching import PathMatcher, absolute
from clipaudit.captions.rows import CAPTION_COLUMNS, read_rows
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class TableCaptions:
    """A `CaptionSource` that reads a CSV, TSV, JSON lines or Parquet file once.

    Args:
        path: The file; relative names in it start in its folder.
        pictures: All pictures that are scored; see `PathMatcher`.
        columns: See `read_rows`.

    Raises:
        InputError: As `read_rows`.
    """

    def __init__(
        self,
        path: Path,
        pictures: Callable[[], Iterable[str]],
        columns: tuple[str, ...] = CAPTION_COLUMNS,
    ) -> None:
        rows = read_rows(path, columns)
        folder = os.path.dirname(absolute(str(path)))  # noqa: PTH120
        self._name = shown(path.name)
        self._captions: dict[str, tuple[str, ...]] = {}
        for name, texts in rows.captions.items():
            row = absolute(name, folder)
            before = self._captions.get(row, ())
            rows.n_repeated += row in self._captions
            self._captions[row] = tuple(dict.fromkeys((*before, *texts)))
        self._row_notes = rows.notes()
        self._matcher = PathMatcher(self._captions, pictures)
        self._tally = Tally()
        self._lock = threading.Lock()

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        notes = [*self._row_notes]
        if n := self._tally.count("loose"):
            notes.append(
                f"{count(n, 'picture')} matched although case, separators, folder or ending differ"
            )
        if n := self._tally.count("ambiguous"):
            notes.append(f"{count(n, 'picture')} without a caption: several rows or files fit")
        if n := self._tally.count("none"):
            notes.append(f"{count(n, 'picture')} without a row")
        n_unused = len(self._captions) - self._tally.count("row")
        if n_unused:
            notes.append(f"{count(n_unused, 'row')} without a picture")
        return CaptionFacts(self._name, tuple(f"{self._name}: {note}" for note in notes))

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`."""
        with self._lock:  # its indexes are made at the first need
            match = self._matcher.find(path)
        self._tally.add(match.how, path)
        if match.row is None:
            return ()
        self._tally.add("row", match.row)
        return self._captions[match.row]
