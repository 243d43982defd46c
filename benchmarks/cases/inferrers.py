"""Inferrers: features to scores, by the shipped T, V and S."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases.features import random_embeddings
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.features.signals import measure, select
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers.base import Features
from clipaudit.inferrers.library import find
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.outcomes import scores


def _prepare(size: int, place: Workplace) -> Contest:
    signals = measure(random_embeddings(size, dim=64))
    chosen = [find(f"cifar10-{kind}") for kind in "tvs"]

    def alone() -> list[list[float]]:
        singles = [select(signals, [image_id]) for image_id in signals.image_ids]
        return [
            [float(inferrer.score(Features.of(one, inferrer.card.reads))[0]) for inferrer in chosen]
            for one in singles
        ]

    def together() -> list[object]:
        return [inferrer.score(Features.of(signals, inferrer.card.reads)) for inferrer in chosen]

    config = ScoreConfig(recipe=ENCODERMI.id)
    return Contest(
        (
            Way(
                "product",
                "as `clipaudit score`",
                lambda: scores(chosen, config, "embedding", signals, None),
            ),
            Way("naive", "features and scores picture by picture", alone),
            Way("floor", "all pictures in one batch, a rounding off", together),
        ),
        _require_same,
    )


def _require_same(product: Any, naive: Any) -> None:
    np.testing.assert_allclose(product, naive, rtol=1e-4, atol=1e-5)


CASE = Case("scores by T, V and S together", "pictures", (100, 1000, 10_000), (50,), _prepare)
