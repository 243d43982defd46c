"""Whether the shadow encoder must be pre-trained by the target's algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.shadow.config import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class Algorithms(ExperimentKind):
    """A cell an algorithm of the shadow encoder."""

    title = "Algorithm of the shadow encoder"
    setting = "shadow algorithm"

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for algorithm in ALGORITHMS:
            shadow = repetition.encoder("shadow", algorithm=algorithm)
            yield repetition.cell(algorithm, shadow=shadow)
