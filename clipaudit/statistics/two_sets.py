"""A set of suspect pictures against its control: do they score higher than chance explains?

The control is of the same kind as the suspects and cannot have been used. The null hypothesis says
that both come from one distribution of scores. Every p-value is that of a permutation test: how
often the scores at hand, dealt anew to suspects and control, come out as extreme. So it holds at
any size, with any ties, whatever the distribution; but only if suspects and control are
exchangeable but for membership, which no test on their scores can check.

Arrays in, plain data out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np

from clipaudit.statistics.metrics import Estimate, FloatArray, auc
from clipaudit.statistics.rank_tests import IntArray, RankTest, largest_rank_sum, signed_rank

Outcome = Literal["higher", "not shown", "too few"]

RESAMPLES = 9_999
"""Random permutations, where there are too many to count them all."""

POWERS = (0.8, 0.95)
"""Powers for which the number of pictures needed is given."""

SIZES = (20, 50, 100, 500)
"""Numbers of pictures in each set for which the power is given."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out of suspects against control, and what could have.

    Attributes:
        n_suspects: Pictures in the set.
        n_control: Pictures in its control.
        paired: Whether each suspect was compared with a control picture of its own.
        alpha: Level of the test.
        p: One-sided: how often chance alone ranks the suspects as high.
        n_resamples: Random permutations behind p; 0 where all were counted, and p is exact.
        smallest_p: The smallest p-value that so many pictures, with these ties, can give.
        n_minimum: Fewest pictures in each set, or pairs, that can give a p-value at the level;
            fewer suspects can against more of the control.
        effect: Probability that a suspect scores above a control picture (above its own, in
            pairs), ties counting half; one half is no difference. Its interval has two sides, and
            may reach one half where the one-sided p-value does not reach the level. None for a
            set of one picture.
        planning_effect: Effect that power is reckoned from: the effect's value or, in pairs, the
            probability that two differences between a suspect and its control sum to above 0.
        needed: Pictures in each set, or pairs, that would find this effect as often as each power
            says; None where no number would.
        power: How often each number of pictures in each set, or of pairs, would find it.
        detectable: The effect that so many pictures find in 80 % of comparisons; None in pairs.
        n_series: Series among the suspects and among the control, which were dealt as a whole; None
            where each picture stood by itself.
    """

    n_suspects: int
    n_control: int
    paired: bool
    alpha: float
    p: float
    n_resamples: int
    smallest_p: float
    n_minimum: int
    effect: Estimate | None
    planning_effect: float
    needed: tuple[tuple[float, int | None], ...]
    power: tuple[tuple[int, float], ...]
    detectable: float | None
    n_series: tuple[int, int] | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether the set scores higher, was not shown to, or is too small to tell."""
        if self.effect is None or self.smallest_p > self.alpha:
            return "too few"
        return "higher" if self.p <= self.alpha else "not shown"


def compare(
    suspects: FloatArray,
    control: FloatArray,
    alpha: float,
    seed: int,
    n_resamples: int = RESAMPLES,
    series: tuple[IntArray, IntArray] | None = None,
) -> Comparison:
    """Suspects against a control, by the one-sided test of the largest rank sum; in any order.

    Up to 8 pictures in each set the p-value is exact; from there on it is by random permutations.
    See `rank_tests` and, for the interval of the effect, `metrics.auc`. Power and the number of
    pictures needed are those of the Mann-Whitney test, which are the same within a point or two
    where the whole set is higher.

    Args:
        suspects: Scores, shape (n_suspects,), finite.
        control: Scores, shape (n_control,), finite.
        alpha: Level of the test, below one half.
        seed: Seed of the random permutations.
        n_resamples: Random permutations to draw.
        series: Number of the series of each suspect and of each control picture; pictures of one
            series are dealt together.

    Raises:
        ValueError: A set without pictures, a score that is not finite, or a level that is not
            between 0 and one half or cannot be reached with so many permutations.
    """
    from scipy import stats

    _check(suspects, control, alpha, n_resamples)
    n_suspects, n_control = len(suspects), len(control)
    together = np.concatenate([suspects, control])
    ranks = stats.rankdata(together)
    wins = float(ranks[:n_suspects].sum()) - n_suspects * (n_suspects + 1) / 2
    effect, n_series, groups = None, None, None
    if series is not None:
        n_series = (len(np.unique(series[0])), len(np.unique(series[1])))
        groups = np.concatenate([series[0], series[1] + 1 + series[0].max()])
    if min(n_series or (n_suspects, n_control)) > 1:
        effect = auc(together, np.arange(len(together)) < n_suspects, groups)
    information = 12 * n_suspects * n_control / (n_suspects + n_control)
    reach = (_z(1 - alpha) + _z(POWERS[0])) / math.sqrt(information)
    comparison = _comparison(
        largest_rank_sum(suspects, control, seed, n_resamples, series),
        (n_suspects, n_control),
        alpha,
        effect,
        planning_effect=wins / (n_suspects * n_control),
        detectable=min(1.0, 0.5 + reach),
    )
    return replace(comparison, n_series=n_series)


