"""Random numbers that depend on what they are for, never on order, batch or machine."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from numpy.random import Generator, default_rng  # now, and not where memory is short

if TYPE_CHECKING:
    from collections.abc import Iterator


def derive(seed: int, subject: str, purpose: str) -> int:
    """A 128-bit seed for one purpose: the same on every machine and in every version.

    Args:
        seed: The user's seed.
        subject: What the numbers are for, such as the SHA-256 of a picture in hex.
        purpose: What they decide, such as the name of a recipe.
    """
    text = f"{seed}/{purpose}/{subject}"
    # Names of files may hold bytes that are no text, as lone surrogates.
    key = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
    return int.from_bytes(key, "big")


def stream(seed: int, subject: str, purpose: str) -> Generator:
    """Random numbers for one subject: the same in any batch, order or worker."""
    return default_rng(derive(seed, subject, purpose))


@contextmanager
def lent_to_torch(seed: int) -> Iterator[None]:
    """Within the block torch's generator on the CPU starts from a seed; then it is as it was.

    For what draws from the global generator and takes no other, such as the initial weights of
    layers. `torch.manual_seed` would reseed the generators of all devices, and leave them so.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
