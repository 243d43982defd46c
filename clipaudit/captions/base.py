"""What a source of captions is, and what a run says of the one that it had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CaptionFacts:
    """Where the captions of a run came from, and what was wrong with some.

    Attributes:
        source: In words, for people: `metadata.csv`, `sidecar files`, `file names`.
        notes: What a reader must know: doubled rows, rows without a picture, another encoding;
            a sentence each, with its count.
    """

    source: str
    notes: tuple[str, ...] = ()


class CaptionSource(Protocol):
    """Where the captions of pictures come from. Threads may share it."""

    @property
    def facts(self) -> CaptionFacts:
        """What is known of it; counts hold for what was asked up to now."""

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """The captions of a picture, without empty ones; () where it has none.

        Never raises for what stands in a file: a caption that cannot be read is no caption, and
        the facts count it.

        Args:
            path: Path of its file, as it was found.
            data: Bytes of the file.
        """
