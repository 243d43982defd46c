"""Classifiers that try to tell members from non-members, each judged on what it did not see."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clipaudit.blind.cross_validation import IntArray, cross_validated_auc, deal_folds
from clipaudit.statistics.metrics import BoolArray, Estimate, FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from scipy.sparse import csr_matrix

N_REPETITIONS = 2
"""How often the pictures are dealt into folds anew, so that less hangs on one deal."""


class Classifier(Protocol):
    """What we use of scikit-learn's classifiers."""

    def fit(self, x: FloatArray | csr_matrix, y: BoolArray) -> Classifier:
        """Learn."""

    def predict_proba(self, x: FloatArray | csr_matrix) -> FloatArray:
        """Probabilities of being no member and of being one, shape (n, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A classifier and what it reads.

    Attributes:
        name: Name of the classifier.
        make: () → one that has learned nothing yet.
        values: Shape (n, …): a row a picture.
    """

    name: str
    make: Callable[[], Classifier]
    values: FloatArray | csr_matrix


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What came of some attempts.

    Attributes:
        overall: AUC of the mean of all probabilities.
        by_classifier: AUC of each.
        scores: Shape (n,): mean probability of being a member, by classifiers that did not see
            the picture.
    """

    overall: Estimate
    by_classifier: dict[str, Estimate]
    scores: FloatArray = field(repr=False)


def try_classifiers(
    attempts: Sequence[Attempt], is_member: BoolArray, groups: IntArray, seed: int
) -> Tried:
    """Five-fold cross-validation of every classifier, on the same folds.

    Their probabilities are averaged, so that whoever finds nothing, and says so, has little say.

    Args:
        attempts: Classifiers, at least one.
        is_member: Shape (n,).
        groups: Shape (n,): pictures of a group stay in one fold.
        seed: Seed of the folds.
    """
    folds = np.stack([deal_folds(is_member, groups, seed, i) for i in range(N_REPETITIONS)])
    with one_thread():
        probabilities = {
            attempt.name: np.stack([_out_of_fold(attempt, is_member, dealt) for dealt in folds])
            for attempt in attempts
        }
    vote = np.mean(list(probabilities.values()), axis=0)
    return Tried(
        cross_validated_auc(vote, folds, is_member, groups),
        {
            name: cross_validated_auc(values, folds, is_member, groups)
            for name, values in probabilities.items()
        },
        vote.mean(axis=0),
    )


def canonical_order(known: Sequence[bytes], is_member: BoolArray) -> IntArray:
    """An order that hangs on the pictures alone, by a hash of what is known of each."""

    def key(i: int) -> bytes:
        return blake2b(known[i] + bytes(is_member[i]), digest_size=16).digest()

    return np.array(sorted(range(len(is_member)), key=key), dtype=np.int64)


def logistic() -> Classifier:
    """Logistic regression, for many columns that are mostly zero."""
    from sklearn.linear_model import LogisticRegression

    classifier: Classifier = LogisticRegression(C=10.0, max_iter=1_000)
    return classifier


def one_thread() -> AbstractContextManager[object]:
    """Within it, one thread a computation: these are small, and more would wait for each other.

    Also, scikit-learn's trees in several threads (1.9) race for the filters of warnings, and may
    leave the process without any.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def linear() -> Classifier:
    """A linear discriminant on standardised columns; its covariance is shrunk as the data ask."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    classifier: Classifier = make_pipeline(StandardScaler(), discriminant)
    return classifier


def boosted_trees() -> Classifier:
    """Gradient boosting; sees intervals and combinations."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Small trees, and few: with some dozens of pictures there is no more to learn. The leaves are
    # smaller than scikit-learn's default, with which 40 pictures would give no tree at all.
    classifier: Classifier = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=6, min_samples_leaf=5, early_stopping=False, random_state=0
    )
    return classifier


def _out_of_fold(attempt: Attempt, is_member: BoolArray, folds: IntArray) -> FloatArray:
    """Probability of being a member, by a classifier that learned from the other folds."""
    probabilities = np.empty(len(folds))
    for fold in np.unique(folds):
        held_out = folds == fold
        fitted = attempt.make().fit(attempt.values[~held_out], is_member[~held_out])
        probabilities[held_out] = fitted.predict_proba(attempt.values[held_out])[:, 1]
    return probabilities
