"""Bytes → all that a run wants to know of a picture, from one decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.pictures.base import Frame, Limits, UInt8Array
from clipaudit.pictures.decoding import decode_rgb, out_of_memory, resized
from clipaudit.pictures.hashing import likeness
from clipaudit.pictures.image_statistics import FloatArray, image_statistics
from clipaudit.pictures.random_embedding import Float32Array, random_embedding

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a picture, beside what costs next to nothing.

    Attributes:
        frames: Sizes and interpolations to resize it to; none twice.
        appearance: Whether the blind baseline will look at it, which takes as long again.
    """

    frames: tuple[Frame, ...] = ()
    appearance: bool = False

    def __post_init__(self) -> None:
        if any(frame.size_px < 1 for frame in self.frames):
            raise ValueError(f"every size_px must be at least 1, got {self.frames}")
        if len(set(self.frames)) < len(self.frames):
            raise ValueError(f"a frame is wanted twice: {self.frames}")


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What a picture looks like in numbers that no encoder had a part in.

    Attributes:
        statistics: Shape (len(STATISTICS),), float64: its image statistics.
        embedding: Shape (DIM,), float32: its random embedding.
    """

    statistics: FloatArray
    embedding: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class PictureFacts:
    """What is worth keeping of a picture, whatever the encoder.

    Attributes:
        phash: Its perceptual hash, of 64 bits; a digest where it is too plain for one, see
            `hashing.Likeness`.
        n_pixels: Width times height of the whole picture.
        appearance: None where nobody asked.
    """

    phash: int
    n_pixels: int
    appearance: Appearance | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What one decoding of a file gave.

    Attributes:
        images: Shape (size_px, size_px, 3), uint8, sRGB, upright, writable, by frame.
        width_px: Width of the whole picture, upright.
        height_px: Its height.
        format: Pillow's name of the format.
        notes: As in `decoding.Decoded`, and whether it is too plain for a perceptual hash.
        facts: Its hash and, where wanted, its appearance.
    """

    images: dict[Frame, UInt8Array]
    width_px: int
    height_px: int
    format: str
    notes: tuple[str, ...]
    facts: PictureFacts


def prepare(data: bytes, wanted: Wanted, limits: Limits) -> Prepared:
    """Decode a file's bytes once, and take from it whatever is wanted.

    Frames are those of `decoding.resize_to_square`, to the bit.

    Raises:
        BadImage: As `decoding.decode`.
    """
    picture, form, notes = decode_rgb(data, limits)
    try:
        key, plain = likeness(picture)
        return Prepared(
            images={frame: resized(picture, *frame) for frame in wanted.frames},
            width_px=picture.width,
            height_px=picture.height,
            format=form,
            notes=(*notes, plain) if plain else notes,
            facts=PictureFacts(
                key,
                picture.width * picture.height,
                _appearance(data, picture) if wanted.appearance else None,
            ),
        )
    except MemoryError as error:
        raise out_of_memory() from error


def _appearance(data: bytes, picture: Image.Image) -> Appearance:
    pixels = np.asarray(picture)
    return Appearance(image_statistics(data, pixels), random_embedding(pixels))
