"""Names that the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str], limit: int = 5) -> list[str]:
    """The names that look most like one, best first; upper and lower case are alike.

    >>> nearest("vit-b32", ["ViT-B-32", "ViT-L-14", "RN50"], limit=1)
    ['ViT-B-32']
    """
    by_lower = {known.lower(): known for known in names}
    found = get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.5)
    return [by_lower[match] for match in found]


def did_you_mean(name: str, names: Iterable[str], otherwise: str) -> str:
    """A hint that offers the nearest names, or another one where none is near."""
    found = nearest(name, names)
    return f"Did you mean {' or '.join(found)}?" if found else otherwise
