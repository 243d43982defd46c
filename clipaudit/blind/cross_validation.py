"""Cross-validated AUC with an interval that holds where there is nothing to find.

Only a member and a non-member of one fold are compared, for they were judged by the same
classifier, which saw neither. Where there is nothing to find, the expected AUC is then exactly one
half. Scores of several classifiers, pooled, can come out below it: whoever is left out makes the
rest look like the other kind, unless every fold has the same share of members.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.seeding import stream
from clipaudit.statistics.metrics import BoolArray, Estimate, FloatArray, auc

if TYPE_CHECKING:
    from collections.abc import Sequence

IntArray = npt.NDArray[np.int64]

N_FOLDS = 5


def deal_folds(is_member: BoolArray, groups: IntArray, seed: int, repetition: int) -> IntArray:
    """The fold of each picture, shape (n,), 0 to N_FOLDS - 1.

    Members and non-members are spread evenly, as far as groups, which stay together, allow.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    numbers = stream(seed, str(repetition), "folds of the blind baseline")
    draw = int(numbers.integers(2**32))
    if len(np.unique(groups)) < len(groups):
        grouped = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=draw)
        splits = grouped.split(is_member, is_member, groups)
    else:  # the same, and faster
        splits = StratifiedKFold(N_FOLDS, shuffle=True, random_state=draw).split(groups, is_member)
    folds = np.empty(len(is_member), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splits):
        folds[held_out] = fold
    return folds


def cross_validated_auc(
    scores: FloatArray, folds: IntArray, is_member: BoolArray, groups: IntArray
) -> Estimate:
    """Share of pairs in one fold that are ranked rightly, averaged over repetitions.

    The variance is DeLong's of those pairs, doubled: each picture counts as one that is judged and
    as one that the others' classifiers learned from, and where there is nothing to find both parts
    are alike. (Take the simplest classifier, the difference of two means: pictures i and j of
    different folds add the same product to each other's result, so every term is in the sum
    twice.) Where there is much to find, the second part fades, and the interval is too wide rather
    than too narrow. `benchmarks/blind.py` counts how often it excludes one half by chance.

    Args:
        scores: Shape (n_repetitions, n): of each picture, by a classifier that did not see it.
        folds: The same shape: which classifier that was.
        is_member: Shape (n,).
        groups: Shape (n,); pictures of a group count as one in the variance.
    """
    value, influence = 0.0, np.zeros(len(is_member))
    for one_scores, one_folds in zip(scores, folds, strict=True):
        area, parts = _within_folds(one_scores, one_folds, is_member)
        value += area / len(scores)
        influence += parts / len(scores)
    by_group = np.bincount(groups, weights=influence)
    n_groups = groups_of_each(is_member, groups)
    variance = 2 * float(np.square(by_group).sum()) * n_groups / (n_groups - 1)
    return interval(value, variance, n_groups, len(is_member))


def interval(area: float, variance: float, n_fewer: int, n: int) -> Estimate:
    """The area with its 95 % interval by Student's t, cut at 0 and 1.

    It is never narrower than if it had been measured on twice `n_fewer` pictures that are told
    apart without a mistake, for then the variance would be zero.

    Args:
        area: The AUC.
        variance: Variance of its estimate.
        n_fewer: Members that it rests on, or non-members, whichever are fewer; groups of
            them, where pictures hang together.
        n: Pictures, for the reader.
    """
    from scipy import stats

    reach = stats.t.ppf(0.975, n_fewer - 1) * np.sqrt(variance)
    truth = np.arange(2 * n_fewer) < n_fewer
    reach = max(float(reach), 1 - auc(truth.astype(np.float64), truth).low)
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach), n)


def groups_of_each(is_member: BoolArray, groups: IntArray) -> int:
    """Number of groups with members, or with non-members, whichever is lower."""
    return min(len(np.unique(groups[kind])) for kind in (is_member, ~is_member))


def numbered(groups: Sequence[object] | None, order: IntArray) -> IntArray:
    """The groups of the pictures in that order, numbered as they come."""
    if groups is None:
        return np.arange(len(order))
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(groups[i], len(numbers)) for i in order], dtype=np.int64)


def _within_folds(
    scores: FloatArray, folds: IntArray, is_member: BoolArray
) -> tuple[float, FloatArray]:
    """The AUC, and by how much each picture moves it away from its mean."""
    from scipy import stats

    wins = np.zeros(len(scores))
    n_opposed = np.zeros(len(scores))
    for members, others in _sides(folds, is_member):
        both = np.concatenate([members, others])
        ranks = stats.rankdata(scores[both])
        n_below = ranks[: len(members)] - stats.rankdata(scores[members])
        n_below_others = ranks[len(members) :] - stats.rankdata(scores[others])
        wins[members], n_opposed[members] = n_below, len(others)
        wins[others], n_opposed[others] = len(members) - n_below_others, len(members)
    n_pairs = n_opposed[is_member].sum()
    area = float(wins[is_member].sum() / n_pairs)
    return area, (wins - area * n_opposed) / n_pairs


def _sides(folds: IntArray, is_member: BoolArray) -> Iterator[Sequence[IntArray]]:
    """Members and non-members of each fold that has both."""
    for fold in np.unique(folds):
        members, others = (
            np.flatnonzero((folds == fold) & kind) for kind in (is_member, ~is_member)
        )
        if len(members) and len(others):
            yield members, others