def compare_pairs(
    suspects: FloatArray,
    control: FloatArray,
    alpha: float,
    seed: int,
    n_resamples: int = RESAMPLES,
) -> Comparison:
    """Each suspect against a control picture of its own, by the Wilcoxon signed-rank test.

    The stronger test where both pictures of a pair share what moves scores beside membership. The
    null hypothesis says that the two of each pair might as well be swapped. Up to some 800 pairs
    the p-value is exact; see `rank_tests`. The effect has the interval of Clopper and Pearson
    (1934), which is a little too wide where pairs are equal.

    Args:
        suspects: Scores, shape (n_pairs,), finite.
        control: Scores of their controls, in the same order.
        alpha: Level of the test, below one half.
        seed: Seed of the random permutations.
        n_resamples: Random permutations to draw.

    Raises:
        ValueError: As `compare`, or sets of different sizes.
    """
    from scipy import stats

    _check(suspects, control, alpha, n_resamples)
    n = len(suspects)
    if len(control) != n:
        raise ValueError("pairs need as many controls as suspects")
    differences = suspects - control
    signs = np.sign(differences)
    ranks = stats.rankdata(np.abs(differences))
    n_wins = float((signs + 1).sum()) / 2
    low = float(stats.beta.ppf(0.025, n_wins, n - n_wins + 1)) if n_wins else 0.0
    high = float(stats.beta.ppf(0.975, n_wins + 1, n - n_wins)) if n_wins < n else 1.0
    # Of all n (n + 1) / 2 sums of two differences, those of one with itself tell nothing new.
    n_positive_sums = float((ranks * (signs + 1)).sum()) / 2 - n_wins
    return _comparison(
        signed_rank(differences, seed, n_resamples),
        (n, n),
        alpha,
        Estimate(n_wins / n, low, high, n) if n > 1 else None,
        planning_effect=n_positive_sums / (n * (n - 1) / 2) if n > 1 else n_wins,
    )


def power_of(effect: float, n: int, alpha: float, *, paired: bool = False) -> float:
    """How often so many pictures find an effect at a level.

    An approximation, by a normal distribution with the variance of no effect. Source: Noether,
    "Sample Size Determination for Some Common Nonparametric Tests" (1987).

    Args:
        effect: Probability that a suspect scores above a control picture; in pairs, that two
            differences between a suspect and its control sum to above 0. Ties count half.
        n: Pictures in each set, or pairs.
        alpha: Level of the one-sided test.
        paired: Whether they are pairs.
    """
    from scipy import special

    if n < fewest_pictures(alpha, paired=paired):
        return 0.0
    information = 3 * n if paired else 6 * n
    return float(special.ndtr(math.sqrt(information) * (effect - 0.5) - _z(1 - alpha)))


def pictures_needed(
    effect: float, power: float, alpha: float, *, paired: bool = False
) -> int | None:
    """How many pictures in each set, or pairs, find an effect so often; None where none do.

    Source and arguments as in `power_of`.
    """
    if effect <= 0.5:
        return None
    n = ((_z(1 - alpha) + _z(power)) / (effect - 0.5)) ** 2 / (3 if paired else 6)
    return max(math.ceil(n), fewest_pictures(alpha, paired=paired))


def fewest_pictures(alpha: float, *, paired: bool = False) -> int:
    """Pictures in each set, or pairs, with which the most extreme outcome reaches a level.

    >>> fewest_pictures(0.05), fewest_pictures(0.05, paired=True)
    (3, 5)
    """
    ways = (2**n if paired else math.comb(2 * n, n) for n in count(2))
    return next(n for n, n_ways in enumerate(ways, start=2) if 1 / n_ways <= alpha)


def _comparison(
    tested: RankTest,
    sizes: tuple[int, int],
    alpha: float,
    effect: Estimate | None,
    planning_effect: float,
    detectable: float | None = None,
) -> Comparison:
    paired = detectable is None
    needed = (
        (power, pictures_needed(planning_effect, power, alpha, paired=paired)) for power in POWERS
    )
    power = ((n, power_of(planning_effect, n, alpha, paired=paired)) for n in SIZES)
    return Comparison(
        n_suspects=sizes[0],
        n_control=sizes[1],
        paired=paired,
        alpha=alpha,
        p=tested.p,
        n_resamples=tested.n_resamples,
        smallest_p=tested.smallest_p,
        n_minimum=fewest_pictures(alpha, paired=paired),
        effect=effect,
        planning_effect=planning_effect,
        needed=tuple(needed),
        power=tuple(power),
        detectable=detectable,
    )


def _check(suspects: FloatArray, control: FloatArray, alpha: float, n_resamples: int) -> None:
    for scores in (suspects, control):
        if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
            raise ValueError("a set needs scores, and every one must be finite")
    if not 0 < alpha < 0.5:
        raise ValueError(f"a level must be above 0 and below one half, got {alpha}")
    if 1 / (1 + n_resamples) > alpha:
        raise ValueError(f"{n_resamples} permutations cannot reach a level of {alpha}")


def _z(share: float) -> float:
    from scipy import special

    return float(special.ndtri(share))
