"""Pixels → the perceptual hash, by which pictures that are the same to the eye are known.

There is one definition: pHash as the imagehash library makes it, of the whole picture as
`decoding` gives it: upright, sRGB, before it is resized for any encoder. Published lists, such as
COYO's, have it of the whole picture too.

The sums are written out here, since imagehash loads some 270 modules of SciPy for them, in each
decoder's process. Two things differ, neither of which an eye would see. A side of 1,024 pixels or
more is averaged over whole blocks of pixels first, down to no less than 512, which takes half of
the time, and moves two bits of one such picture in ten. And cosine sums are rounded, so that noise
of the last digits decides no bit of a picture without content.

A picture of one colour has no perceptual hash, for all of them would share it; nor has one whose
bits hang on noise, such as a single line of text on white. `likeness` gives a digest in its place.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE_PX = 32
_FREQUENCIES = 8
_REDUCING_GAP = 16.0
"""So many times as large as the small picture at least is what blocks are averaged down to."""
_DECIMALS = 3
"""Sums run up to a quarter of a million; what is left behind this is noise."""

ONE_COLOUR = "plain: one colour"
TOO_PLAIN = "too plain to compare"
PLAIN_NOTES = (ONE_COLOUR, TOO_PLAIN)
"""Notes of pictures that have no perceptual hash."""

_MOST_SPREAD = 2
"""Levels by which the pixels of a picture of one colour may differ."""
_COLOUR_STEP = 8
_FEW = 8
_MOST_AT_RISK = ((20.0, 12), (100.0, 28))
"""Distance from the median → how many of 64 sums may lie within, from where on bits are noise.

Measured on 600 made pictures (text, lines, letters, faint clouds) and 300 photographs, written anew
as JPEG of 75 and 50 and as WebP, and scaled down. Of the 257 that came to differ from themselves
by more than the six bits of a near-duplicate, 250 have 12 sums or more within 20 of the median; of
the photographs, none. Single lines of text, of which one pair in five looked alike, have 46 within
100.
"""


def perceptual_hash(picture: Image.Image | npt.NDArray[np.uint8]) -> int:
    """The 64-bit pHash: which of the lowest 64 frequencies in grey are above their median.

    Source: Krawetz, "Looks Like It" (2011), as in the imagehash library.

    Args:
        picture: RGB, or pixels of shape (height, width, 3).
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    return _bits(_above_median(picture))


class Likeness(NamedTuple):
    """By what a picture is known again.

    Attributes:
        key: 64 bits: the perceptual hash; of a picture of one colour a digest of the colour, of
            another that is too plain for a hash a digest of its pixels. Digests of different
            things differ in about half of their bits, as hashes of strangers do.
        note: Why it has no perceptual hash, one of `PLAIN_NOTES`; None where it has.
    """

    key: int
    note: str | None = None


def likeness(picture: Image.Image) -> Likeness:
    """By what an RGB picture is known again.

    >>> likeness(Image.new("RGB", (64, 64), "red")).note
    'plain: one colour'
    """
    # A picture has at least the colours of a few of its pixels, which saves looking at all of them.
    few = picture.resize((_FEW, _FEW), Image.Resampling.NEAREST)
    if _has_one_colour(_extrema(few)) and _has_one_colour(bands := _extrema(picture)):
        # Steps whose middles, not edges, are black and white; JPEG moves a colour by a level.
        colour = (bands.sum(axis=1) + _COLOUR_STEP) // (2 * _COLOUR_STEP)
        return Likeness(_digest(colour.astype("<i8").tobytes()), ONE_COLOUR)
    distances = _above_median(picture)
    if any(np.sum(np.abs(distances) < near) >= n for near, n in _MOST_AT_RISK):
        return Likeness(_digest(repr(picture.size).encode() + picture.tobytes()), TOO_PLAIN)
    return Likeness(_bits(distances))


def _extrema(picture: Image.Image) -> npt.NDArray[np.int64]:
    """Lowest and highest level of each band, shape (3, 2)."""
    return np.array([band.getextrema() for band in picture.split()], dtype=np.int64)


def _has_one_colour(bands: npt.NDArray[np.int64]) -> bool:
    return bool(np.all(bands[:, 1] - bands[:, 0] <= _MOST_SPREAD))


def _above_median(picture: Image.Image) -> npt.NDArray[np.float64]:
    """How far the sums of the lowest 64 frequencies in grey are above their median."""
    side = (_SIDE_PX, _SIDE_PX)
    small = picture.convert("L").resize(side, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    waves = _waves()
    sums = np.round(waves @ np.asarray(small, dtype=np.float64) @ waves.T, _DECIMALS)
    distances: npt.NDArray[np.float64] = sums - np.median(sums)
    return distances


def _bits(above_median: npt.NDArray[np.float64]) -> int:
    return int.from_bytes(np.packbits(above_median > 0).tobytes(), "big")


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


@cache
def _waves() -> npt.NDArray[np.float64]:
    """The cosine waves of the lowest frequencies, shape (_FREQUENCIES, _SIDE_PX)."""
    places = (np.arange(_SIDE_PX) + 0.5) / _SIDE_PX
    waves: npt.NDArray[np.float64] = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), places))
    return waves
