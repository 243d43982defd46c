"""How much of an inferrer's AUC is left among pictures that look equally like members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind.cross_validation import IntArray, interval, numbered
from clipaudit.statistics.metrics import BoolArray, Estimate, FloatArray, auc

if TYPE_CHECKING:
    from collections.abc import Sequence

CALIPER = 0.3
"""How far apart two blind scores may be to count as alike, in standard deviations of their logits
within a kind."""

_MIN_MATCHED = 20
"""So many members with counterparts, and so many counterparts, an interval needs."""
_MIN_A_SIDE = 3
"""So many counterparts a member needs, of lower blind score and of higher."""


@dataclass(frozen=True, slots=True)
class AdjustedAuc:
    """An inferrer's AUC as it is, and what is left of it after adjusting.

    Attributes:
        raw: AUC as it is, over all pictures.
        adjusted: AUC among pictures of like blind scores; its n is that of the pictures it rests
            on. None where nothing can be said.
        n_matched: Members that have counterparts among the non-members.
        n_members: Members in all.
        reason: Why nothing can be said; None where something can.
    """

    raw: Estimate
    adjusted: Estimate | None
    n_matched: int
    n_members: int
    reason: str | None = None

    def sentence(self) -> str:
        """One line for people."""
        if self.adjusted is None:
            return (
                f"How much of the inferrer's AUC of {self.raw.value:.3f} is left without what the "
                f"pictures give away cannot be said: {self.reason}."
            )
        return (
            f"Of the inferrer's AUC of {self.raw.value:.3f}, {self.adjusted} is left among "
            f"pictures that look equally like members ({self.n_matched} of {self.n_members} "
            "members have such counterparts)."
        )


def adjusted_auc(
    scores: FloatArray,
    blind_scores: FloatArray,
    is_member: BoolArray,
    *,
    groups: Sequence[object] | None = None,
) -> AdjustedAuc:
    """The covariate-adjusted AUC, with the blind score as covariate.

    Each member is compared with the non-members whose blind score is within a caliper of its own,
    and the shares that it outranks are averaged over members. (Source: Janes and Pepe 2009,
    "Adjusting for covariate effects on classification accuracy using the covariate-adjusted ROC
    curve". Differs: a window around each member, where they have strata.) Among its counterparts
    those with a lower and those with a higher blind score weigh the same, so that what slopes
    within a window cancels out: there are more non-members on the lower side. A member with fewer
    than three on a side has no counterparts, and is left out.

    The blind score is a propensity score: among pictures for which it is alike, whatever it was
    learned from is distributed alike in members and non-members (Rosenbaum and Rubin 1983). So:

    - An inferrer that reads nothing but what the blind classifiers know is left with one half.
    - More than one half is due to membership, *or to differences that the blind classifiers did
      not see, or too dimly*; it is no proof of membership. `benchmarks/blind.py` measures how much
      a score that reads the content alone keeps.
    - It speaks of the members with counterparts alone. Where the blind classifiers do best, those
      are few, and unlike the others.

    The other usual way, to regress the score on the blind score among non-members, needs no
    counterparts, and was left out for that very reason: where there is no overlap it goes on to
    speak, from the shape of a curve alone. Regression on all statistics was tried too; it left
    more than this in a confounded set, not less.

    The interval is DeLong's with such weights, from the influence of each picture; where all
    non-members are counterparts it is DeLong's own. It takes the blind scores as given.

    Args:
        scores: Shape (n,), finite: the inferrer's, higher is more like a member.
        blind_scores: Shape (n,), 0 to 1: `BlindReport.scores`.
        is_member: Shape (n,).
        groups: Shape (n,), as for `blind_baseline`: pictures of a group count as one in the
            interval of the adjusted AUC.

    Raises:
        ValueError: Fewer than two of a kind, shapes that do not fit, a score that is not finite,
            or a blind score that is not within 0 and 1.
    """
    n = len(is_member)
    if not len(scores) == len(blind_scores) == n or (groups is not None and len(groups) != n):
        raise ValueError("scores, blind scores, memberships and groups must be as many")
    if not np.all((blind_scores >= 0) & (blind_scores <= 1)):
        raise ValueError("every blind score must be within 0 and 1")
    raw = auc(scores, is_member)
    members, others = np.flatnonzero(is_member), np.flatnonzero(~is_member)
    if min(len(members), len(others)) < _MIN_MATCHED:
        reason = f"it takes {_MIN_MATCHED} members and {_MIN_MATCHED} non-members"
        return AdjustedAuc(raw, None, 0, len(members), reason)

    others = others[np.argsort(blind_scores[others], kind="stable")]
    lower, upper = _windows(_logit(blind_scores[members]), _logit(blind_scores[others]))
    is_matched = np.minimum(np.diff(lower)[:, 0], np.diff(upper)[:, 0]) >= _MIN_A_SIDE
    members = members[is_matched]
    shares, influence = np.zeros(len(members)), np.zeros(n)
    is_used = np.zeros(n, dtype=np.bool_)
    for windows in (lower, upper):
        for i, (start, end) in enumerate(windows[is_matched]):
            alike, n_alike = others[start:end], end - start
            score = scores[members[i]]
            is_above = (score > scores[alike]) + 0.5 * (score == scores[alike])
            share = is_above.mean()
            shares[i] += share / 2
            # As of a variance with n - 1: a handful vary less around their own mean.
            influence[alike] += (is_above - share) / np.sqrt(n_alike * (n_alike - 1)) / 2
            is_used[alike] = True
    n_matched, n_used = len(members), int(is_used.sum())
    if min(n_matched, n_used) < _MIN_MATCHED:
        reason = f"only {n_matched} of {len(is_matched)} members have non-members that look alike"
        if n_matched >= _MIN_MATCHED:
            reason = f"only {n_used} non-members look like any member"
        return AdjustedAuc(
            raw, None, n_matched, len(is_matched), f"{reason}, and it takes {_MIN_MATCHED}"
        )
    area = float(shares.mean())
    influence[members] = (shares - area) * np.sqrt(n_matched / (n_matched - 1))
    numbers = numbered(groups, np.arange(n))
    variance = float(np.square(np.bincount(numbers, weights=influence / n_matched)).sum())
    n_fewer = min(len(np.unique(numbers[members])), len(np.unique(numbers[is_used])))
    adjusted = interval(area, variance, n_fewer, n_matched + n_used)
    return AdjustedAuc(raw, adjusted, n_matched, len(is_matched))


def _logit(blind_scores: FloatArray) -> FloatArray:
    """A scale on which a step means the same near 0 and 1 as in the middle."""
    clipped = np.clip(blind_scores, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def _windows(members: FloatArray, others: FloatArray) -> tuple[IntArray, IntArray]:
    """Which non-members are alike to each member: not higher, and not lower.

    Args:
        members: Shape (n_members,).
        others: Shape (n_others,), ascending.

    Returns:
        Twice shape (n_members, 2): where its counterparts start in `others`, and end.
    """
    caliper = CALIPER * np.sqrt((members.var(ddof=1) + others.var(ddof=1)) / 2)
    lower = (others.searchsorted(members - caliper), others.searchsorted(members, "right"))
    upper = (others.searchsorted(members), others.searchsorted(members + caliper, "right"))
    return np.stack(lower, axis=1), np.stack(upper, axis=1)
