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
        figures: Figures by method, in the order of the columns; None where there is none.
        paper: Numbers of the paper, by method.
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
        experiment: Name of the experiment.
        kind: Kind of the experiment.
        data: Data set of the target encoders.
        output: Output of the encoders.
        quantity: What the figures are.
        methods: Inferrers and baselines, a column each.
        rows: Settings in the order of the matrix.
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
        """Line that says what the table shows."""
        quantity = SPOKEN.get(self.quantity, self.quantity)
        return f"{self.facts.title}, {self.data}, {self.output} output, {quantity}"

    @property
    def facts(self) -> ExperimentKind:
        """Facts that all tables of its kind share."""
        return experiment_kind(self.kind)


SPOKEN = {"tpr-at-1-percent": "TPR at 1 % FPR"}
"""Names of quantities, where people say them otherwise."""


def tables(found: Results, quantity: Quantity = "accuracy") -> list[ResultTable]:
    """Every experiment on every output, in the order of the matrix."""
    groups: dict[tuple[str, Output], list[Outcome]] = {}
    for outcome in found.outcomes:
        groups.setdefault((outcome.experiment, outcome.output), []).append(outcome)
    outputs = dict.fromkeys(outcome.output for outcome in found.outcomes)
    return [
        _table(found, name, output, groups[name, output], quantity)
        for name in found.experiments
        for output in outputs
        if (name, output) in groups
    ]


def _table(
    found: Results,
    name: str,
    output: Output,
    outcomes: Sequence[Outcome],
    quantity: Quantity,
) -> ResultTable:
    kind, data = found.experiments[name]["kind"], found.experiments[name]["data"]
    reported = experiment_kind(kind).reported
    if (quantity, output) != ("accuracy", "trunk"):  # which is what the paper attacks
        reported = {}
    methods = tuple(dict.fromkeys(outcome.method for outcome in outcomes))
    settings = dict.fromkeys(outcome.setting for outcome in outcomes)
    rows = []
    for setting in settings:
        cell = [outcome for outcome in outcomes if outcome.setting == setting]
        right = [
            (probe.right, probe.n)
            for probe in found.downstream
            if probe.experiment == name and probe.setting == setting
        ]
        known = {method: reported.get((data, setting, method)) for method in methods}
        rows.append(
            Row(
                setting=setting,
                figures={
                    method: _figure(
                        [outcome for outcome in cell if outcome.method == method], quantity
                    )
                    for method in methods
                },
                paper={method: number for method, number in known.items() if number},
                downstream=over_seeds(right),
                n_seeds=len({outcome.seed for outcome in cell}),
            )
        )
    return ResultTable(name, kind, data, output, quantity, methods, tuple(rows))


def _figure(outcomes: Sequence[Outcome], quantity: Quantity) -> Estimate | None:
    if quantity == "auc":
        return mean_over_seeds((outcome.auc, outcome.n) for outcome in outcomes)
    share = {
        "accuracy": results.accuracy,
        "precision": results.precision,
        "recall": results.recall,
        "fpr": results.fpr,
        "tpr-at-1-percent": results.recall_at_1_percent,
    }[quantity]
    return over_seeds(map(share, outcomes))


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
    """Costs by architecture and algorithm, and last of all together."""
    groups: dict[str, list[results.EncoderFacts]] = {}
    for encoder in found.encoders:
        groups.setdefault(f"{encoder.architecture}, {encoder.algorithm}", []).append(encoder)
    groups["all"] = list(found.encoders)
    return {name: _cost(encoders) for name, encoders in groups.items()}


def _cost(encoders: Sequence[results.EncoderFacts]) -> Cost:
    seconds = sum(encoder.seconds for encoder in encoders)
    outside = sum(encoder.seconds_outside for encoder in encoders)
    return Cost(len(encoders), seconds / 3600, outside / seconds if seconds else 0.0)
