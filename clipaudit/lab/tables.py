"""Results → tables: a row a setting, a column a method, each figure over all repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from clipaudit.encoders.base import Output
from clipaudit.lab import results
from clipaudit.lab.experiments import experiment_kind
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.paper import Reported
from clipaudit.lab.results import Outcome, Results, mean_over_seeds, over_seeds
from clipaudit.statistics.metrics import Estimate

Quantity = Literal["accuracy", "precision", "recall", "fpr", "auc", "tpr-at-1-percent"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

DOWNSTREAM = "downstream accuracy"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of an experiment.

    Attributes:
        setting: What sets it apart.
        figures: By method, in the order of the table's columns; None where there is none.
        paper: What the paper reports, by method.
        downstream: Accuracy of the downstream classifier on the target encoder.
        n_seeds: Repetitions behind it.
    """

    setting: str
    figures: dict[str, Estimate | None]
    paper: dict[str, Reported]
    downstream: Estimate | None
    n_seeds: int


@dataclass(frozen=True, slots=True)
class ResultTable:
    """An experiment on one output of the encoders.

    Attributes:
        experiment: Its name.
        kind: Of it.
        data: Of the target encoders.
        output: That is looked at.
        quantity: What the figures are.
        methods: Columns.
        rows: In the order of the matrix.
    """

    experiment: str
    kind: str
    data: str
    output: Output
    quantity: Quantity
    methods: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What it shows, in one line."""
        what = SPOKEN.get(self.quantity, self.quantity)
        return f"{self.facts.title}, {self.data}, {self.output} output, {what}"

    @property
    def facts(self) -> ExperimentKind:
        """What all tables of its kind have in common."""
        return experiment_kind(self.kind)


SPOKEN = {"tpr-at-1-percent": "TPR at 1 % FPR"}
"""Quantities whose name is not what one would say."""


def tables(found: Results, quantity: Quantity = "accuracy") -> list[ResultTable]:
    """Every experiment on every output, in the order of the matrix."""
    outputs = list(dict.fromkeys(one.output for one in found.outcomes))
    made = []
    for name, what in found.experiments.items():
        for output in outputs:
            some = [
                one for one in found.outcomes if one.experiment == name and one.output == output
            ]
            if some:
                made.append(_table(found, name, what, output, some, quantity))
    return made


def _table(
    found: Results,
    name: str,
    what: dict[str, str],
    output: Output,
    some: Sequence[Outcome],
    quantity: Quantity,
) -> ResultTable:
    reported = experiment_kind(what["kind"]).reported if quantity == "accuracy" else {}
    methods = tuple(dict.fromkeys(one.method for one in some))
    settings = dict.fromkeys(one.setting for one in some)
    rows = []
    for setting in settings:
        cell = [one for one in some if one.setting == setting]
        right = [
            (one.right, one.n)
            for one in found.downstream
            if one.experiment == name and one.setting == setting
        ]
        known = {method: reported.get((what["data"], setting, method)) for method in methods}
        rows.append(
            Row(
                setting=setting,
                figures={
                    method: _figure([one for one in cell if one.method == method], quantity)
                    for method in methods
                },
                paper={method: number for method, number in known.items() if number},
                downstream=over_seeds(right),
                n_seeds=len({one.seed for one in cell}),
            )
        )
    return ResultTable(name, what["kind"], what["data"], output, quantity, methods, tuple(rows))


def _figure(some: Sequence[Outcome], quantity: Quantity) -> Estimate | None:
    if quantity == "auc":
        return mean_over_seeds((one.auc, one.n) for one in some)
    share = {
        "accuracy": results.accuracy,
        "precision": results.precision,
        "recall": results.recall,
        "fpr": results.fpr,
        "tpr-at-1-percent": results.recall_at_1_percent,
    }[quantity]
    return over_seeds(map(share, some))


@dataclass(frozen=True, slots=True)
class Cost:
    """What the encoders of some results cost.

    Attributes:
        n_encoders: How many were trained.
        hours: Wall time of their pre-training, added up.
        outside: Share of it outside forward and backward pass.
    """

    n_encoders: int
    hours: float
    outside: float


def costs(found: Results) -> dict[str, Cost]:
    """By architecture and algorithm, and last for all together."""
    groups: dict[str, list[results.EncoderFacts]] = {}
    for one in found.encoders:
        groups.setdefault(f"{one.architecture}, {one.algorithm}", []).append(one)
    groups["all"] = list(found.encoders)
    made = {}
    for name, some in groups.items():
        seconds = sum(one.seconds for one in some)
        outside = sum(one.seconds_outside for one in some)
        made[name] = Cost(len(some), seconds / 3600, outside / seconds if seconds else 0.0)
    return made
