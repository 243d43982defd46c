"""Random numbers that depend on what they are for, never on order, batch or machine."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def derive(seed: int, subject: str, purpose: str) -> int:
    """A 128-bit seed for one purpose: the same on every machine and in every version.

    Args:
        seed: The user's seed.
        subject: What the numbers are for, such as the SHA-256 of a picture in hex.
        purpose: What they decide, such as the name of a recipe.
    """
    key = blake2b(f"{seed}/{purpose}/{subject}".encode(), digest_size=16).digest()
    return int.from_bytes(key, "big")


def stream(seed: int, subject: str, purpose: str) -> np.random.Generator:
    """Random numbers for one subject: the same in any batch, order or worker."""
    return np.random.default_rng(derive(seed, subject, purpose))
