"""Encoders that are trained with captions, as CLIP is: which signals give their members away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from clipaudit.blind.baseline import MIN_OF_EACH
from clipaudit.blind.captions import caption_baseline
from clipaudit.features.views import CLIP
from clipaudit.inferrers import RULES, find_rule, forms
from clipaudit.inferrers.threshold import best_threshold
from clipaudit.lab.cells import Cell
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.judging import WITH_REFERENCE, judge_scores, look_of, references_of, truth
from clipaudit.lab.measurements import signals_and_reference
from clipaudit.lab.splits import read_split
from clipaudit.lab.units import VIEWS, Fit, Look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.features.signals import Signals
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.results import Outcome
    from clipaudit.lab.scale import Scale
    from clipaudit.lab.units import Unit
    from clipaudit.shadow.architectures import PairArchitecture

Scores = npt.NDArray[np.float64]

PLAIN_SIGNALS = {
    "cosine": ("cosine", 1),
    "view cosine": ("view_cosine", 1),
    "gradient": ("gradient", -1),
    "nearest": ("nearest", 1),
    "text norm": ("text_norm", 1),
}
"""Signals that no kind of inferrer reads alone: their fields, and 1 where more is more member."""

_SIDES: tuple[Literal["target"], Literal["shadow"]] = ("target", "shadow")
BLIND = "captions alone"
"""What the captions tell without any encoder."""

PAPERS_VIEWS = "T, the paper's views"


class Clip(ExperimentKind):
    """A cell an architecture and epoch, number of members, or number of views.

    Everything is known: the shadow encoder is trained as the target is and looked at after as many
    epochs, and the reference too.
    """

    title = "Encoders trained as CLIP is"
    setting = "encoder"
    recipe = CLIP.id
    colours: ClassVar = {
        "cosine": "#1f77b4",
        "view cosine": "#6baed6",
        "gradient": "#8c564b",
        "nearest": "#e377c2",
        "text norm": "#bcbd22",
        PAPERS_VIEWS: "#7f7f7f",
        BLIND: "#000000",
    }

    def missing_from(self, scale: Scale) -> str:
        """See `ExperimentKind.missing_from`."""
        return "" if scale.references and scale.pairs else "references and pairs"

    def exported(self, cells: Sequence[Cell], plan: Plan) -> list[Cell]:
        """The finished encoders of full size; see `ExperimentKind.exported`."""
        return [cell for cell in cells if cell.epoch is None and cell.setting.endswith("epochs")]

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        scale = repetition.scale
        assert scale.pairs is not None  # or the matrix was refused
        for architecture in scale.pairs.architectures:
            for epoch in (*scale.pairs.snapshots, None):
                at = f"{scale.members} members, {epoch or scale.pairs.epochs} epochs"
                few = scale.pairs.few_views if epoch else None
                yield _cell(repetition, architecture, at, epoch=epoch, n_views=few)
            for n_members in scale.pairs.members:
                yield _cell(
                    repetition,
                    architecture,
                    f"{n_members} members",
                    n_members=n_members,
                    n_views=scale.pairs.few_views,
                )
            for n_views in scale.pairs.passes:
                yield _cell(repetition, architecture, f"{n_views} views", n_views=n_views)

    def fits(self, cell: Cell, plan: Plan, output: Output, kinds: Sequence[Kind]) -> Iterator[Fit]:
        """Every form of every kind; see `ExperimentKind.fits`."""
        always = [kind for kind in RULES if not find_rule(kind).is_network and kind != "fine-tune"]
        for kind in dict.fromkeys((*kinds, *always)):
            if find_rule(kind).reads.startswith("caption") and output != "embedding":
                continue
            for has_reference in forms(kind, has_reference=True):
                keys = cell.references if has_reference else ()
                yield Fit(output, kind, "cosine", cell.n_views, 1, keys, CLIP.id, cell.epoch)

    def judge(
        self, cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
    ) -> Iterator[Outcome]:
        """See `ExperimentKind.judge`."""
        yield from super().judge(cell, plan, outputs, kinds)
        if "embedding" in outputs:
            yield from judge_plain_signals(cell, plan)
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]
        if cell.epoch is not None or not any(look.recipe == VIEWS for look in target.looks):
            return
        for output in outputs:
            on_target, on_shadow = (
                signals_and_reference(unit, look_of(unit, output), ())[0].cosine.mean(axis=1)
                for unit in (target, shadow)
            )
            threshold = best_threshold(on_shadow.astype(float), truth(shadow))
            yield judge_scores(
                cell, output, PAPERS_VIEWS, on_target.astype(float), truth(target), threshold
            )
            if target.n_members >= MIN_OF_EACH:
                scores = _scores_of_captions(target)
                yield judge_scores(cell, output, BLIND, scores, truth(target), 0.5)


def _scores_of_captions(unit: Unit) -> Scores:
    """Scores of classifiers that read the captions and no encoder."""
    split = read_split(unit.split)
    pictures, n_members = split.pictures(unit.role, unit.n_members)
    captions = split.captions_of(pictures)
    return caption_baseline(captions[:n_members], captions[n_members:], unit.seed).scores


def judge_plain_signals(cell: Cell, plan: Plan) -> Iterator[Outcome]:
    """How well signals do that no kind of inferrer reads alone, by the embedding."""
    seen = {}
    for unit in (plan.units[cell.target], plan.units[cell.shadow]):
        look = look_of(unit, "embedding", cell.epoch, CLIP.id)
        seen[unit.key] = signals_and_reference(unit, look, references_of(unit, cell, plan))
    for name in PLAIN_SIGNALS:
        for has_reference in (False, True):

            def scores(unit: Unit, name: str = name, subtract: bool = has_reference) -> Scores:
                own, reference = seen[unit.key]
                assert reference is not None  # every cell has some
                return _values(own, name) - (_values(reference, name) if subtract else 0)

            target, shadow = plan.units[cell.target], plan.units[cell.shadow]
            method = f"{name}{WITH_REFERENCE}" if has_reference else name
            threshold = best_threshold(scores(shadow), truth(shadow))
            yield judge_scores(cell, "embedding", method, scores(target), truth(target), threshold)


def _values(signals: Signals, name: str) -> Scores:
    field, sign = PLAIN_SIGNALS[name]
    values: Scores = sign * getattr(signals.captions, field).astype(float)
    return values


def _cell(
    repetition: Repetition,
    architecture: PairArchitecture,
    setting: str,
    *,
    epoch: int | None = None,
    n_members: int | None = None,
    n_views: int | None = None,
) -> Cell:
    scale = repetition.scale
    assert scale.pairs is not None  # or the matrix was refused
    members = n_members or scale.members
    views = n_views or scale.views
    target, shadow = (repetition.pair_encoder(role, architecture, members) for role in _SIDES)
    references = tuple(
        repetition.pair_encoder("reference", architecture, members, number)
        for number in range(scale.references)
    )
    for output in repetition.encoders.outputs:
        look = Look(output, epoch, 0, views, recipe=CLIP.id)
        for key in (target, shadow):
            repetition.encoders.look(key, look)
            if epoch is None and members == scale.members:
                few = min(scale.views, scale.pairs.few_views)
                repetition.encoders.look(key, Look(output, None, 0, few))
        for key in references:
            for role in _SIDES:
                repetition.encoders.look(key, replace(look, of=role))
    return Cell(
        experiment=repetition.experiment,
        kind=repetition.kind,
        setting=f"{architecture}, {setting}",
        seed=repetition.seed,
        target=target,
        shadow=shadow,
        epoch=epoch,
        similarity="cosine",
        n_views=views,
        references=references,
    )
