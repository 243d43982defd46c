"""What lengths of embeddings and reference encoders add, by forward passes; beyond the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clipaudit.inferrers.base import forms
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.units import Fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.scale import Scale

BEYOND_THE_PAPER: tuple[Kind, ...] = ("norm", "difference", "adjusted", "combined")
"""What is judged beside the inferrers of the matrix."""

_NETWORKS: tuple[Kind, ...] = ("V", "S")
"""What takes the longest to fit, and so is judged at the most passes alone."""


class Reference(ExperimentKind):
    """A cell a number of forward passes."""

    title = "Lengths of embeddings and reference encoders"
    setting = "forward passes"
    colours: ClassVar = {
        "V + reference": "#123f63",
        "S + reference": "#7f1d2c",
        "norm": "#e0a030",
        "norm + reference": "#8a5a00",
        "difference": "#66c2a5",
        "adjusted": "#0b6e4f",
        "combined": "#b07cc6",
        "combined + reference": "#4b1d6b",
    }
    is_numeric = is_logarithmic = True

    def missing_from(self, scale: Scale) -> str:
        """See `ExperimentKind.missing_from`."""
        is_there = scale.references and scale.sweeps.passes
        return "" if is_there else "references and sweeps.passes"

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        scale = repetition.scale
        references = tuple(
            repetition.encoder("reference", number=number) for number in range(scale.references)
        )
        for n_passes in scale.sweeps.passes:
            yield repetition.cell(str(n_passes), n_views=n_passes, references=references)

    def fits(self, cell: Cell, plan: Plan, output: Output, kinds: Sequence[Kind]) -> Iterator[Fit]:
        """Every form of every kind that takes so many passes; see `ExperimentKind.fits`."""
        n_draws = len(plan.units[cell.shadow].draws)
        most = max(other.n_views for other in plan.cells if other.experiment == cell.experiment)
        for kind in (*kinds, *BEYOND_THE_PAPER):
            if kind in _NETWORKS and cell.n_views < most:
                continue
            for has_reference in forms(kind, has_reference=True):
                keys = cell.references if has_reference else ()
                for n_views in (cell.n_views, cell.n_views - 1):
                    fit = Fit(output, kind, cell.similarity, n_views, n_draws, keys)
                    is_enough = n_views >= 2 or fit.reads.what == "norm"
                    if is_enough and fit.reads.n_passes == cell.n_views:
                        yield fit
                        break
