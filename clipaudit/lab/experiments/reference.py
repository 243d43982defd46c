"""What lengths of embeddings and reference encoders add, by forward passes; beyond the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.inferrers import PAPER, RULES, find_rule, forms
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.units import Fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.scale import Scale


class Reference(ExperimentKind):
    """A cell a number of forward passes."""

    title = "Lengths of embeddings and reference encoders"
    setting = "forward passes"
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
        beyond_the_paper = [
            kind
            for kind in RULES
            if kind not in PAPER and not find_rule(kind).reads.startswith("caption")
        ]
        for kind in (*kinds, *beyond_the_paper):
            if find_rule(kind).is_network and cell.n_views < most:
                continue  # it takes the longest to fit
            for has_reference in forms(kind, has_reference=True):
                keys = cell.references if has_reference else ()
                for n_views in (cell.n_views, cell.n_views - 1):
                    fit = Fit(output, kind, cell.similarity, n_views, n_draws, keys)
                    is_enough = n_views >= 2 or not fit.reads.reads_views
                    if is_enough and fit.reads.n_passes == cell.n_views:
                        yield fit
                        break
