"""Encoders that were fine-tuned from another: does what their base makes of pictures tell more?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from clipaudit.features.views import CLIP
from clipaudit.lab.cells import Cell
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.experiments.clip import Clip, judge_plain_signals
from clipaudit.lab.units import Fit, Look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.results import Outcome
    from clipaudit.lab.scale import Scale

KINDS: tuple[Kind, ...] = ("T", "norm", "combined", "caption-loss", "fine-tune")


class FineTune(ExperimentKind):
    """A cell an architecture, number of pictures, learning rate and epoch; the base is reference.

    The target's base is the target of `clip`, and it is fine-tuned on members of the shadow side;
    the shadow's the other way round. So the inferrer never meets an encoder that it is judged on,
    and no picture that it learns from is one that it is judged by.
    """

    title = "Fine-tuned encoders, their base as reference"
    setting = "encoder"
    recipe = CLIP.id
    colours: ClassVar = Clip.colours

    def missing_from(self, scale: Scale) -> str:
        """See `ExperimentKind.missing_from`."""
        return "" if scale.pairs and scale.pairs.fine_tunes else "pairs.fine_tunes"

    def exported(self, cells: Sequence[Cell], plan: Plan) -> list[Cell]:
        """Those of a middling number of pictures and the lowest rate; see the base class."""

        def strength(cell: Cell) -> tuple[int, float]:
            target = plan.units[cell.target]
            return target.n_members, target.pretrain.learning_rate

        sizes = sorted({strength(cell)[0] for cell in cells})
        rates = sorted({strength(cell)[1] for cell in cells})
        wanted = [(sizes[len(sizes) // 2], rates[0])] if cells else []
        return [cell for cell in cells if strength(cell) in wanted]

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        pairs = repetition.scale.pairs
        assert pairs is not None  # or the matrix was refused
        assert pairs.fine_tunes is not None  # likewise
        how = pairs.fine_tunes
        for architecture in pairs.architectures:
            for n_members in how.members:
                for rate in how.learning_rates:
                    target, base = repetition.tuned_encoder("target", architecture, n_members, rate)
                    shadow, shadows_base = repetition.tuned_encoder(
                        "shadow", architecture, n_members, rate
                    )
                    for epoch in how.epochs:
                        at = None if epoch == max(how.epochs) else epoch
                        look = Look("embedding", at, 0, 2, recipe=CLIP.id)
                        repetition.encoders.look(target, look)
                        repetition.encoders.look(shadow, look)
                        yield Cell(
                            experiment=repetition.experiment,
                            kind=repetition.kind,
                            setting=f"{architecture}, {n_members} pictures, {rate:g}, "
                            f"{epoch} epoch{'s' * (epoch > 1)}",
                            seed=repetition.seed,
                            target=target,
                            shadow=shadow,
                            epoch=at,
                            similarity="cosine",
                            n_views=2,
                            references=(base, shadows_base),
                        )
            look = Look("embedding", None, 0, 2, recipe=CLIP.id)
            repetition.encoders.look(base, replace(look, of="tuned-target"))
            repetition.encoders.look(shadows_base, replace(look, of="tuned-shadow"))

    def fits(self, cell: Cell, plan: Plan, output: Output, kinds: Sequence[Kind]) -> Iterator[Fit]:
        """The forms that read the base; see `ExperimentKind.fits`."""
        if output != "embedding":
            return
        base = plan.units[cell.shadow].base_key
        assert base is not None  # every cell is of fine-tuned encoders
        for kind in KINDS:
            keys = () if kind == "T" else (base,)
            yield Fit(output, kind, "cosine", cell.n_views, 1, keys, CLIP.id, cell.epoch)

    def judge(
        self, cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
    ) -> Iterator[Outcome]:
        """See `ExperimentKind.judge`."""
        yield from super().judge(cell, plan, outputs, kinds)
        if "embedding" in outputs:
            yield from judge_plain_signals(cell, plan)
