"""Pictures → series of pictures that hang together, so that each counts for less than one.

Pictures of one shoot, or of one motif, have much the same score whether they were used or not.
Dealt one by one, as if each told something new, they make chance look like evidence.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

By = Literal["likeness", "folder", "none"]
"""How series are known: by perceptual hashes that are near, by the folder that a picture is in, or
not at all."""
WAYS: tuple[By, ...] = get_args(By)

MOST_BITS = 12
"""Bits of 64 in which the hashes of pictures of one series may differ. Of 1,500 pictures of
CIFAR-10 1.2 % are linked so by chance, in pairs; at 14 bits 9 %."""


def find_series(
    paths: Mapping[str, str], hashes: Mapping[str, int], by: By
) -> dict[str, str] | None:
    """The series of each picture of one set that shares one with others; None where none does.

    Args:
        paths: Pictures by SHA-256.
        hashes: Their perceptual hashes, as far as they could be made.
        by: How series are known.
    """
    if by == "none":
        return None
    if by == "folder":
        series = {image_id: str(PurePath(path).parent) for image_id, path in paths.items()}
        return series if len({*series.values()}) < len(series) else None
    return _alike({image_id: hashes[image_id] for image_id in sorted(paths) if image_id in hashes})


def _alike(hashes: Mapping[str, int]) -> dict[str, str] | None:
    """Pictures that are linked by a chain of hashes each of which is near the next."""
    names, values = [*hashes], np.array([*hashes.values()], dtype=np.uint64)
    first = np.arange(len(names))  # of its series, by place
    for place in range(1, len(names)):
        near = np.bitwise_count(values[:place] ^ values[place]) <= MOST_BITS
        if near.any():
            linked = np.unique(first[:place][near])
            first[place] = linked[0]
            first[:place][np.isin(first[:place], linked)] = linked[0]
    sizes = np.bincount(first, minlength=len(names))
    found = {
        name: names[start] for name, start in zip(names, first, strict=True) if sizes[start] > 1
    }
    return found or None
