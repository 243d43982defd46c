"""Scores + truth → figures, each with its 95 % interval and the n behind it.

No plots, no files. Rates are in 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure that was measured.

    Attributes:
        value: The point estimate.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: How many pictures it was measured on.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, n = {self.n})"


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a rule with a threshold did on pictures whose membership is known.

    Attributes:
        accuracy: Share of right predictions; members and non-members weigh as they come.
        tpr: Share of the members that were found.
        fpr: Share of the non-members that were called members.
        auc: Probability that a member scores above a non-member, ties counting half.
    """

    accuracy: Estimate
    tpr: Estimate
    fpr: Estimate
    auc: Estimate


def proportion(successes: int, n: int) -> Estimate:
    """A share with its exact interval. Source: Clopper and Pearson (1934), by scipy.

    Raises:
        ValueError: n is below 1, or successes are not within 0 and n.
    """
    from scipy import stats  # half a second, which a command that only scores need not wait for

    interval = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    return Estimate(successes / n, float(interval.low), float(interval.high), n)


def auc(scores: FloatArray, is_member: BoolArray) -> Estimate:
    """Area under the ROC curve with DeLong's interval, cut at 0 and 1.

    Source: DeLong, DeLong and Clarke-Pearson (1988), by mid-ranks as in Sun and Xu (2014).
    Differs: DeLong's variance is zero where the scores separate members from non-members, or
    are all equal. Then it is Hanley and McNeil's (1982), the former as if one pair were misranked.

    Args:
        scores: Shape (n,), finite; higher is more like a member.
        is_member: Shape (n,).

    Raises:
        ValueError: Fewer than two members or two non-members, or a score that is not finite.
    """
    from scipy import stats

    members, others = scores[is_member], scores[~is_member]
    if min(len(members), len(others)) < 2:
        raise ValueError("an AUC needs two members and two non-members")
    if not np.isfinite(scores).all():
        raise ValueError("every score must be finite")
    n_members, n_others = len(members), len(others)
    ranks = stats.rankdata(np.concatenate([members, others]))
    n_above = ranks[:n_members] - stats.rankdata(members)  # others below each member
    n_below = n_members - (ranks[n_members:] - stats.rankdata(others))  # members above each other
    area = float(n_above.sum() / (n_members * n_others))  # counts of halves: exact, in any order
    variance = (n_above / n_others).var(ddof=1) / n_members
    variance += (n_below / n_members).var(ddof=1) / n_others
    if variance == 0:
        nearly_perfect = 1 - 1 / (n_members * n_others)
        presumed = min(max(area, 1 - area), nearly_perfect)
        variance = _hanley_mcneil(presumed, n_members, n_others)
    reach = float(stats.norm.ppf(0.975) * np.sqrt(variance))
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach), len(scores))


def _hanley_mcneil(area: float, n_members: int, n_others: int) -> float:
    """Variance of an AUC where scores are distributed exponentially."""
    both_above, both_below = area / (2 - area), 2 * area**2 / (1 + area)
    return (
        area * (1 - area)
        + (n_members - 1) * (both_above - area**2)
        + (n_others - 1) * (both_below - area**2)
    ) / (n_members * n_others)


def judge(scores: FloatArray, is_member: BoolArray, threshold: float) -> Evidence:
    """How well "at or above the threshold is a member" does.

    Args:
        scores: Shape (n,), finite.
        is_member: Shape (n,); at least two of each kind.
        threshold: A score equal to it reads as member.

    Raises:
        ValueError: As `auc`.
    """
    called = scores >= threshold
    return Evidence(
        accuracy=proportion(int((called == is_member).sum()), len(scores)),
        tpr=proportion(int(called[is_member].sum()), int(is_member.sum())),
        fpr=proportion(int(called[~is_member].sum()), int((~is_member).sum())),
        auc=auc(scores, is_member),
    )
