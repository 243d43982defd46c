"""A configuration → the inferrers of a run: those named, or every shipped one that fits."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from clipaudit.encoders.base import OUTPUTS
from clipaudit.errors import InferrerError
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Inferrer, Reads
from clipaudit.inferrers.library import find, shipped_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.features.signals import Similarity
    from clipaudit.pipelines.config import ScoreConfig


def named_inferrers(config: ScoreConfig) -> tuple[Inferrer, ...]:
    """The inferrers that were asked for, before an encoder is loaded that they do not fit.

    Raises:
        InferrerError: One is missing or reads something else; where none is named, no shipped
            one reads this.
    """
    if not config.inferrers:
        outputs = (config.options.output,) if config.options.output else OUTPUTS
        for output in outputs:
            with suppress(InferrerError):
                _shipped(config, output)
                return ()
        _shipped(config, outputs[0])
    named = {name: find(name) for name in config.inferrers}
    for inferrer in named.values():
        _check(inferrer, config, inferrer.card.reads.output)
    often = Counter(inferrer.card.name for inferrer in named.values())
    return tuple(
        # Two of one name, such as those of two training runs, go by their folders.
        Inferrer(replace(inferrer.card, name=name), inferrer.rule)
        if often[inferrer.card.name] > 1
        else inferrer
        for name, inferrer in named.items()
    )


def fitting_inferrers(
    config: ScoreConfig, named: tuple[Inferrer, ...], output: Output
) -> tuple[Inferrer, ...]:
    """The named inferrers, or every shipped one that fits.

    Raises:
        InferrerError: One does not read this output, or none does.
    """
    for inferrer in named:
        _check(inferrer, config, output)
    return named or _shipped(config, output)


def shown_similarity(config: ScoreConfig, inferrers: Sequence[Inferrer]) -> Similarity:
    """The similarity whose mean a row shows: by default, what the first inferrer reads."""
    first = inferrers[0].card.reads.similarity if inferrers else "cosine"
    return config.similarity or first


def _shipped(config: ScoreConfig, output: Output) -> tuple[Inferrer, ...]:
    reads = Reads(
        config.similarity or "cosine",
        config.n_views,
        config.recipe,
        output,
        has_reference=bool(config.references),
    )
    return tuple(shipped_for(reads, every_data_set=config.every_data_set))


def _check(inferrer: Inferrer, config: ScoreConfig, output: Output) -> None:
    inferrer.check(made_for(inferrer, config, output))


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
