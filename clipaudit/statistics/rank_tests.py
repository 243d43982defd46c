"""One-sided rank tests with p-values that are exact, whatever the ties, or drawn with a seed.

Both are permutation tests: the ranks at hand are dealt anew, in every way that the null hypothesis
makes equally likely, and p is the share of ways whose sum is as high. All ways are counted as long
as that takes less than about a second. Else ways are drawn at random, and p is
(1 + hits) / (1 + draws), which keeps any level too.
Source of the exact test in pairs: Streitberg and Röhmel, "Exact Distributions for Permutation and
Rank Tests" (1986), the shift algorithm; of what is drawn: Phipson and Smyth, "Permutation P-values
Should Never Be Zero" (2010).
"""

from __future__ import annotations

import math
from itertools import chain, combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from clipaudit.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.statistics.metrics import FloatArray

IntArray = npt.NDArray[np.int64]

HANDICAP = 0.5
"""What Savage's and Stephenson's sums are behind by, so that little power is lost where a set is
higher as a whole."""
_HANDICAPS = np.array([0.0, HANDICAP, HANDICAP])
_SUBSAMPLE = 10
"""Stephenson's number: a rank counts by how many sets of so many it is the highest of."""

_MOST_DEALS = 20_000
"""Ways of dealing that are all counted: those of 8 against 8."""
_MOST_CELLS = 2_000_000
"""Numbers that are drawn at once."""
_ROUNDING = 1e-9
_MOST_STEPS = 300_000_000
"""Additions that an exact test in pairs may take."""

_MOST_WAYS = 10**300
"""Ways that an exact test may count, in float64."""


class RankTest(NamedTuple):
    """What a test gave.

    Attributes:
        p: How often chance alone gives a statistic as high.
        smallest_p: What it would be for the highest that there is, with these ties.
        n_resamples: How many ways were drawn at random; 0 where all were counted.
    """

    p: float
    smallest_p: float
    n_resamples: int


def largest_rank_sum(
    first: FloatArray,
    second: FloatArray,
    seed: int,
    n_resamples: int,
    series: tuple[IntArray, IntArray] | None = None,
) -> RankTest:
    """Whether the first scores run higher than the second, all of them or a few far ones.

    Three sums of scores of the ranks, each in its own standard deviations: Mann and Whitney's sees
    a set that is higher as a whole, Savage's and Stephenson's see the few of it that are far up.
    The largest of the three, the last two less `HANDICAP`, is compared with what it comes to where
    the ranks are dealt anew, so that p accounts for the choice.

    Power at 5 % with normal scores, Mann-Whitney's → this (`benchmarks/comparison.py`): 100 against
    500 of which 10 % are 3 standard deviations higher 45 → 93 %; 20 against 20, 100 against 100 and
    100 against 500 that are higher as a whole 77 → 76, 77 → 77 and 85 → 85 %.

    Null hypothesis: all come from one distribution. Source: Mann and Whitney (1947); Savage (1956);
    Stephenson, "A General Class of One-Sample Nonparametric Test Statistics Based on Subsamples"
    (1981), and Conover and Salsburg (1988), "Locally Most Powerful Tests for Detecting Treatment
    Effects When Only a Subset of Patients Can Be Expected to 'Respond' to Treatment". Ties share
    the mean of their scores.

    Args:
        first: Shape (n_first,), finite, not empty.
        second: Shape (n_second,), finite, not empty.
        seed: Seed of the ways that are drawn.
        n_resamples: Ways to draw where not all are counted.
        series: Number of the series of each of the first and of each of the second. Series are
            dealt as a whole, and each counts once, by the mean of its scores of ranks.
    """
    columns = _rank_scores(np.concatenate([first, second]))
    n_first = len(first)
    if series is not None:
        sides = (columns[:, :n_first], columns[:, n_first:])
        means = [_means(side, numbers) for side, numbers in zip(sides, series, strict=True)]
        columns, n_first = np.concatenate(means, axis=1), means[0].shape[1]
    columns = _standardised(columns)
    n = columns.shape[1]
    own = columns[:, :n_first].sum(axis=1)
    # The rest is of any order: the same pictures in another order have the same p.
    pool = columns[:, np.lexsort(columns)]
    n_dealt, sign = (n_first, 1) if 2 * n_first <= n else (n - n_first, -1)
    unit = np.sqrt(max(n_dealt * (n - n_dealt), 1) / max(n - 1, 1))

    def statistic(sums: FloatArray) -> FloatArray:
        found: FloatArray = (sums / unit - _HANDICAPS[:, None]).max(axis=0)
        return found

    observed = statistic(own[:, None])[0] - _ROUNDING
    # Every score rises with the rank, so the series that are highest give the largest sums.
    highest = statistic(np.sort(columns, axis=1)[:, n - n_first :].sum(axis=1)[:, None])[0]
    n_ways = math.comb(n, n_dealt)
    is_exact = n_ways <= _MOST_DEALS
    n_hits = n_highest = 0
    for dealt in _all_deals(n, n_dealt) if is_exact else _deals(n, n_dealt, seed, n_resamples):
        chance = statistic(sign * pool[:, dealt].sum(axis=2))
        n_hits += int((chance >= observed).sum())
        n_highest += int((chance >= highest - _ROUNDING).sum())
    if is_exact:
        return RankTest(n_hits / n_ways, max(n_highest, 1) / n_ways, 0)
    n_all = 1 + n_resamples
    return RankTest((1 + n_hits) / n_all, (1 + n_highest) / n_all, n_resamples)


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

    numbers = stream(seed, "rank test", "permutations")
    n_hits = sum(
        int(pool[numbers.random(len(pool)) < 0.5].sum()) >= observed for _ in range(n_resamples)
    )
    n_all = 1 + n_resamples
    return RankTest((1 + n_hits) / n_all, max(smallest_p, 1 / n_all), n_resamples)


