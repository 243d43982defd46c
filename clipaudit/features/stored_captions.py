"""Caption signals as the store keeps them: a row a picture and set of captions, without a word."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.features.caption_signals import COLUMNS, CaptionSignals
from clipaudit.features.stored_signals import checksum_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipaudit.features.signals import Float32Array


@dataclass(frozen=True, slots=True)
class CaptionKey:
    """What caption signals depend on, beside the picture and its captions.

    Attributes:
        encoder: Fingerprint of the picture tower.
        tower: Fingerprint of the text tower.
        bank: SHA-256 of the bank.
        encoder_name: Its spec, for people to read; not part of the key.
    """

    encoder: str
    tower: str
    bank: str
    encoder_name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class StoredCaptions:
    """One picture's row of `CaptionSignals`.

    Attributes:
        values: In the order of `COLUMNS`, float32.
        n_cut: Captions of it that were longer than the context.
    """

    values: Float32Array
    n_cut: int


def caption_id(caption: str) -> str:
    """SHA-256 of a caption, in hex."""
    return sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()


def captions_id(captions: Sequence[str]) -> str:
    """SHA-256 over all captions of a picture, whatever their order: all that is kept of them."""
    return sha256("\n".join(sorted(map(caption_id, captions))).encode()).hexdigest()


def rows_of(signals: CaptionSignals) -> Iterator[tuple[str, Float32Array]]:
    """Each image and its numbers, in the order of `COLUMNS`."""
    columns = np.stack([getattr(signals, name) for name in COLUMNS], axis=1)
    yield from zip(signals.image_ids, columns.astype(np.float32), strict=True)


def stack_captions(image_ids: Sequence[str], rows: Mapping[str, StoredCaptions]) -> CaptionSignals:
    """`CaptionSignals` of the given images in the given order; NaN for those without a row."""
    missing = np.full(len(COLUMNS), np.nan, dtype=np.float32)
    values = [rows[image_id].values if image_id in rows else missing for image_id in image_ids]
    return CaptionSignals(tuple(image_ids), *np.array(values, dtype=np.float32).T)


def pack_captions(
    rows: Mapping[str, StoredCaptions], captions: Mapping[str, str]
) -> Iterator[tuple[str | bytes | int, ...]]:
    """Rows as they are stored: image, hash of its captions, numbers and a checksum.

    Args:
        rows: By image.
        captions: `captions_id` of each image.
    """
    for image_id, row in rows.items():
        blob = np.append(row.values, np.float32(row.n_cut)).astype("<f4").tobytes()
        yield image_id, captions[image_id], blob, checksum_of(image_id, [blob], captions[image_id])


def unpack_captions(
    image_id: str, captions: str, blob: bytes, checksum: int
) -> StoredCaptions | None:
    """The row, or None where it is not what was written."""
    try:
        if checksum != checksum_of(image_id, [blob], captions):
            return None
        values = np.frombuffer(blob, dtype="<f4").astype(np.float32)
    except (TypeError, ValueError):
        return None
    if len(values) != len(COLUMNS) + 1:
        return None
    return StoredCaptions(values[:-1], int(values[-1]))
