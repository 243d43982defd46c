"""Stage 5: V, S and T. To add a kind, write its module and one line in `RULES`."""

from __future__ import annotations

from clipaudit.inferrers.base import KINDS, Card, Features, Inferrer, Kind, Reads, ShadowFacts
from clipaudit.inferrers.library import find, list_inferrers, load, save, shipped_for

__all__ = [
    "KINDS",
    "Card",
    "Features",
    "Inferrer",
    "Kind",
    "Reads",
    "ShadowFacts",
    "find",
    "list_inferrers",
    "load",
    "save",
    "shipped_for",
]
