"""Scores on target encoders whose members are known → outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipaudit.inferrers import forms
from clipaudit.lab.measurements import features, make_fit, read_fit
from clipaudit.lab.results import Outcome
from clipaudit.lab.units import VIEWS
from clipaudit.statistics.metrics import auc, found_at

if TYPE_CHECKING:
    from clipaudit.encoders.base import Output
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.units import Fit, Look, Unit
    from clipaudit.statistics.metrics import BoolArray, FloatArray

WITH_REFERENCE = " + reference"


def look_of(unit: Unit, output: Output, epoch: int | None = None, recipe: str = VIEWS) -> Look:
    """The first draw of an encoder's signals of its own pictures."""
    wanted = output, epoch, 0, None, recipe
    return next(
        look
        for look in unit.looks
        if (look.output, look.epoch, look.draw, look.of, look.recipe) == wanted
    )


def truth(unit: Unit) -> BoolArray:
    """Which pictures of a unit are members: those that come first, of as many others."""
    return np.arange(2 * unit.n_members) < unit.n_members


def judge_inferrer(cell: Cell, plan: Plan, fit: Fit) -> Outcome:
    """How well an inferrer does on the target encoder of a cell.

    An inferrer that reads references is fitted here, where it is not there yet.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    target, shadow = plan.units[cell.target], plan.units[cell.shadow]
    if cell.references and not shadow.fit_file(fit).exists():
        make_fit(shadow, fit, references_of(shadow, cell, plan))
    rule, threshold = read_fit(shadow, fit)
    look = look_of(target, fit.output, cell.epoch, fit.recipe)
    scores = rule.score(features(target, look, fit.reads, references_of(target, cell, plan)))
    return judge_scores(cell, fit.output, _method(fit), scores, truth(target), threshold)


def references_of(unit: Unit, cell: Cell, plan: Plan) -> list[Unit]:
    """The references of an encoder of a cell: for one that was fine-tuned, its base."""
    keys = [unit.base_key] if unit.base_key else cell.references
    return [plan.units[key] for key in keys]


def _method(fit: Fit) -> str:
    """Name of an inferrer in tables: with its reference where its kind exists without one too."""
    has_both = bool(fit.references) and False in forms(fit.kind, has_reference=True)
    return f"{fit.kind}{WITH_REFERENCE}" if has_both else fit.kind


def judge_scores(
    cell: Cell,
    output: Output,
    method: str,
    scores: FloatArray,
    is_member: BoolArray,
    threshold: float,
) -> Outcome:
    """How well "at or above the threshold is a member" does on a target encoder.

    Args:
        cell: The target encoder.
        output: Output of the encoder that is audited.
        method: Name of the inferrer or baseline.
        scores: Scores of the encoder's pictures.
        is_member: Which pictures the encoder was trained on.
        threshold: A score equal to it reads as member.
    """
    called = scores >= threshold
    return Outcome(
        experiment=cell.experiment,
        setting=cell.setting,
        output=output,
        method=method,
        seed=cell.seed,
        found_at_1_percent=found_at(0.01, scores, is_member),
        found=int((called & is_member).sum()),
        missed=int((~called & is_member).sum()),
        accused=int((called & ~is_member).sum()),
        spared=int((~called & ~is_member).sum()),
        auc=auc(scores, is_member).value,
    )
