"""Stage 4 for captions: embeddings of pictures and of their captions → signals.

Arrays in, arrays out: no torch, no files, no randomness. An encoder that was trained on pictures
with their captions gives its members away by how well it knows the two to belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.features.embeddings import Embeddings, Float32Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipaudit.encoders.text import PairLoss
Float64Array = npt.NDArray[np.float64]

COLUMNS = ("cosine", "view_cosine", "loss", "gradient", "text_norm", "nearest")
"""Fields of `CaptionSignals` that hold a number a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class CaptionEmbeddings:
    """The captions of some pictures, and what a text tower made of them.

    Attributes:
        caption_ids: SHA-256 of each caption of each image, in hex; () for an image without one.
        vectors: Vector of each caption, shape (dim,), float32, by its id.
    """

    caption_ids: tuple[tuple[str, ...], ...]
    vectors: Mapping[str, Float32Array]


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Pictures and captions of others, against which the loss of a pair is taken.

    It is fixed for a run, so that a score does not depend on which pictures are scored together.

    Attributes:
        sha256: SHA-256 in hex over what it holds, before any encoder.
        origin: Where it comes from, in words.
        image_ids: SHA-256 of each picture; n_pictures of them, which may be 0.
        pictures: Shape (n_pictures, dim), float32: their embeddings.
        caption_ids: SHA-256 of each caption; n_captions of them, at least one.
        captions: Shape (n_captions, dim), float32: their embeddings.
    """

    sha256: str
    origin: str
    image_ids: tuple[str, ...]
    pictures: Float32Array
    caption_ids: tuple[str, ...]
    captions: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class CaptionSignals:
    """What an encoder makes of pictures and their captions; float32, shape (n_images,) each.

    All but `nearest` are NaN for an image without a caption; of several captions the mean stands.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; n_images of them.
        cosine: Of the image without augmentation and its caption, in [-1, 1].
        view_cosine: Mean over the views of the same; NaN where there are no views.
        loss: Of the pair against the bank, as the encoder was trained, at least 0; lower is more
            like a member.
        gradient: Length of the gradient of that loss on the unit sphere of the embeddings, both
            halves together, at least 0; lower is more like a member.
        text_norm: Length of the caption's embedding, above 0.
        nearest: Highest cosine of the image with a caption of the bank that is not its own.
    """

    image_ids: tuple[str, ...]
    cosine: Float32Array
    view_cosine: Float32Array
    loss: Float32Array
    gradient: Float32Array
    text_norm: Float32Array
    nearest: Float32Array


def measure_captions(
    embeddings: Embeddings,
    captions: CaptionEmbeddings,
    bank: Bank,
    loss: PairLoss,
    scale: float,
    bias: float = 0.0,
) -> CaptionSignals:
    """Every signal of pictures and captions, image by image.

    Sums run in float64 and image by image, so results do not depend on how images are batched.
    A bank entry that is the picture, or one of its own captions, is left out for that picture.
    Source: for the cosine, Ko et al., "Practical Membership Inference Attacks Against Large-Scale
    Multi-Modal Models" (ICCV 2023); for the loss and its gradient, CLIP-MIA-Bench (Gomez, AAAI
    2026); the losses are those of CLIP (Radford et al., 2021) and SigLIP (Zhai et al., 2023).

    Args:
        embeddings: Of the images, by the picture tower.
        captions: Of the same images, in the same order.
        bank: By the same two towers.
        loss: Loss that the encoder was trained with.
        scale: Its factor on the cosine.
        bias: What it adds to the scaled cosine.

    Raises:
        ValueError: The bank has no caption, or an embedding is zero or not finite.
    """
    if not len(bank.captions):
        raise ValueError("a bank needs at least one caption")
    bank_pictures, bank_captions = _unit(bank.pictures), _unit(bank.captions)
    rows = np.full((len(embeddings.image_ids), len(COLUMNS)), np.nan)
    for row, image_id in enumerate(embeddings.image_ids):
        own_ids = captions.caption_ids[row]
        picture, views = _unit(embeddings.plain[row]), _unit(embeddings.views[row])
        others = np.array([caption not in own_ids for caption in bank.caption_ids])
        other_pictures = np.array([other != image_id for other in bank.image_ids], dtype=bool)
        if others.any():
            rows[row, -1] = np.clip((bank_captions[others] @ picture).max(), -1, 1)
        if not own_ids:
            continue
        pairs = []
        for caption_id in own_ids:
            vector = captions.vectors[caption_id].astype(np.float64)
            caption = _unit(vector)
            pair = _Pair(picture, caption, bank_pictures[other_pictures], bank_captions[others])
            if loss == "softmax":
                value, gradient = pair.softmax(scale)
            else:
                value, gradient = pair.sigmoid(scale, bias)
            over_views = (views @ caption).mean() if len(views) else np.nan
            cosines = np.clip([picture @ caption, over_views], -1, 1)
            pairs.append([*cosines, value, gradient, np.linalg.norm(vector)])
        rows[row, :-1] = np.mean(pairs, axis=0)
    return CaptionSignals(embeddings.image_ids, *rows.T.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A picture, a caption and the bank, all of unit length, in float64."""

    picture: Float64Array
    caption: Float64Array
    other_pictures: Float64Array
    other_captions: Float64Array

    def softmax(self, scale: float) -> tuple[float, float]:
        """InfoNCE of the pair and the length of its gradient, mean of the directions there are.

        Where the bank has no picture, only that from the picture to the captions.
        """
        directions = [(self.picture, self.caption, self.other_captions, True)]
        if len(self.other_pictures):
            directions.append((self.caption, self.picture, self.other_pictures, False))
        total = 0.0
        by_picture, by_caption = np.zeros_like(self.picture), np.zeros_like(self.picture)
        for anchor, positive, negatives, is_picture in directions:
            logits = scale * np.concatenate([[anchor @ positive], negatives @ anchor])
            shifted = np.exp(logits - logits.max())
            shares = shifted / shifted.sum()
            total += logits.max() + np.log(shifted.sum()) - logits[0]
            to_anchor = scale * ((shares[0] - 1) * positive + shares[1:] @ negatives)
            to_positive = scale * (shares[0] - 1) * anchor
            by_picture += to_anchor if is_picture else to_positive
            by_caption += to_positive if is_picture else to_anchor
        return total / len(directions), self._length(by_picture, by_caption) / len(directions)

    def sigmoid(self, scale: float, bias: float) -> tuple[float, float]:
        """The sigmoid loss of the pair and of each half with the bank, and its gradient."""
        own = scale * (self.picture @ self.caption) + bias
        by_caption_of_bank = scale * (self.other_captions @ self.picture) + bias
        by_picture_of_bank = scale * (self.other_pictures @ self.caption) + bias
        total = np.logaddexp(0, -own)
        total += np.logaddexp(0, by_caption_of_bank).sum()
        total += np.logaddexp(0, by_picture_of_bank).sum()
        pull = scale * _sigmoid(-own)
        by_picture = -pull * self.caption + scale * (
            _sigmoid(by_caption_of_bank) @ self.other_captions
        )
        by_caption = -pull * self.picture + scale * (
            _sigmoid(by_picture_of_bank) @ self.other_pictures
        )
        return float(total), self._length(by_picture, by_caption)

    def _length(self, by_picture: Float64Array, by_caption: Float64Array) -> float:
        """Length of a gradient along the sphere, of both halves together."""
        on_sphere = (
            by_picture - (by_picture @ self.picture) * self.picture,
            by_caption - (by_caption @ self.caption) * self.caption,
        )
        return float(np.linalg.norm(np.concatenate(on_sphere)))


