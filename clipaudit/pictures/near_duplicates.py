"""Pictures that are the same to the eye: one scaled, brightened or encoded anew from the other.

Two pictures are near-duplicates where their perceptual hashes (`hashing`) differ in few bits.
Colour does not count, but in pictures of one colour, which have nothing else; a copy that was
mirrored, turned or cut by more than a few percent is another picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_BITS = 6
"""Bits of 64 that may differ; strangers differ in about 32."""


class Seen:
    """The pictures that were met so far.

    >>> seen = Seen()
    >>> seen.add(0b1111), seen.add(0b1110), seen.add(2**40 - 1)
    (True, False, True)
    """

    def __init__(self, hashes: Iterable[int] = (), most_bits: int = MOST_BITS) -> None:
        self._most_bits = most_bits
        self._hashes = np.array(list(hashes), dtype=np.uint64)
        self._n = len(self._hashes)

    def add(self, phash: int) -> bool:
        """Remember a picture by its hash, unless it is a near-duplicate of one that was met.

        Returns:
            Whether it was new.
        """
        key = np.uint64(phash)
        if np.any(np.bitwise_count(self._hashes[: self._n] ^ key) <= self._most_bits):
            return False
        if self._n == len(self._hashes):
            self._hashes = np.resize(self._hashes, max(64, 2 * self._n))
        self._hashes[self._n] = key
        self._n += 1
        return True


def partners(
    pictures: Mapping[str, int], others: Mapping[str, int], most_bits: int = MOST_BITS
) -> dict[str, str]:
    """The nearest near-duplicate of each picture among others; without those that have none.

    >>> partners({"a": 0b1111, "b": 2**40 - 1}, {"c": 0b0111, "d": 2**20 - 1})
    {'a': 'c'}

    Args:
        pictures: Hashes by the name of the picture.
        others: Hashes of other pictures by their names; of equally near ones the first counts.
        most_bits: Bits that may differ.
    """
    names = list(others)
    hashes = np.array([*others.values()], dtype=np.uint64)
    found = {}
    for name, phash in pictures.items() if names else ():
        differing = np.bitwise_count(hashes ^ np.uint64(phash))
        nearest = int(differing.argmin())
        if differing[nearest] <= most_bits:
            found[name] = names[nearest]
    return found
