"""One-sided rank tests with p-values that are exact, whatever the ties, or drawn with a seed.

Both are permutation tests: the ranks at hand are dealt anew, in every way that the null hypothesis
makes equally likely, and p is the share of ways whose sum is as high. All ways are counted, rank by
rank, as long as that takes less than about a second. Else ways are drawn at random, and p is
(1 + hits) / (1 + draws), which keeps any level too.
Source: Streitberg and Röhmel, "Exact Distributions for Permutation and Rank Tests" (1986), the
shift algorithm; Phipson and Smyth, "Permutation P-values Should Never Be Zero" (2010).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from clipaudit.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipaudit.statistics.metrics import FloatArray

_IntArray = npt.NDArray[np.int64]

_MOST_STEPS = 300_000_000
"""Additions that an exact test may take: those of 100 scores against 100."""

_MOST_WAYS = 10**300
"""Ways that an exact test may count, in float64."""


class RankTest(NamedTuple):
    """What a test gave.

    Attributes:
        p: How often chance alone gives a sum of ranks as high.
        smallest_p: What it would be for the highest sum that there is, with these ties.
        n_resamples: How many ways were drawn at random; 0 where all were counted.
    """

    p: float
    smallest_p: float
    n_resamples: int


def mann_whitney(first: FloatArray, second: FloatArray, seed: int, n_resamples: int) -> RankTest:
    """Whether the first scores run higher than the second, which may be in any order.

    Null hypothesis: all come from one distribution. Source: Mann and Whitney (1947).

    Args:
        first: Shape (n_first,), finite, not empty.
        second: Shape (n_second,), finite, not empty.
        seed: Seed of the ways that are drawn.
        n_resamples: Ways to draw where not all are counted.
    """
    from scipy import stats

    ranks = stats.rankdata(np.concatenate([first, second]))
    own = ranks[: len(first)]
    if len(second) < len(first):  # whether the fewer run lower: the same, with less to count
        ranks = -ranks
        own = ranks[len(first) :]
    pool, observed = _whole_ranks(ranks - ranks.min(), own - ranks.min())
    k, highest = len(own), pool[-len(own) :]
    n_equal, n_dealt = int((pool == highest[0]).sum()), int((highest == highest[0]).sum())
    n_ways = math.comb(len(pool), k)
    smallest_p = math.comb(n_equal, n_dealt) / n_ways
    width = int(highest.sum()) + 1
    if len(pool) * k * width <= _MOST_STEPS and n_ways <= _MOST_WAYS:
        ways = np.zeros((k + 1, width))  # of dealing so many ranks with such a sum
        ways[0, 0] = 1
        for rank in pool.tolist():
            ways[1:, rank:] += ways[:-1, : width - rank]
        return RankTest(float(ways[k, observed:].sum() / ways[k].sum()), smallest_p, 0)

    def deal(numbers: np.random.Generator) -> int:
        return int(pool[numbers.choice(len(pool), k, replace=False, shuffle=False)].sum())

    return _resample(deal, observed, smallest_p, seed, n_resamples)


def signed_rank(differences: FloatArray, seed: int, n_resamples: int) -> RankTest:
    """Whether differences run above 0; they may be in any order.

    Null hypothesis: each might as well have the other sign. Those that are 0 take part in the
    ranking and have no sign. Source: Wilcoxon (1945); Pratt (1959) for the zeros.

    Args:
        differences: Shape (n,), finite, not empty.
        seed: Seed of the ways that are drawn.
        n_resamples: Ways to draw where not all are counted.
    """
    from scipy import stats

    ranks = stats.rankdata(np.abs(differences))
    pool, observed = _whole_ranks(ranks[differences != 0], ranks[differences > 0])
    smallest_p = 0.5 ** len(pool)
    width = int(pool.sum()) + 1
    if len(pool) * width <= _MOST_STEPS and 2 ** len(pool) <= _MOST_WAYS:
        ways = np.zeros(width)  # of choosing the signs so that the positive ones have such a sum
        ways[0] = 1
        for rank in pool.tolist():
            ways[rank:] += ways[: width - rank]
        return RankTest(float(ways[observed:].sum() / ways.sum()), smallest_p, 0)

    def sign(numbers: np.random.Generator) -> int:
        return int(pool[numbers.random(len(pool)) < 0.5].sum())

    return _resample(sign, observed, smallest_p, seed, n_resamples)


def _whole_ranks(ranks: FloatArray, own: FloatArray) -> tuple[_IntArray, int]:
    """The ranks, sorted, and the sum of some, both in the largest unit that leaves them whole."""
    doubled = np.rint(2 * np.sort(ranks)).astype(np.int64)  # ranks of ties may end in a half
    unit = max(1, int(np.gcd.reduce(doubled)))
    return doubled // unit, round(2 * float(own.sum())) // unit


def _resample(
    draw: Callable[[np.random.Generator], int],
    observed: int,
    smallest_p: float,
    seed: int,
    n_resamples: int,
) -> RankTest:
    numbers = stream(seed, "rank test", "permutations")
    n_hits = sum(draw(numbers) >= observed for _ in range(n_resamples))
    p, least = (1 + n_hits) / (1 + n_resamples), 1 / (1 + n_resamples)
    return RankTest(p, max(smallest_p, least), n_resamples)
