"""Which similarity of two views an inferrer had best read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.features.signals import SIMILARITIES
from clipaudit.lab.experiments.base import ExperimentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class Similarities(ExperimentKind):
    """A cell a similarity."""

    title = "Similarity (Table 3)"
    setting = "similarity"
    remark = "Paper (Table 3): cosine is the best, the others lose little."

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for similarity in SIMILARITIES:
            yield repetition.cell(similarity, similarity=similarity)
