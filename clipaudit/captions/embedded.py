"""Captions from the picture's own file: what its metadata say that it shows."""

from __future__ import annotations

import os
import re

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.blocks import words_in
from clipaudit.captions.cleaning import Tally, clean_all
from clipaudit.captions.names import words_of
from clipaudit.text.numbers import count

_CAMERA = re.compile(
    "olympus|minolta|konica|kodak|samsung|sony|nikon|canon|casio|pentax|ricoh|fuji(film)?|default"
    "|digital|still|camera|dsc|csc|dcf|dcim|exif|jpe?g|picture|media|dji|gopr|optio"
)
"""Of such words alone is what cameras write where a description belongs: OLYMPUS DIGITAL CAMERA."""

_PROGRAM = re.compile(
    r"(created|made|generated|processed|edited) (with|by|in|using) ", re.IGNORECASE
)


class EmbeddedCaptions:
    """A `CaptionSource` that reads IPTC, XMP, EXIF and the texts of PNG files."""

    def __init__(self) -> None:
        self._tally = Tally()

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        notes = []
        if n := self._tally.count("camera"):
            notes.append(
                f"Embedded captions: {count(n, 'picture')} with a description that a camera or a "
                "program wrote, which is not used"
            )
        if n := self._tally.count("none"):
            notes.append(f"Embedded captions: {count(n, 'picture')} without one")
        return CaptionFacts("embedded metadata", tuple(notes))

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`; descriptions come before titles."""
        said = words_in(data)
        texts = clean_all([text.replace("\0", "") for text in (*said.descriptions, *said.titles)])
        name = os.path.basename(path)  # noqa: PTH119
        captions = tuple(text for text in texts if not _is_empty_talk(text, name))
        if len(captions) < len(texts):
            self._tally.add("camera", path)
        if not captions:
            self._tally.add("none", path)
        return captions


def _is_empty_talk(text: str, name: str) -> bool:
    """Whether a text is the name of a file, or what a camera wrote."""
    is_name = text.lower() in {name.lower(), os.path.splitext(name)[0].lower()}  # noqa: PTH122
    words = words_of(text[:200]).lower().split()
    is_camera = all(map(_CAMERA.fullmatch, words))
    return is_name or is_camera or _PROGRAM.match(text) is not None
