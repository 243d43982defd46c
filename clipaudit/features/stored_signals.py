"""Signals as the store keeps them: a row an image, packed into bytes and unpacked again."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.features.signals import Float32Array, Signals, n_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """What signals depend on, beside the picture's bytes.

    Attributes:
        encoder: The encoder's fingerprint.
        recipe: Name and version of the recipe of views.
        n_views: Views an image; 0 where the image itself is all that is read.
        seed: Seed of the views.
        encoder_name: Its spec, for people to read; not part of the key.
    """

    encoder: str
    recipe: str
    n_views: int
    seed: int
    encoder_name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSignals:
    """One image's row of `Signals`, and what its decoding had to do.

    Attributes:
        cosine: Shape (n_pairs,), float32; so are `pearson` and `euclidean`.
        norms: Shape (n_views,), float32.
        plain_norm: The norm of the image without augmentation.
        notes: As in `clipaudit.results.rows.Row`.
    """

    cosine: Float32Array
    pearson: Float32Array
    euclidean: Float32Array
    norms: Float32Array
    plain_norm: float
    notes: tuple[str, ...]


def stack_signals(
    image_ids: Sequence[str], stored: Mapping[str, StoredSignals], fresh: Iterable[Signals] = ()
) -> Signals:
    """`Signals` of the given images in the given order, from wherever each one is.

    Args:
        image_ids: At least one.
        stored: What `FeatureStore.get_many` gave.
        fresh: Batches that were just made; they win where an image is in both.

    Raises:
        KeyError: An image is in neither.
        ValueError: No image is asked for, so that the shapes are unknown.
    """
    if not image_ids:
        raise ValueError("needs at least one image")
    names = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
    rows = {
        image_id: tuple(getattr(row, name) for name in names) for image_id, row in stored.items()
    }
    for batch in fresh:
        columns = (getattr(batch, name) for name in names)
        rows.update(zip(batch.image_ids, zip(*columns, strict=True), strict=True))
    stacked = zip(*(rows[image_id] for image_id in image_ids), strict=True)
    return Signals(tuple(image_ids), *(np.asarray(column, dtype=np.float32) for column in stacked))


def pack(
    key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]]
) -> Iterator[tuple[str | bytes | int, ...]]:
    """Rows as they are stored: the image, its arrays, its notes and a checksum.

    Raises:
        ValueError: The arrays do not have the shapes that `key.n_views` asks for.
    """
    n_images = len(signals.image_ids)
    shapes = _row_shapes(key.n_views)
    arrays = (
        signals.cosine,
        signals.pearson,
        signals.euclidean,
        signals.norms,
        signals.plain_norm[:, None],
    )
    for array, length in zip(arrays, shapes, strict=True):
        if array.shape != (n_images, length):
            raise ValueError(f"expected shape {(n_images, length)}, got {array.shape}")
    for image_id, note, *row in zip(signals.image_ids, notes, *arrays, strict=True):
        blobs = [np.ascontiguousarray(values, dtype="<f4").tobytes() for values in row]
        text = json.dumps(list(note))
        yield (image_id, *blobs, text, checksum_of(image_id, blobs, text))


def unpack(
    n_views: int, image_id: str, blobs: Sequence[bytes], notes: str, checksum: int
) -> StoredSignals | None:
    """The row, or None where it is not what was written."""
    try:
        if checksum != checksum_of(image_id, blobs, notes):
            return None
        arrays = [np.frombuffer(blob, dtype="<f4").astype(np.float32) for blob in blobs]
        if tuple(map(len, arrays)) != _row_shapes(n_views):
            return None
        cosine, pearson, euclidean, norms, plain_norm = arrays
        return StoredSignals(
            cosine, pearson, euclidean, norms, float(plain_norm[0]), tuple(json.loads(notes))
        )
    except (TypeError, ValueError):
        return None


def without_views(signals: StoredSignals) -> StoredSignals:
    """What is left of a row where no views are read."""
    none = np.empty(0, dtype=np.float32)
    return StoredSignals(none, none, none, none, signals.plain_norm, signals.notes)


def _row_shapes(n_views: int) -> tuple[int, ...]:
    return (n_pairs(n_views),) * 3 + (n_views, 1)


def checksum_of(image_id: str, blobs: Sequence[bytes], text: str = "") -> int:
    """What tells whether a row is as it was written."""
    return zlib.crc32(b"\0".join((image_id.encode(), *blobs, text.encode())))
