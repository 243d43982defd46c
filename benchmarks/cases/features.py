"""Features: every pairwise similarity and norm of ten views."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.cases.pictures import N_VIEWS
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import Signals, measure

_DIM = 512


def random_embeddings(size: int, dim: int = _DIM) -> Embeddings:
    """Embeddings of ten views a picture that are as alike as an encoder's."""
    generator = np.random.default_rng(0)
    common = generator.normal(size=(size, 1, dim))
    own = generator.normal(size=(size, N_VIEWS + 1, dim))
    both = (common + 0.5 * own).astype(np.float32)
    ids = tuple(f"{number:064x}" for number in range(size))
    return Embeddings(ids, both[:, :-1], both[:, -1])


def _prepare(size: int, place: Workplace) -> Contest:
    embeddings = random_embeddings(size)
    views = embeddings.views.astype(np.float64)
    return Contest(
        (
            Way("product", "all pictures at once", lambda: _stacked(measure(embeddings))),
            Way("naive", "pair by pair", lambda: _pair_by_pair(embeddings)),
            Way("floor", "one matrix product a picture", lambda: views @ views.swapaxes(1, 2)),
        ),
        _require_same,
    )


def _stacked(signals: Signals) -> tuple[object, ...]:
    return signals.cosine, signals.pearson, signals.euclidean, signals.norms, signals.plain_norm


def _pair_by_pair(embeddings: Embeddings) -> tuple[object, ...]:
    columns: tuple[list[object], ...] = ([], [], [], [], [])
    for views, plain in zip(embeddings.views, embeddings.plain, strict=True):
        wide = views.astype(np.float64)
        pairs = [*combinations(wide, 2)]
        columns[0].append([a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs])
        columns[1].append([np.corrcoef(a, b)[0, 1] for a, b in pairs])
        columns[2].append(
            [-np.linalg.norm(a / np.linalg.norm(a) - b / np.linalg.norm(b)) for a, b in pairs]
        )
        columns[3].append([np.linalg.norm(view) for view in wide])
        columns[4].append(np.linalg.norm(plain.astype(np.float64)))
    return tuple(map(np.array, columns))


def _require_same(product: Any, naive: Any) -> None:
    for found, expected in zip(product, naive, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


CASE = Case(
    "similarities and norms of ten views of length 512",
    "pictures",
    (100, 1000, 10_000),
    (20,),
    _prepare,
)
