"""A plan whose encoders are there → results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from clipaudit._version import __version__
from clipaudit.errors import EncoderError
from clipaudit.lab.experiments import experiment_kind
from clipaudit.lab.measurements import read_probe
from clipaudit.lab.results import Downstream, EncoderFacts, Outcome, Results
from clipaudit.shadow.training_folder import LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.matrix import Matrix
    from clipaudit.lab.units import Unit


def collect(plan: Plan, matrix: Matrix, scale: str, device: str) -> Results:
    """The results of all cells whose encoders are there.

    Args:
        plan: What was to be done.
        matrix: What it was made from.
        scale: Name of the scale.
        device: Where the encoders were trained.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    ready = [cell for cell in plan.cells if is_ready(cell, plan)]
    outcomes: list[Outcome] = []
    for cell in ready:
        outcomes += judge_cell(cell, plan, matrix.outputs, matrix.kinds)
    return Results(
        matrix=matrix.name,
        scale=scale,
        about=matrix.scale[scale].about,
        experiments={
            entry.name: {
                "kind": entry.kind,
                "data": entry.data,
                "unknown_data": entry.unknown_data or "",
            }
            for entry in matrix.experiment
        },
        n_cells=len(plan.cells),
        outcomes=tuple(outcomes),
        downstream=tuple(read_downstream(cell, plan) for cell in ready if cell.has_probe),
        encoders=tuple(read_facts(unit) for unit in plan.units.values() if unit.is_trained),
        device=device,
        clipaudit_version=__version__,
    )


def is_ready(cell: Cell, plan: Plan) -> bool:
    """Whether all encoders of a cell are there, with all that was measured on them."""
    return all(plan.units[key].is_done for key in (cell.target, cell.shadow, *cell.references))


def judge_cell(
    cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
) -> list[Outcome]:
    """Outcomes of the inferrers, and of whatever else the experiment judges.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    return list(experiment_kind(cell.kind).judge(cell, plan, outputs, kinds))


def read_downstream(cell: Cell, plan: Plan) -> Downstream:
    """How the downstream classifier did on the target encoder of a cell that has one.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    right = read_probe(plan.units[cell.target], cell.epoch)["right"]
    n_right = int(np.count_nonzero(right))
    return Downstream(cell.experiment, cell.setting, cell.seed, n_right, len(right))


def read_facts(unit: Unit) -> EncoderFacts:
    """What is known of an encoder that is trained, by its log.

    Raises:
        EncoderError: The log cannot be read.
    """
    log = unit.folder / LOG
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]
        seconds = sum(line["seconds"] for line in lines)
        seconds_outside = sum(line["seconds_outside"] for line in lines)
        loss = lines[-1]["loss"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EncoderError(
            f"{log} cannot be read: {error}",
            "Put it back, or delete the folder that it is in and run the lab again.",
        ) from error
    return EncoderFacts(
        key=unit.key,
        data=unit.data,
        role=unit.role,
        seed=unit.seed,
        n_members=unit.n_members,
        architecture=unit.pretrain.architecture,
        algorithm=unit.pretrain.algorithm,
        recipe=unit.pretrain.recipe,
        epochs=unit.pretrain.epochs,
        seconds=seconds,
        seconds_outside=seconds_outside,
        loss=loss,
    )
