"""A configuration → the inferrers of a run and the views that they read.

The inferrers are those named, or the shipped ones of the methods that are named, or the one of the
table of defaults; the recipe of the views is the one named, or the one that fits the encoder and is
read by an inferrer.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clipaudit.encoders.base import OUTPUTS
from clipaudit.encoders.references import find_bases
from clipaudit.encoders.text_towers import has_text_tower
from clipaudit.errors import InferrerError
from clipaudit.features.recipes import AUTO, training_views
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Inferrer, Reads
from clipaudit.inferrers.library import find
from clipaudit.inferrers.methods import Offer
from clipaudit.inferrers.methods import choose as choose_inferrers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.features.signals import Similarity
    from clipaudit.pipelines.config import ScoreConfig


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run scores with, before its encoder is loaded.

    Attributes:
        named: The inferrers that were asked for; none where shipped ones are to be found.
        recipe: Recipe of the views.
        reason: Why this recipe, where nobody named one.
        has_captions: Whether there are captions to read.
        has_base: Whether a reference is what the encoder was fine-tuned from.
    """

    named: tuple[Inferrer, ...]
    recipe: str
    reason: str
    has_captions: bool
    has_base: bool

    def inferrers(self, config: ScoreConfig, output: Output) -> tuple[Inferrer, ...]:
        """The named inferrers, or the shipped ones of the methods.

        Raises:
            InferrerError: One does not read this output, or none does.
        """
        config = replace(config, recipe=self.recipe)
        for inferrer in self.named:
            inferrer.check(made_for(inferrer, config, output))
        return self.named or _shipped(config, output, self.has_captions, self.has_base)


def choose(config: ScoreConfig, *, has_captions: bool) -> Choice:
    """The choice of a run, before an encoder is loaded that its inferrers do not fit.

    Args:
        config: What was asked for.
        has_captions: Whether there are captions to read.

    Raises:
        InferrerError: One is missing or reads something else; where none is named, no shipped
            one reads this.
    """
    named = _named_inferrers(config)
    for inferrer in named:
        if inferrer.card.reads.reads_captions and not has_captions:
            raise InferrerError(
                f"inferrer {inferrer.card.name} reads captions, and there are none",
                "Pass --captions with a caption file, or sidecar, embedded or names; or another "
                "inferrer: `clipaudit inferrers` lists them.",
            )
    bases = find_bases(config.encoder) if config.references and not named else ()
    has_base = any(base.spec in config.references for base in bases)
    recipe, reason = _choose_recipe(config, named, has_captions, has_base)
    choice = Choice(named, recipe, reason, has_captions, has_base)
    if named:
        for inferrer in named:
            made_by = made_for(inferrer, replace(config, recipe=recipe), inferrer.card.reads.output)
            inferrer.check(made_by)
        return choice
    for output in _outputs(config):
        with suppress(InferrerError):
            choice.inferrers(config, output)
            return choice
    choice.inferrers(config, _outputs(config)[0])
    return choice


def planned_views(config: ScoreConfig, inferrers: Sequence[Inferrer]) -> int:
    """Views that a run makes of each picture: none where no inferrer reads them."""
    reads_none = inferrers and not any(inferrer.card.reads.reads_views for inferrer in inferrers)
    return 0 if reads_none else config.n_views


def shown_similarity(config: ScoreConfig, inferrers: Sequence[Inferrer]) -> Similarity:
    """The similarity whose mean a row shows: by default, what the first inferrer reads."""
    first = inferrers[0].card.reads.similarity if inferrers else "cosine"
    return config.similarity or first


def made_for(inferrer: Inferrer, config: ScoreConfig, output: Output) -> Reads:
    """What a run makes of the features that an inferrer reads."""
    card = inferrer.card
    return reads_of(
        card.kind,
        config.similarity or card.reads.similarity,
        config.n_views,
        config.recipe,
        output,
        has_reference=card.reads.has_reference and bool(config.references),
    )


def _named_inferrers(config: ScoreConfig) -> tuple[Inferrer, ...]:
    named = {name: find(name) for name in config.inferrers}
    often = Counter(inferrer.card.name for inferrer in named.values())
    return tuple(
        # Two of one name, such as those of two training runs, go by their folders.
        Inferrer(replace(inferrer.card, name=name), inferrer.rule)
        if often[inferrer.card.name] > 1
        else inferrer
        for name, inferrer in named.items()
    )


def _choose_recipe(
    config: ScoreConfig, named: Sequence[Inferrer], has_captions: bool, has_base: bool
) -> tuple[str, str]:
    """The recipe of the views, and why it was chosen; "" where it was named."""
    if config.recipe != AUTO:
        return config.recipe, ""
    if named:
        recipes = {inferrer.card.reads.recipe for inferrer in named if inferrer.card.reads.n_views}
        return (recipes.pop() if len(recipes) == 1 else ENCODERMI.id), ""
    known = training_views(config.encoder, has_text=has_text_tower(config.encoder))
    if known.recipe is None or known.recipe == ENCODERMI.id:
        return ENCODERMI.id, f"the paper's: {known.about}"
    for output in _outputs(config):
        with suppress(InferrerError):
            matched = replace(config, recipe=known.recipe)
            found = _shipped(matched, output, has_captions, has_base)
            reads = [inferrer.card.reads for inferrer in found]
            if config.methods or any(one.reads_views or one.reads_captions for one in reads):
                return known.recipe, f"{known.about} ({known.source})"
    kind = f" of method {' and '.join(config.methods)}" if config.methods else ""
    kind += f" of shadow data set {config.shadow}" if config.shadow else ""
    why = f"no shipped inferrer{kind} reads {known.recipe}, though {known.about}"
    return ENCODERMI.id, f"the paper's: {why}"


def _outputs(config: ScoreConfig) -> tuple[Output, ...]:
    return (config.options.output,) if config.options.output else OUTPUTS


def _shipped(
    config: ScoreConfig, output: Output, has_captions: bool, has_base: bool
) -> tuple[Inferrer, ...]:
    reads = Reads(
        config.similarity or "cosine",
        config.n_views,
        config.recipe,
        output,
        has_reference=bool(config.references),
    )
    offer = Offer(reads, has_captions, has_base, config.shadow)
    return choose_inferrers(config.methods, offer, every_data_set=config.every_data_set)
