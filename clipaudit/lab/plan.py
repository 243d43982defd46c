"""A matrix at one scale → cells to be filled, and the encoders that they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clipaudit.lab.cells import Cell, Plan
from clipaudit.lab.experiments import experiment_kind
from clipaudit.lab.matrix import Matrix
from clipaudit.lab.planning import Encoders, Repetition
from clipaudit.lab.scale import Scale
from clipaudit.lab.splits import LabSplit


def make_plan(
    matrix: Matrix, scale: Scale, lab: Path, splits: Mapping[tuple[str, int], LabSplit]
) -> Plan:
    """Every cell of every experiment for every seed.

    Args:
        matrix: What is to be found out.
        scale: How large everything is.
        lab: Folder of the lab.
        splits: Splits by name of the data set and seed.

    Raises:
        UsageError: An option of the pre-training cannot work.
    """
    encoders = Encoders(scale, lab, splits, matrix.outputs, matrix.kinds)
    cells: list[Cell] = []
    for experiment in matrix.experiment:
        for seed in scale.seeds:
            repetition = Repetition(
                experiment=experiment.name,
                kind=experiment.kind,
                data=experiment.data,
                unknown_data=experiment.unknown_data,
                combinations=experiment.combinations,
                seed=seed,
                scale=scale,
                encoders=encoders,
            )
            cells += experiment_kind(experiment.kind).cells(repetition)
    return Plan(encoders.units(), tuple(cells))


def data_sets(matrix: Matrix) -> tuple[str, ...]:
    """The data sets that some experiment needs."""
    names = (name for entry in matrix.experiment for name in (entry.data, entry.unknown_data))
    return tuple(dict.fromkeys(name for name in names if name))
