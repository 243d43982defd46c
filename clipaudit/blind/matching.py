"""A pile of pictures → those that match some suspects in what no encoder is needed to see.

Each suspect gets a picture of the pile that is near to it in the statistics that the blind baseline
reads, and no picture is taken twice. The whole of the distances is made least, and three things
make up a distance: what must be alike, such as the format, counts more than all else; then how
alike classifiers find the two, and the statistics themselves.

Source: Rosenbaum and Rubin, "Constructing a control group using multivariate matched sampling
methods that incorporate the propensity score" (1985); the assignment as in Rosenbaum, "Optimal
matching for observational studies" (1989). Differs: the propensity is that of the blind baseline,
by classifiers that did not see the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind.baseline import MIN_OF_EACH, blind_baseline
from clipaudit.blind.cross_validation import IntArray
from clipaudit.blind.trial import KINDS
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.seeding import stream
from clipaudit.statistics.metrics import FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipaudit.pictures.preparing import Appearance

IMBALANCE = 0.25
"""Standardised mean difference from which on two sets are said to differ in a statistic; Stuart,
"Matching methods for causal inference" (2010), section 4.1."""

_LEAST_SPREAD = 1e-6
"""Statistics are rounded to as much; below it lies the noise of sums."""
_MOST_SUSPECTS = 1_000
"""Suspects that are assigned at once; of more, one part after another is."""
_MOST_CELLS = 20_000_000
"""Distances that are held at once; of a larger pile, the pictures nearest to some suspect count."""
_PENALTY = 1_000.0
"""What a difference in kind adds, which is more than all else comes to."""
_PROPENSITY_WEIGHT = 1.0
_IMBALANCE_WEIGHT = 10.0
"""How much more a statistic counts by whose spread the two sides are apart."""
_MOST_SPREADS = 4.0
"""So many spreads from the mean a value counts at most."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How far two sets are apart in one statistic, before and after matching.

    Attributes:
        name: Name of the statistic.
        words: Name for people.
        before: Mean of the suspects minus that of the pile, in spreads: the root of the mean of the
            two variances, before matching.
        after: The same of the suspects and the matched pictures, in those spreads too.
    """

    name: str
    words: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which pictures of a pile match which suspects.

    Attributes:
        pairs: SHA-256 of a suspect, and of its picture in the pile; a suspect may have several, and
            no picture is there twice.
        unmatched: SHA-256 of suspects for which the pile has no picture that is near, in their
            order.
        n_of_other_kind: How many of the pairs differ in kind: format, colour, margin, metadata.
    """

    pairs: tuple[tuple[str, str], ...]
    unmatched: tuple[str, ...]
    n_of_other_kind: int

    @property
    def picked(self) -> tuple[str, ...]:
        """SHA-256 of the pictures that were picked."""
        return tuple(picture for _, picture in self.pairs)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Pictures in the order of their SHA-256, and what they are compared by.

    Attributes:
        image_ids: SHA-256 of each.
        features: Shape (n, n_features), float32, standardised, the propensity last, such that the
            squared distance of two rows is the cost of a pair.
        kinds: Shape (n, n_kinds): what must be alike.
    """

    image_ids: tuple[str, ...]
    features: FloatArray = field(repr=False)
    kinds: FloatArray = field(repr=False)

    def part(self, rows: IntArray) -> _Side:
        """Some of the pictures."""
        image_ids = tuple(self.image_ids[i] for i in rows)
        return _Side(image_ids, self.features[rows], self.kinds[rows])


def match_pictures(
    suspects: Sequence[str],
    pile: Sequence[str],
    appearances: Mapping[str, Appearance],
    n: int | None = None,
    seed: int = 0,
) -> Matching:
    """The pictures of a pile that match suspects, by optimal assignment without replacement.

    What comes out hangs on the pictures and the seed, never on their order.

    Args:
        suspects: SHA-256 of different pictures.
        pile: SHA-256 of others.
        appearances: What each looks like, by SHA-256.
        n: Pictures to pick; of more than there are suspects, each suspect gets as many as any
            other, give or take one. None picks one for each suspect that has one near: of its kind,
            and not farther from it than suspects are from each other.
        seed: Seed of the classifiers' folds, and of who comes first where not all get one.

    Raises:
        ValueError: There are no suspects, or no pictures in the pile.
    """
    if not suspects or not pile:
        raise ValueError("matching needs suspects and pictures to pick from")
    ours, theirs = _sides(sorted(suspects), sorted(pile), appearances, seed)
    order = stream(seed, "", "matching: who comes first").permutation(len(suspects))
    wanted = min(len(suspects) if n is None else n, len(pile))
    found: list[tuple[int, int]] = []
    is_free = np.ones(len(pile), dtype=bool)
    while len(found) < wanted:
        turn = order[: wanted - len(found)]
        for start in range(0, len(turn), _MOST_SUSPECTS):
            rows = turn[start : start + _MOST_SUSPECTS]
            free = np.flatnonzero(is_free).astype(np.int64)
            pairs = [
                (int(rows[i]), int(free[j])) for i, j in _assign(ours.part(rows), theirs.part(free))
            ]
            is_free[[picture for _, picture in pairs]] = False
            found += pairs
    is_near = _are_near(ours, theirs, found)
    chosen = sorted(
        pair for pair, near in zip(found, is_near, strict=True) if near or n is not None
    )
    has_one = {suspect for (suspect, _), near in zip(found, is_near, strict=True) if near}
    return Matching(
        pairs=tuple((ours.image_ids[i], theirs.image_ids[j]) for i, j in chosen),
        unmatched=tuple(key for i, key in enumerate(ours.image_ids) if i not in has_one),
        n_of_other_kind=sum(bool(np.any(ours.kinds[i] != theirs.kinds[j])) for i, j in chosen),
    )


def balances(
    suspects: Sequence[str],
    pile: Sequence[str],
    picked: Sequence[str],
    appearances: Mapping[str, Appearance],
) -> tuple[Balance, ...]:
    """How far suspects are from a pile, and from what was picked of it, in each statistic.

    The spread is that of suspects and pile in both cases, so that before and after compare; a
    statistic that is the same in all pictures differs by 0.
    """
    first, second, third = (_table(side, appearances) for side in (suspects, pile, picked))
    spread = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2)
    # Where neither side varies, they are the same, or differ by more than any spread: units do.
    spread = np.where(spread > _LEAST_SPREAD, spread, 1)
    before = (first.mean(axis=0) - second.mean(axis=0)) / spread
    after = (first.mean(axis=0) - third.mean(axis=0)) / spread
    return tuple(
        Balance(known.name, known.words, float(before[i]), float(after[i]))
        for i, known in enumerate(STATISTICS)
    )


def _table(image_ids: Sequence[str], appearances: Mapping[str, Appearance]) -> FloatArray:
    return np.stack([appearances[image_id].statistics for image_id in image_ids])


def _sides(
    suspects: Sequence[str], pile: Sequence[str], appearances: Mapping[str, Appearance], seed: int
) -> tuple[_Side, _Side]:
    image_ids = (*suspects, *pile)
    n_first = len(suspects)
    table = _table(image_ids, appearances)
    kinds = np.stack(
        [
            is_so(table[:, column]).astype(np.float64)
            for column, is_so in (
                (_COLUMNS[name], is_so) for name, (_, is_so) in sorted(KINDS.items())
            )
        ],
        axis=1,
    )
    features = _standardised(table, n_first)
    apart = features[:n_first].mean(axis=0) - features[n_first:].mean(axis=0)
    weights = 1 + _IMBALANCE_WEIGHT * apart**2
    features *= np.sqrt(weights / max(1, weights.sum()))
    if min(n_first, len(pile)) >= MIN_OF_EACH:
        propensity = _standardised(_log_odds(table, image_ids, n_first, appearances, seed), n_first)
        features = np.concatenate([features, propensity * np.sqrt(_PROPENSITY_WEIGHT)], axis=1)
    features = features.astype(np.float32)
    return (
        _Side(tuple(suspects), features[:n_first], kinds[:n_first]),
        _Side(tuple(pile), features[n_first:], kinds[n_first:]),
    )


_COLUMNS = {known.name: number for number, known in enumerate(STATISTICS)}


def _standardised(table: FloatArray, n_first: int) -> FloatArray:
    """Columns in spreads of the two sides, without those that never differ."""
    spread = np.sqrt((table[:n_first].var(axis=0) + table[n_first:].var(axis=0)) / 2)
    spread = np.where(spread > _LEAST_SPREAD, spread, table.std(axis=0))
    varies = spread > _LEAST_SPREAD
    centred = table[:, varies] - table[:n_first, varies].mean(axis=0)
    clipped: FloatArray = np.clip(centred / spread[varies], -_MOST_SPREADS, _MOST_SPREADS)
    return clipped


def _log_odds(
    table: FloatArray,
    image_ids: Sequence[str],
    n_first: int,
    appearances: Mapping[str, Appearance],
    seed: int,
) -> FloatArray:
    """How much each picture looks like a suspect to classifiers that did not see it; a column."""
    report = blind_baseline(
        table,
        np.arange(len(image_ids)) < n_first,
        embeddings=np.stack([appearances[image_id].embedding for image_id in image_ids]),
        between=("suspects", "pile"),
        seed=seed,
    )
    shares = np.clip(report.scores, 1e-4, 1 - 1e-4)
    odds: FloatArray = np.log(shares / (1 - shares))[:, np.newaxis]
    return odds


def _assign(suspects: _Side, pile: _Side) -> Iterator[tuple[int, int]]:
    """Rows of a suspect and of its picture: the whole of the costs is the least there is."""
    from scipy.optimize import linear_sum_assignment

    rows = _candidates(suspects, pile)
    costs = _costs(suspects, pile.part(rows))
    for i, j in zip(*linear_sum_assignment(costs), strict=True):
        yield int(i), int(rows[j])


def _candidates(suspects: _Side, pile: _Side) -> IntArray:
    """Rows of the pile that are looked at: all, or of too many those nearest to some suspect.

    Of as many nearest pictures a suspect as there are suspects the best assignment takes no
    other, for one of them is always free.
    """
    n_suspects, n_pile = len(suspects.image_ids), len(pile.image_ids)
    if n_suspects * n_pile <= _MOST_CELLS:
        return np.arange(n_pile, dtype=np.int64)
    most = max(n_suspects, _MOST_CELLS // n_suspects)
    n_near = max(1, min(n_suspects, most // n_suspects))
    is_near = np.zeros(n_pile, dtype=bool)
    for i in range(n_suspects):
        costs = _costs(suspects.part(np.array([i])), pile)[0]
        is_near[np.argsort(costs, kind="stable")[:n_near]] = True
        is_near[int(np.argmin(np.where(is_near, np.inf, costs)))] = True  # one more that is free
    return np.flatnonzero(is_near).astype(np.int64)


def _costs(suspects: _Side, pile: _Side) -> FloatArray:
    from scipy.spatial.distance import cdist

    costs: FloatArray = cdist(suspects.features, pile.features, "sqeuclidean")
    return costs + _PENALTY * cdist(suspects.kinds, pile.kinds, "cityblock")


def _are_near(ours: _Side, theirs: _Side, pairs: Sequence[tuple[int, int]]) -> list[bool]:
    """Of each pair whether it is of one kind, and no farther apart than suspects are mostly."""
    from scipy.spatial.distance import pdist

    some = ours.features[:_MOST_SUSPECTS]
    usual = float(np.median(pdist(some, "sqeuclidean"))) if len(some) > 1 else 1.0
    return [
        bool(
            np.all(ours.kinds[i] == theirs.kinds[j])
            and np.sum((ours.features[i] - theirs.features[j]) ** 2) <= usual
        )
        for i, j in pairs
    ]
