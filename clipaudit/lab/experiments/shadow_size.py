"""How the number of the shadow encoder's members matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.lab.experiments.base import ExperimentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class ShadowSize(ExperimentKind):
    """A cell a number of members of the shadow encoder."""

    title = "Members of the shadow encoder (Fig. 2)"
    setting = "shadow members"
    remark = "Paper (Fig. 2): hardly sensitive to the size of the shadow data set."
    is_numeric = is_logarithmic = True

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for n_members in repetition.scale.sweeps.shadow_sizes:
            shadow = repetition.encoder("shadow", n_members=n_members)
            yield repetition.cell(str(n_members), shadow=shadow)
