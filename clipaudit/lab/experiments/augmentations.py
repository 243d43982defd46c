"""How the augmentations that the target encoder shares with the inferrer matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.features.views import OVERLAPS
from clipaudit.lab.experiments.base import ExperimentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class Augmentations(ExperimentKind):
    """A cell a recipe of the target encoder."""

    title = "Augmentations of the target encoder (Fig. 3)"
    setting = "target's augmentations"
    remark = (
        "Paper (Fig. 3): the fewer augmentations the target shares with the inferrer, the lower "
        "the accuracy of the inference, and that of the downstream classifier."
    )

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for recipe in OVERLAPS:
            target = repetition.encoder("target", recipe=recipe.id)
            yield repetition.cell(recipe.name, target=target, has_probe=True)
