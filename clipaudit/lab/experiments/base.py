"""What a kind of experiment is: how its cells are planned, judged and shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from clipaudit.lab.judging import judge_inferrer
from clipaudit.lab.knowledge import FULL
from clipaudit.lab.paper import Reported
from clipaudit.lab.units import VIEWS, Fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.knowledge import Knowledge
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.results import Outcome
    from clipaudit.lab.scale import Scale


class ExperimentKind(ABC):
    """A table and a figure for every data set that a matrix names with it.

    Attributes:
        title: What its tables and figures are called.
        setting: Heading of the column of settings, and label of the axis of numeric ones.
        remark: What the paper says of it, in words.
        reported: Accuracy that the paper reports, by (data set, setting, method), on the trunk.
        colours: Colours of its methods that are no inferrers, by method.
        is_numeric: Whether the settings are numbers, so that a line through them means something.
        is_logarithmic: Whether their axis is logarithmic.
        recipe: Recipe of the views that its inferrers read.
    """

    title: ClassVar[str]
    setting: ClassVar[str]
    remark: ClassVar[str] = ""
    reported: ClassVar[Mapping[tuple[str, str, str], Reported]] = {}
    colours: ClassVar[Mapping[str, str]] = {}
    is_numeric: ClassVar[bool] = False
    is_logarithmic: ClassVar[bool] = False
    recipe: ClassVar[str] = VIEWS

    def knowledge(
        self, combinations: tuple[tuple[Knowledge, ...], ...]
    ) -> tuple[tuple[Knowledge, ...], ...]:
        """What its cells know of the target encoder: all of it, whatever the matrix combines."""
        return (FULL,)

    def missing_from(self, scale: Scale) -> str:
        """Entries that a scale lacks and the experiment cannot do without, in words; or nothing."""
        return ""

    def exported(self, cells: Sequence[Cell], plan: Plan) -> list[Cell]:
        """The cells whose shadow encoders inferrers are made of, to be judged on their targets.

        Args:
            cells: All cells of the experiment.
            plan: Plan that they belong to.
        """
        return list({cell.seed: cell for cell in cells}.values())

    @abstractmethod
    def cells(self, repetition: Repetition) -> Iterable[Cell]:
        """Plan the cells of one repetition, in the order in which they are shown."""

    def fits(self, cell: Cell, plan: Plan, output: Output, kinds: Sequence[Kind]) -> Iterator[Fit]:
        """List the inferrers that are judged on one output of a cell's target encoder."""
        n_draws = len(plan.units[cell.shadow].draws)
        for kind in kinds:
            yield Fit(output, kind, cell.similarity, cell.n_views, n_draws)

    def judge(
        self, cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
    ) -> Iterator[Outcome]:
        """Judge the inferrers of a cell whose encoders are all done.

        Raises:
            EncoderError: A file of the lab cannot be read.
        """
        for output in outputs:
            for fit in self.fits(cell, plan, output, kinds):
                yield judge_inferrer(cell, plan, fit)
