"""An encoder that cannot have seen any picture: one layer of random weights.

Random filters, rectified and averaged over regions, say of textures and layout what statistics
with names do not; see Coates, Lee and Ng (2011), "An analysis of single-layer networks in
unsupervised feature learning", which finds them nearly as good as learned ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from clipaudit.pictures.base import UInt8Array
from clipaudit.pictures.image_statistics import FRAME_PX, small_frame
from clipaudit.seeding import stream

Float32Array = npt.NDArray[np.float32]

_FILTERS = 64
_SIDE_PX = 6
_STRIDE_PX = 2
_REGIONS = 2
"""Regions a side, over each of which a filter's answers are averaged."""

DIM = _FILTERS * _REGIONS**2


def random_embedding(pixels: UInt8Array) -> Float32Array:
    """What the random encoder makes of a picture: shape (DIM,), float32, 0 or above.

    The weights are the same in every run. Brightness and contrast of a patch are taken out first;
    they are among the image statistics.

    Args:
        pixels: Shape (height, width, 3), RGB.
    """
    shape = (_SIDE_PX, _SIDE_PX, 3)
    windows = np.lib.stride_tricks.sliding_window_view(small_frame(pixels), shape)
    grid = windows[::_STRIDE_PX, ::_STRIDE_PX, 0]
    patches = grid.reshape(-1, _SIDE_PX * _SIDE_PX * 3)
    patches = patches - patches.mean(axis=1, keepdims=True)
    contrast = np.sqrt(np.square(patches).mean(axis=1, keepdims=True) + 10)  # 10: no noise blown up
    # In float64 and rounded at the end, since sums of float32 differ with the number of threads.
    answers = np.maximum((patches / contrast).astype(np.float64) @ _filters(), 0)
    across = grid.shape[0] // _REGIONS
    regions = answers.reshape(_REGIONS, across, _REGIONS, across, _FILTERS)
    embedding: Float32Array = regions.mean(axis=(1, 3)).ravel().astype(np.float32)
    return embedding


@cache
def _filters() -> npt.NDArray[np.float64]:
    """Shape (values of a patch, filters), each filter of length 1."""
    numbers = stream(0, "filters", "random embedding")
    weights = numbers.normal(size=(_SIDE_PX * _SIDE_PX * 3, _FILTERS))
    unit: npt.NDArray[np.float64] = weights / np.linalg.norm(weights, axis=0)
    return unit


assert ((FRAME_PX - _SIDE_PX) // _STRIDE_PX + 1) % _REGIONS == 0  # regions are of one size