def _rank_scores(values: FloatArray) -> FloatArray:
    """Mann and Whitney's, Savage's and Stephenson's score of each value, shape (3, n)."""
    from scipy import special

    n = len(values)
    rank = np.arange(1, n + 1)
    below = np.maximum(rank - 1, _SUBSAMPLE - 1)
    most = max(n - 1, _SUBSAMPLE - 1)
    choices = special.gammaln(below + 1) - special.gammaln(below - _SUBSAMPLE + 2)
    choices -= special.gammaln(most + 1) - special.gammaln(most - _SUBSAMPLE + 2)
    scores = (
        rank.astype(np.float64),
        np.cumsum(1 / (n - rank + 1)),
        np.where(rank >= _SUBSAMPLE, np.exp(choices), 0.0),
    )
    _, level, n_equal = np.unique(values, return_inverse=True, return_counts=True)
    level_of_rank = np.repeat(np.arange(len(n_equal)), n_equal)
    shared = [np.bincount(level_of_rank, weights=score) / n_equal for score in scores]
    return np.stack(shared)[:, level]


def _means(columns: FloatArray, series: IntArray) -> FloatArray:
    """The mean of the columns of each series."""
    _, number, n = np.unique(series, return_inverse=True, return_counts=True)
    return np.stack([np.bincount(number, weights=row) / n for row in columns])


def _standardised(columns: FloatArray) -> FloatArray:
    """Each row with mean 0 and standard deviation 1; one of equal numbers is 0."""
    centred = columns - columns.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    is_spread = spread > _ROUNDING * np.abs(columns).max(axis=1, keepdims=True)
    return np.where(is_spread, centred / np.where(is_spread, spread, 1), 0.0)


def _all_deals(n: int, n_dealt: int) -> Iterator[IntArray]:
    """Every choice of so many of n, shape (n_ways, n_dealt), at once."""
    ways = np.fromiter(chain.from_iterable(combinations(range(n), n_dealt)), dtype=np.int64)
    yield ways.reshape(-1, n_dealt)


def _deals(n: int, n_dealt: int, seed: int, n_resamples: int) -> Iterator[IntArray]:
    """Random choices of so many of n, shape (some, n_dealt), until there are all."""
    numbers = stream(seed, "rank test", "permutations")
    most = max(1, _MOST_CELLS // n)
    for start in range(0, n_resamples, most):
        keys = numbers.random((min(most, n_resamples - start), n), dtype=np.float32)
        yield np.argpartition(keys, n_dealt - 1, axis=1)[:, :n_dealt]


def _whole_ranks(ranks: FloatArray, own: FloatArray) -> tuple[IntArray, int]:
    """The ranks, sorted, and the sum of some, both in the largest unit that leaves them whole."""
    doubled = np.rint(2 * np.sort(ranks)).astype(np.int64)  # ranks of ties may end in a half
    unit = max(1, int(np.gcd.reduce(doubled)))
    return doubled // unit, round(2 * float(own.sum())) // unit
