"""Stage 5: inferrers. To add a kind, write its module and one line in `RULES`."""

from __future__ import annotations

from clipaudit.inferrers.base import (
    KINDS,
    PAPER,
    Card,
    Features,
    Inferrer,
    Kind,
    Reads,
    ShadowFacts,
    forms,
)
from clipaudit.inferrers.library import find, list_inferrers, load, save, shipped_for

__all__ = [
    "KINDS",
    "PAPER",
    "Card",
    "Features",
    "Inferrer",
    "Kind",
    "Reads",
    "ShadowFacts",
    "find",
    "forms",
    "list_inferrers",
    "load",
    "save",
    "shipped_for",
]
