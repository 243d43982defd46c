"""How the number of the target encoder's members matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.paper import Reported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.planning import Repetition


class TargetSize(ExperimentKind):
    """A cell a number of members of the target encoder."""

    title = "Members of the target encoder (Fig. 2)"
    setting = "members"
    remark = (
        "Paper (Fig. 2, STL-10): the more members, the lower the accuracy: from 5,000 to 25,000 "
        "V falls from 96 % to 80 to 83 %, S from 92 % to 78 to 80 %, T from 94 % to 82 to 83 %."
    )
    reported: ClassVar = {
        ("stl10", "5000", "V"): Reported(0.96, 0.96),
        ("stl10", "5000", "S"): Reported(0.92, 0.92),
        ("stl10", "5000", "T"): Reported(0.94, 0.94),
        ("stl10", "25000", "V"): Reported(0.80, 0.83),
        ("stl10", "25000", "S"): Reported(0.78, 0.80),
        ("stl10", "25000", "T"): Reported(0.82, 0.83),
    }
    is_numeric = is_logarithmic = True

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for n_members in repetition.scale.sweeps.target_sizes:
            target = repetition.encoder("target", n_members=n_members)
            yield repetition.cell(str(n_members), target=target)