def _sigmoid(values: npt.ArrayLike) -> Float64Array:
    shares: Float64Array = np.exp(-np.logaddexp(0, -np.asarray(values, dtype=np.float64)))
    return shares


def _unit(vectors: npt.NDArray[np.floating]) -> Float64Array:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("every embedding must be finite and non-zero")
    unit: Float64Array = wide / lengths
    return unit


def concatenate_captions(batches: Sequence[CaptionSignals]) -> CaptionSignals:
    """Several batches as one, in the order given.

    Raises:
        ValueError: There is no batch.
    """
    return CaptionSignals(
        tuple(image_id for batch in batches for image_id in batch.image_ids),
        *(np.concatenate([getattr(batch, name) for batch in batches]) for name in COLUMNS),
    )


def average_captions(several: Sequence[CaptionSignals]) -> CaptionSignals:
    """What several encoders make of the same pictures and captions, as of one: the mean.

    Lengths of captions are averaged by their logarithm.

    Raises:
        ValueError: There is none, or they saw other images.
    """
    if len({signals.image_ids for signals in several}) != 1:
        raise ValueError("needs one encoder or more, with the same images")

    def mean(name: str) -> Float32Array:
        values = np.stack([getattr(signals, name) for signals in several]).astype(np.float64)
        is_length = name == "text_norm"
        means = np.exp(np.log(values).mean(axis=0)) if is_length else values.mean(axis=0)
        return np.asarray(means, dtype=np.float32)

    return CaptionSignals(several[0].image_ids, *map(mean, COLUMNS))
