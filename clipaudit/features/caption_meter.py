"""Captions → signals: what a text tower makes of them, beside the pictures of one encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import EncoderError
from clipaudit.features.caption_signals import Bank, CaptionEmbeddings, measure_captions
from clipaudit.features.stored_captions import CaptionKey, StoredCaptions, caption_id, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.encoders.text import TextTower
    from clipaudit.features.embeddings import Embeddings
    from clipaudit.features.signals import Float32Array

_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class TextReader:
    """A text tower that embeds no caption twice in a run.

    Attributes:
        tower: The tower.
        vectors: What it made of captions, by their SHA-256.
        cut: SHA-256 of those that were longer than its context.
    """

    tower: TextTower
    vectors: dict[str, Float32Array] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)

    def read(self, captions: Sequence[str]) -> None:
        """Embed the captions that are new.

        Raises:
            EncoderError: The tower does not run on one, or makes nothing of it that has a length.
        """
        new = {key: text for text in captions if (key := caption_id(text)) not in self.vectors}
        for start in range(0, len(new), _AT_ONCE):
            keys = [*new][start : start + _AT_ONCE]
            made = self.tower.embed_texts([new[key] for key in keys])
            lengths = np.linalg.norm(made.vectors.astype(np.float64), axis=-1)
            if not (np.isfinite(lengths) & (lengths > 0)).all():
                raise EncoderError(
                    f"the text tower of {self.tower.info.spec} makes an embedding of a caption "
                    "that is zero or not finite",
                    "Its weights are broken; pass --captions none to score the pictures alone.",
                )
            self.vectors.update(zip(keys, made.vectors, strict=True))
            self.cut.update(key for key, is_cut in zip(keys, made.is_cut, strict=True) if is_cut)


@dataclass(slots=True, eq=False)
class CaptionMeter:
    """How one encoder sees pictures beside their captions.

    Attributes:
        reader: Its text tower.
        make_bank: Embeds other pictures and captions by the same two towers, at the first use.
        key: Key of its signals in the store.
        n_cut: Captions so far that were longer than the context, of the store too.
    """

    reader: TextReader
    make_bank: Callable[[], Bank]
    key: CaptionKey
    n_cut: int = 0

    @classmethod
    def of(
        cls, encoder: EncoderInfo, reader: TextReader, bank: str, make_bank: Callable[[], Bank]
    ) -> CaptionMeter:
        """The meter of an encoder with this text tower.

        Args:
            encoder: The encoder.
            reader: Its text tower.
            bank: SHA-256 over the bank, before any encoder.
            make_bank: The bank as the two towers see it.
        """
        tower = reader.tower.info
        key = CaptionKey(encoder.fingerprint, tower.fingerprint, bank, encoder.spec)
        return cls(reader, cache(make_bank), key)

    def measure(
        self, embeddings: Embeddings, captions: Mapping[str, Sequence[str]]
    ) -> dict[str, StoredCaptions]:
        """Signals of pictures with captions, by image.

        Args:
            embeddings: Of the pictures; views are passed over.
            captions: At least one of each picture.

        Raises:
            EncoderError: As `TextReader.read`.
        """
        own = [captions[image_id] for image_id in embeddings.image_ids]
        self.reader.read([text for texts in own for text in texts])
        ids = tuple(tuple(sorted(set(map(caption_id, texts)))) for texts in own)
        tower = self.reader.tower.info
        signals = measure_captions(
            embeddings,
            CaptionEmbeddings(ids, self.reader.vectors),
            self.make_bank(),
            tower.loss,
            tower.scale,
            tower.bias,
        )
        n_cut = [sum(key in self.reader.cut for key in keys) for keys in ids]
        return {
            image_id: StoredCaptions(values, n)
            for (image_id, values), n in zip(rows_of(signals), n_cut, strict=True)
        }
