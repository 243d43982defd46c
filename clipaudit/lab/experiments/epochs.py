"""Whether a target encoder that stops early gives less away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.units import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class Epochs(ExperimentKind):
    """A cell an epoch of the target encoder."""

    title = "Early stopping: epochs of the target encoder"
    setting = "epochs"
    remark = (
        "Paper: stopping early is a defence; inference and the downstream classifier both lose "
        "accuracy."
    )
    is_numeric = is_logarithmic = True

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        scale = repetition.scale
        whole = scale.options(scale.known.architecture, scale.known.algorithm, VIEWS, 0).epochs
        for epoch in scale.sweeps.epochs:
            at = None if epoch == whole else epoch  # the end needs no snapshot
            yield repetition.cell(str(epoch), epoch=at, has_probe=True)
