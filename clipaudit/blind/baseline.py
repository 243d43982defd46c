"""Classifiers that never see the encoder try to tell members from non-members.

What they reach is what the pictures give away by themselves. Nothing found is no proof that there
is nothing: it holds for what the statistics measure, at the n at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from clipaudit.blind.classifiers import (
    Attempt,
    boosted_trees,
    canonical_order,
    linear,
    try_classifiers,
)
from clipaudit.blind.cross_validation import groups_of_each, numbered
from clipaudit.pictures.image_statistics import STATISTICS, Statistic
from clipaudit.statistics.metrics import BoolArray, Estimate, FloatArray

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_OF_EACH = 20
"""So many members, and so many non-members, the baseline needs; of groups, if there are any."""

_N_TELLING = 3
_ALIKE = 0.9
"""Rank correlation from which on two statistics count as one."""


Basis = Literal["pictures", "captions"]
CheckOutcome = Literal["different", "alike", "too few"]


@dataclass(frozen=True, slots=True)
class Telling:
    """One statistic that differs between the two kinds by more than chance.

    Attributes:
        name: Name of the statistic.
        words: Name for people.
        share_right: How often the best single threshold on it is right, on these very pictures,
            members and non-members weighing the same; 0.5 to 1.
        is_higher_in_members: Whether members are above the threshold.
    """

    name: str
    words: str
    share_right: float
    is_higher_in_members: bool


@dataclass(frozen=True, slots=True, eq=False)
class BlindReport:
    """How well members can be told from non-members without the encoder.

    Attributes:
        overall: AUC of the mean of all classifiers' probabilities; the one that decides.
        by_classifier: AUC of each.
        telling: The statistics that differ most, the strongest first; those that rank the
            pictures alike count once.
        scores: Shape (n,), in the order given, 0 to 1: mean probability of being a member, by
            classifiers that did not see the picture. For `adjusted_auc`.
        between: What the two kinds are called, members first.
        n: Pictures of each kind, members first.
        basis: What the classifiers read.
    """

    overall: Estimate
    by_classifier: dict[str, Estimate]
    telling: tuple[Telling, ...]
    scores: FloatArray = field(repr=False)
    between: tuple[str, str]
    n: tuple[int, int]
    basis: Basis = "pictures"

    @property
    def is_confounded(self) -> bool:
        """Whether the interval of the overall AUC is above one half."""
        return self.overall.low > 0.5

    def sentence(self) -> str:
        """One line for people."""
        first, second = self.between
        found = f"AUC {self.overall}"
        without = {"pictures": "without the encoder", "captions": "by captions alone"}[self.basis]
        if self.is_confounded:
            mostly = f", most of all by {self.telling[0].words}" if self.telling else ""
            return (
                f"Confounded: {without}, classifiers tell {first} from {second}: "
                f"{found}{mostly}. What an inferrer says of them proves nothing by itself."
            )
        if self.overall.high < 0.5:
            return (
                f"{without.capitalize()}, classifiers do worse than chance at telling {first} from "
                f"{second}: {found}. That happens where near-duplicates stand on both sides."
            )
        return f"{without.capitalize()}, nothing was found to tell {first} from {second}: {found}."


@dataclass(frozen=True, slots=True)
class BlindCheck:
    """Whether a baseline that never sees the encoder tells suspects and control apart.

    Attributes:
        outcome: `different` where it does, so that the control is no fair one; `alike` where it
            does not, which does not prove that it is; `too few` where it could not be tried.
        text: What was found: figure, interval, n.
    """

    outcome: CheckOutcome
    text: str


def blind_baseline(
    statistics: FloatArray,
    is_member: BoolArray,
    *,
    embeddings: npt.NDArray[np.floating] | None = None,
    groups: Sequence[object] | None = None,
    between: tuple[str, str] = ("members", "non-members"),
    seed: int = 0,
) -> BlindReport:
    """Let classifiers that never see the encoder try, five-fold cross-validated.

    - `linear`: a linear discriminant on standardised statistics, its covariance shrunk as far as
      the data ask for (Ledoit and Wolf 2004): it has nothing to tune.
    - `boosted trees`: gradient boosting on the statistics; sees intervals and combinations.
    - `linear on embeddings`: the first, on embeddings where there are some.

    Their probabilities are averaged, so that whoever finds nothing, and says so, has little say.
    Nothing hangs on the order of the pictures.

    Args:
        statistics: Shape (n, len(STATISTICS)), finite: `image_statistics` of each picture.
        is_member: Shape (n,); or is a suspect, against a control.
        embeddings: Shape (n, dim), finite: by an encoder that cannot have seen the pictures, such
            as `random_embedding`. It must not be the target, nor have been trained on anything
            that one kind could be part of.
        groups: Shape (n,): what pictures of one parent have in common, such as near-duplicates or
            crops of one photograph. They stay in one fold, and count as one in the interval.
        between: What to call the two kinds.
        seed: Seed of the folds.

    Raises:
        ValueError: Fewer than MIN_OF_EACH of a kind, or groups with them; shapes that do not fit;
            or a value that is not finite.
    """
    numbers = _checked(statistics, is_member, embeddings, groups)
    known = [b"".join(array[i].tobytes() for array in numbers) for i in range(len(is_member))]
    order = canonical_order(known, is_member)
    truth = is_member[order]
    grouping = numbered(groups, order)
    n_groups = groups_of_each(truth, grouping)
    if n_groups < MIN_OF_EACH:
        independent = "" if groups is None else " of different groups"
        raise ValueError(
            f"the blind baseline needs {MIN_OF_EACH} {between[0]} and {MIN_OF_EACH} {between[1]}"
            f"{independent}; of one kind there are {n_groups}"
        )

    inputs = [array[order] for array in numbers]
    tried = try_classifiers(
        [
            Attempt("linear", linear, inputs[0]),
            Attempt("boosted trees", boosted_trees, inputs[0]),
            *(Attempt("linear on embeddings", linear, array) for array in inputs[1:]),
        ],
        truth,
        grouping,
        seed,
    )
    scores = np.empty(len(truth))
    scores[order] = tried.scores
    return BlindReport(
        overall=tried.overall,
        by_classifier=tried.by_classifier,
        telling=find_telling(inputs[0], STATISTICS, truth),
        scores=scores,
        between=between,
        n=(int(truth.sum()), int((~truth).sum())),
    )


def find_telling(
    values: FloatArray, statistics: Sequence[Statistic], is_member: BoolArray
) -> tuple[Telling, ...]:
    """Those that pass Kolmogorov's and Smirnov's test, Bonferroni-corrected.

    Args:
        values: Shape (n, len(statistics)).
        statistics: What the columns are called.
        is_member: Shape (n,).
    """
    from scipy import stats

    members, others = values[is_member], values[~is_member]
    found = [
        stats.ks_2samp(members[:, i], others[:, i], method="asymp") for i in range(len(statistics))
    ]
    ranks = stats.rankdata(values, axis=0)
    chosen: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: -found[i].statistic):
        if found[i].pvalue * len(found) > 0.05 or len(chosen) == _N_TELLING:
            break
        if all(abs(np.corrcoef(ranks[:, i], ranks[:, j])[0, 1]) < _ALIKE for j in chosen):
            chosen.append(i)
    return tuple(
        Telling(
            name=statistics[i].name,
            words=statistics[i].words,
            share_right=(1 + float(found[i].statistic)) / 2,
            is_higher_in_members=bool(found[i].statistic_sign < 0),
        )
        for i in chosen
    )


def _checked(
    statistics: FloatArray,
    is_member: BoolArray,
    embeddings: npt.NDArray[np.floating] | None,
    groups: Sequence[object] | None,
) -> list[FloatArray]:
    """The statistics, and the embeddings if there are any, as float64."""
    n = len(is_member)
    if statistics.shape != (n, len(STATISTICS)):
        raise ValueError(
            f"{n} pictures need statistics of shape {(n, len(STATISTICS))}, got {statistics.shape}"
        )
    numbers = [np.asarray(statistics, dtype=np.float64)]
    if embeddings is not None:
        if embeddings.ndim != 2 or len(embeddings) != n:
            raise ValueError(f"{n} pictures need as many embeddings, got {embeddings.shape}")
        numbers.append(np.asarray(embeddings, dtype=np.float64))
    if groups is not None and len(groups) != n:
        raise ValueError(f"{n} pictures need {n} groups, got {len(groups)}")
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError("every statistic and embedding must be finite")
    return numbers
