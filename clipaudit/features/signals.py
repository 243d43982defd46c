"""Stage 4: embeddings → pairwise similarities and norms.

Arrays in, arrays out: no torch, no files, no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from clipaudit.features.caption_signals import (
    COLUMNS,
    CaptionSignals,
    average_captions,
    concatenate_captions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.features.embeddings import Embeddings

Float32Array = npt.NDArray[np.float32]
Similarity = Literal["cosine", "pearson", "euclidean"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """All that later stages may know of how an encoder sees each image.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; n_images of them.
        cosine: Shape (n_images, n_views * (n_views - 1) / 2), float32, in [-1, 1];
            pairs of views in the order (0, 1), (0, 2), …, (1, 2), …
        pearson: Same shape, in [-1, 1]: correlation of the two embeddings.
        euclidean: Same shape, in [-2, 0]: minus the distance of the two embeddings, each
            divided by its length first. As they are, members' longer embeddings would lie
            farther apart, which undoes what the distance is there to show.
        norms: Shape (n_images, n_views), float32, above 0: Euclidean length of each embedding.
        plain_norm: Shape (n_images,): the same of the image without augmentation.
        captions: What it makes of the images with their captions; None where none were asked for.
    """

    image_ids: tuple[str, ...]
    cosine: Float32Array
    pearson: Float32Array
    euclidean: Float32Array
    norms: Float32Array
    plain_norm: Float32Array
    captions: CaptionSignals | None = field(default=None, kw_only=True)

    def pairs(self, similarity: Similarity) -> Float32Array:
        """The pairwise similarities of one kind, shape (n_images, n_pairs)."""
        by_name = {"cosine": self.cosine, "pearson": self.pearson, "euclidean": self.euclidean}
        return by_name[similarity]


def n_pairs(n_views: int) -> int:
    """How many unordered pairs n views have.

    >>> n_pairs(10)
    45
    """
    return n_views * (n_views - 1) // 2


def measure(batch: Embeddings) -> Signals:
    """Every pairwise similarity and every norm, image by image; without views the norm alone.

    A contrastively trained encoder maps the views of an image that it was trained on closer
    together than those of another, and makes its embeddings longer.
    Source: EncoderMI (Liu et al., CCS 2021), membership features and Table 3; for the norm,
    Sun et al., "When Better Features Mean Greater Risks" (2025).

    Sums run in float64, so results do not depend on how images are batched.

    Raises:
        ValueError: A single view, or an embedding that is zero, constant or not finite.
    """
    views = batch.views.astype(np.float64)
    n_views = views.shape[1]
    if n_views == 1:
        raise ValueError(f"a pair needs two views, got {n_views}")
    first, second = np.triu_indices(n_views, k=1)

    plain = batch.plain.astype(np.float64)
    if not (np.isfinite(views).all() and np.isfinite(plain).all()):
        raise ValueError("every embedding must be finite")
    norms, plain_norm = np.linalg.norm(views, axis=-1), np.linalg.norm(plain, axis=-1)
    centred = views - views.mean(axis=-1, keepdims=True)
    spread = np.linalg.norm(centred, axis=-1)
    if not all(lengths.all() for lengths in (norms, plain_norm, spread)):
        raise ValueError("every embedding must be non-zero and not constant")

    def cosine(unit: npt.NDArray[np.float64]) -> Float32Array:
        products = (unit @ unit.swapaxes(1, 2))[:, first, second]
        return np.clip(products, -1, 1).astype(np.float32)

    unit = views / norms[..., None]
    distances = np.linalg.norm(unit[:, first] - unit[:, second], axis=-1)
    return Signals(
        image_ids=batch.image_ids,
        cosine=cosine(unit),
        pearson=cosine(centred / spread[..., None]),
        euclidean=-np.minimum(distances, 2).astype(np.float32),
        norms=norms.astype(np.float32),
        plain_norm=plain_norm.astype(np.float32),
    )


def first_views(signals: Signals, n_views: int) -> Signals:
    """What the first views alone would have given.

    Raises:
        ValueError: There are not as many views, or fewer than two are asked for.
    """
    n_there = signals.norms.shape[1]
    if not 2 <= n_views <= n_there:
        raise ValueError(f"cannot take {n_views} of {n_there} views")
    first, second = np.triu_indices(n_there, k=1)
    within = np.flatnonzero((first < n_views) & (second < n_views))
    return replace(
        signals,
        cosine=signals.cosine[:, within],
        pearson=signals.pearson[:, within],
        euclidean=signals.euclidean[:, within],
        norms=signals.norms[:, :n_views],
    )


def select(signals: Signals, image_ids: Sequence[str]) -> Signals:
    """The signals of some of the images, in the order given.

    Raises:
        KeyError: One is not among them.
    """
    places = {image_id: place for place, image_id in enumerate(signals.image_ids)}
    rows = [places[image_id] for image_id in image_ids]
    columns = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
    captions = signals.captions
    return Signals(
        tuple(image_ids),
        *(getattr(signals, name)[rows] for name in columns),
        captions=captions
        and CaptionSignals(tuple(image_ids), *(getattr(captions, name)[rows] for name in COLUMNS)),
    )


def average(several: Sequence[Signals]) -> Signals:
    """What several encoders make of the same views, as of one: in the role of a reference.

    Similarities are averaged, and lengths by their logarithm, so that encoders of another scale
    weigh alike.

    Raises:
        ValueError: There is none, or they saw other images or other numbers of views.
    """
    if len({(signals.image_ids, signals.norms.shape) for signals in several}) != 1:
        raise ValueError("needs one encoder or more, with the same images and views")

    if len(several) == 1:
        return several[0]

    def mean(arrays: Sequence[Float32Array]) -> npt.NDArray[np.float64]:
        means: npt.NDArray[np.float64] = np.stack(arrays).mean(axis=0, dtype=np.float64)
        return means

    lengths = [
        np.exp(mean([np.log(getattr(signals, name)) for signals in several]))
        for name in ("norms", "plain_norm")
    ]
    pairs = [mean([signals.pairs(name) for signals in several]) for name in SIMILARITIES]
    columns = (column.astype(np.float32) for column in (*pairs, *lengths))
    captions = [signals.captions for signals in several if signals.captions]
    return Signals(
        several[0].image_ids,
        *columns,
        captions=average_captions(captions) if len(captions) == len(several) else None,
    )


def concatenate(batches: Sequence[Signals]) -> Signals:
    """Several batches as one, in the order given.

    Raises:
        ValueError: No batch, or batches with different numbers of views.
    """
    columns = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
    captions = [batch.captions for batch in batches if batch.captions]
    return Signals(
        tuple(image_id for batch in batches for image_id in batch.image_ids),
        *(np.concatenate([getattr(batch, name) for batch in batches]) for name in columns),
        captions=concatenate_captions(captions) if len(captions) == len(batches) else None,
    )
