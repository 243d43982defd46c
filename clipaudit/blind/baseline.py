"""Classifiers that never see the encoder try to tell members from non-members.

What they reach is what the pictures give away by themselves. Nothing found is no proof that there
is nothing: it holds for what the statistics measure, at the n at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from clipaudit.blind.cross_validation import (
    IntArray,
    cross_validated_auc,
    deal_folds,
    groups_of_each,
    numbered,
)
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.statistics.metrics import BoolArray, Estimate, FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

MIN_OF_EACH = 20
"""So many members, and so many non-members, the baseline needs; of groups, if there are any."""

N_REPETITIONS = 2
"""How often the pictures are dealt into folds anew, so that less hangs on one deal."""

_N_TELLING = 3
_ALIKE = 0.9
"""Rank correlation from which on two statistics count as one."""


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
    """

    overall: Estimate
    by_classifier: dict[str, Estimate]
    telling: tuple[Telling, ...]
    scores: FloatArray = field(repr=False)
    between: tuple[str, str]
    n: tuple[int, int]

    @property
    def is_confounded(self) -> bool:
        """Whether the interval of the overall AUC is above one half."""
        return self.overall.low > 0.5

    def sentence(self) -> str:
        """One line for people."""
        first, second = self.between
        found = f"AUC {self.overall}"
        if self.is_confounded:
            mostly = f", most of all by {self.telling[0].words}" if self.telling else ""
            return (
                f"Confounded: without the encoder, classifiers tell {first} from {second}: "
                f"{found}{mostly}. What an inferrer says of them proves nothing by itself."
            )
        if self.overall.high < 0.5:
            return (
                f"Without the encoder, classifiers do worse than chance at telling {first} from "
                f"{second}: {found}. That happens where near-duplicates stand on both sides."
            )
        return f"Without the encoder, nothing was found to tell {first} from {second}: {found}."


@dataclass(frozen=True, slots=True)
class BlindCheck:
    """Whether a baseline that never sees the encoder tells suspects and control apart.

    Attributes:
        outcome: `different` where it does, so that the control is no fair one; `alike` where it
            does not, which does not prove that it is; `too few` where it could not be tried.
        text: What was found: figure, interval, n.
    """

    outcome: Literal["different", "alike", "too few"]
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
    order = _canonical_order(numbers, is_member)
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
    tried: list[tuple[str, Callable[[], _Classifier], FloatArray]] = [
        ("linear", _linear, inputs[0]),
        ("boosted trees", _boosted_trees, inputs[0]),
        *(("linear on embeddings", _linear, array) for array in inputs[1:]),
    ]
    folds = np.stack([deal_folds(truth, grouping, seed, i) for i in range(N_REPETITIONS)])
    with _one_thread():
        probabilities = {
            name: np.stack([_out_of_fold(make, values, truth, dealt) for dealt in folds])
            for name, make, values in tried
        }
    vote = np.mean(list(probabilities.values()), axis=0)
    scores = np.empty(len(truth))
    scores[order] = vote.mean(axis=0)
    return BlindReport(
        overall=cross_validated_auc(vote, folds, truth, grouping),
        by_classifier={
            name: cross_validated_auc(values, folds, truth, grouping)
            for name, values in probabilities.items()
        },
        telling=_telling(inputs[0], truth),
        scores=scores,
        between=between,
        n=(int(truth.sum()), int((~truth).sum())),
    )


def _one_thread() -> AbstractContextManager[object]:
    """Within it, one thread a computation: these are small, and more would wait for each other.

    Also, scikit-learn's trees in several threads (1.9) race for the filters of warnings, and may
    leave the process without any.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


class _Classifier(Protocol):
    """What we use of scikit-learn's classifiers."""

    def fit(self, x: FloatArray, y: BoolArray) -> _Classifier: ...

    def predict_proba(self, x: FloatArray) -> FloatArray: ...


def _linear() -> _Classifier:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    classifier: _Classifier = make_pipeline(StandardScaler(), discriminant)
    return classifier


def _boosted_trees() -> _Classifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Small trees, and few: with some dozens of pictures there is no more to learn. The leaves are
    # smaller than scikit-learn's default, with which 40 pictures would give no tree at all.
    classifier: _Classifier = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=6, min_samples_leaf=5, early_stopping=False, random_state=0
    )
    return classifier


def _out_of_fold(
    make: Callable[[], _Classifier], values: FloatArray, is_member: BoolArray, folds: IntArray
) -> FloatArray:
    """Probability of being a member, by a classifier that learned from the other folds."""
    probabilities = np.empty(len(folds))
    for fold in np.unique(folds):
        held_out = folds == fold
        fitted = make().fit(values[~held_out], is_member[~held_out])
        probabilities[held_out] = fitted.predict_proba(values[held_out])[:, 1]
    return probabilities


def _telling(statistics: FloatArray, is_member: BoolArray) -> tuple[Telling, ...]:
    """Those that pass Kolmogorov's and Smirnov's test, Bonferroni-corrected."""
    from scipy import stats

    members, others = statistics[is_member], statistics[~is_member]
    found = [
        stats.ks_2samp(members[:, i], others[:, i], method="asymp") for i in range(len(STATISTICS))
    ]
    ranks = stats.rankdata(statistics, axis=0)
    chosen: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: -found[i].statistic):
        if found[i].pvalue * len(found) > 0.05 or len(chosen) == _N_TELLING:
            break
        if all(abs(np.corrcoef(ranks[:, i], ranks[:, j])[0, 1]) < _ALIKE for j in chosen):
            chosen.append(i)
    return tuple(
        Telling(
            name=STATISTICS[i].name,
            words=STATISTICS[i].words,
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


def _canonical_order(numbers: list[FloatArray], is_member: BoolArray) -> IntArray:
    """An order that hangs on the pictures alone, by a hash of what is known of each."""

    def key(i: int) -> bytes:
        known = b"".join(array[i].tobytes() for array in numbers)
        return blake2b(known + bytes(is_member[i]), digest_size=16).digest()

    return np.array(sorted(range(len(is_member)), key=key), dtype=np.int64)
