"""Pixels → the perceptual hash, by which pictures that are the same to the eye are known.

There is one definition: pHash as the imagehash library makes it, of the whole picture as
`decoding` gives it: upright, sRGB, before it is resized for any encoder. Published lists, such as
COYO's, have it of the whole picture too.

The sums are written out here, since imagehash loads some 270 modules of SciPy for them, in each
decoder's process. Two things differ, neither of which an eye would see. A side of 1,024 pixels or
more is averaged over whole blocks of pixels first, down to no less than 512, which takes half of
the time, and moves two bits of one such picture in ten. And cosine sums are rounded, so that noise
of the last digits decides no bit of a picture without content.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE_PX = 32
_FREQUENCIES = 8
_REDUCING_GAP = 16.0
"""So many times as large as the small picture at least is what blocks are averaged down to."""
_DECIMALS = 3
"""Sums run up to a quarter of a million; what is left behind this is noise."""


def perceptual_hash(picture: Image.Image | npt.NDArray[np.uint8]) -> int:
    """The 64-bit pHash: which of the lowest 64 frequencies in grey are above their median.

    Source: Krawetz, "Looks Like It" (2011), as in the imagehash library.

    Args:
        picture: RGB, or pixels of shape (height, width, 3).
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    side = (_SIDE_PX, _SIDE_PX)
    small = picture.convert("L").resize(side, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    waves = _waves()
    sums = np.round(waves @ np.asarray(small, dtype=np.float64) @ waves.T, _DECIMALS)
    return int.from_bytes(np.packbits(sums > np.median(sums)).tobytes(), "big")


@cache
def _waves() -> npt.NDArray[np.float64]:
    """The cosine waves of the lowest frequencies, shape (_FREQUENCIES, _SIDE_PX)."""
    places = (np.arange(_SIDE_PX) + 0.5) / _SIDE_PX
    waves: npt.NDArray[np.float64] = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), places))
    return waves
