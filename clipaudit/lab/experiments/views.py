"""How many views an inferrer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.lab.experiments.base import ExperimentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class Views(ExperimentKind):
    """A cell a number of views."""

    title = "Number of views n (Fig. 1b)"
    setting = "n"
    remark = "Paper (Fig. 1b): V and T rise with n, then saturate; S rises, then falls."
    is_numeric = True

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for n_views in repetition.scale.sweeps.views:
            yield repetition.cell(str(n_views), n_views=n_views)
