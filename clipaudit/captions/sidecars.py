"""Captions from a file beside each picture, as img2dataset, webdataset and trainers write them.

What is beside a picture in a Parquet file are the other columns of its row.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.cleaning import (
    ENCODING_NAMES,
    MOST_BYTES,
    Tally,
    clean_all,
    encoding_of,
    load_leniently,
)
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.parquet_rows import row_text
from clipaudit.pictures.places import ParquetCell
from clipaudit.pictures.reading import archived_place, read_file
from clipaudit.pictures.remote import is_beside
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDINGS = (".txt", ".caption", ".json")
"""Of two beside one picture the first counts: img2dataset's JSON repeats the text."""

CAPTION_KEYS = ("caption", "captions", "text", "title")
"""What JSON may call a caption, in small letters; the first that holds one counts."""

_LIMITS = Limits(max_file_bytes=MOST_BYTES)
_FAULTS = {
    "empty": "without any text",
    "too_large": "of more than a million bytes",
    "binary": "with binary data, not text",
    "json": "without a JSON object, or cut off",
    "link": "not read, as links may lead anywhere",
    "unreadable": "not readable",
}


class SidecarCaptions:
    """A `CaptionSource` that reads `a.txt`, `a.caption` or `a.json` beside `a.jpg`.

    `a.jpg.txt` and the like will do, too, and so will files beside a picture in an archive, and
    the columns beside it in a Parquet file.
    """

    def __init__(
        self, endings: tuple[str, ...] = ENDINGS, keys: Sequence[str] = CAPTION_KEYS
    ) -> None:
        """A source that reads files with some endings, and of JSON the first of some keys."""
        self._endings = endings
        self._keys = keys
        self._tally = Tally()

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        notes = [
            f"Sidecar files: {count(n, 'file')} {text}"
            for fault, text in _FAULTS.items()
            if (n := self._tally.count(fault))
        ]
        notes += [
            f"Sidecar files: {count(n, 'file')} read as {name}"
            for name in dict.fromkeys(ENCODING_NAMES.values())
            if (n := self._tally.count(name))
        ]
        if n := self._tally.count("none"):
            notes.append(f"Sidecar files: {count(n, 'picture')} without one")
        if n := self._tally.count("row"):
            notes.append(f"Parquet files: {count(n, 'row')} without a caption")
        is_of_columns = bool(self._tally.count("columns"))
        name = "columns of Parquet files" if is_of_columns else "sidecar files"
        return CaptionFacts(name, tuple(notes))

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`."""
        place = archived_place(path)
        if place and isinstance(place.inside, ParquetCell):
            captions = clean_all(row_text(place, self._keys))
            if captions:
                self._tally.add("columns", os.fsdecode(place.archive))
            else:
                self._tally.add("row", path)
            return captions
        is_there = False
        for sidecar in _candidates(path):
            if os.path.lexists(sidecar) or is_beside(sidecar) or archived_place(sidecar):
                is_there = True
                if captions := self._read(sidecar, path):
                    return captions
        if not is_there and not path.lower().endswith(ENDINGS):  # such a file is no picture
            self._tally.add("none", path)
        return ()

    def _read(self, sidecar: str, picture: str) -> tuple[str, ...]:
        """The captions in a file that is there; what keeps it from having any is counted."""
        if not sidecar.endswith(self._endings):
            return ()
        if os.path.islink(sidecar) and not os.path.islink(picture):  # noqa: PTH114
            self._tally.add("link", sidecar)  # it may lead to anything of the user's
            return ()
        try:
            data = read_file(sidecar, _LIMITS)
        except BadImage as bad:
            self._tally.add(bad.reason if bad.reason in _FAULTS else "unreadable", sidecar)
            return ()
        encoding = encoding_of(data)
        if encoding is None:
            self._tally.add("binary", sidecar)
            return ()
        if encoding in ENCODING_NAMES:
            self._tally.add(ENCODING_NAMES[encoding], sidecar)
        text = data.decode(encoding, "replace")
        if sidecar.endswith(".json"):
            return self._in_json(text, sidecar, picture)
        captions = clean_all(text)
        if not captions:
            self._tally.add("empty", sidecar)
        return captions

    def _in_json(self, text: str, sidecar: str, picture: str) -> tuple[str, ...]:
        plain = load_leniently(text)
        if not isinstance(plain, dict):
            self._tally.add("json", sidecar)
            return ()
        cells = {name.lower(): value for name, value in plain.items()}
        name = os.path.basename(picture)  # noqa: PTH119
        if cells.get("title") in {name, _stem(name)}:
            del cells["title"]
        return next(filter(None, (clean_all(cells.get(key)) for key in self._keys)), ())


def _candidates(picture: str) -> list[str]:
    bases = dict.fromkeys((_stem(picture), picture))
    if archived_place(picture):  # webdataset's key ends at the first dot
        folder, name = os.path.split(picture)
        bases[os.path.join(folder, name.partition(".")[0])] = None  # noqa: PTH118
    found = (base + ending for base in bases for ending in ENDINGS)
    return [path for path in found if path != picture]


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122
