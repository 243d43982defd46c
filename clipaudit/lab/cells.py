"""Cells: what is to be found out, on which encoders."""

from __future__ import annotations

from dataclasses import dataclass

from clipaudit.features.signals import Similarity
from clipaudit.lab.units import Unit


@dataclass(frozen=True, slots=True)
class Cell:
    """A target encoder, audited with inferrers that were fitted to a shadow encoder.

    Attributes:
        experiment: Name of the experiment.
        kind: Kind of the experiment.
        setting: What sets it apart from the other cells of its experiment.
        seed: Seed of the repetition.
        target: Key of the target encoder.
        shadow: Key of the shadow encoder.
        epoch: Epoch at which the target encoder is audited; None is the finished encoder.
        similarity: Similarity that the inferrers read.
        n_views: Views that the inferrers read.
        has_probe: Whether a downstream classifier on the target encoder is part of it.
        has_shadow_probe: Whether a downstream classifier on the shadow encoder is part of it.
        references: Keys of the reference encoders, which see the pictures of both too; where
            there are some, `n_views` is that of an inferrer that reads similarities alone, and
            so the number of forward passes. Of encoders that were fine-tuned, their bases.
    """

    experiment: str
    kind: str
    setting: str
    seed: int
    target: str
    shadow: str
    epoch: int | None
    similarity: Similarity
    n_views: int
    has_probe: bool = False
    has_shadow_probe: bool = False
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a lab has to do.

    Attributes:
        units: Encoders by their key.
        cells: What is to be found out with them.
    """

    units: dict[str, Unit]
    cells: tuple[Cell, ...]
