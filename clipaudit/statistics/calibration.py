"""Scores of pictures whose membership is known: what other scores are measured against.

A score says nothing by itself: encoders differ in how alike views of *any* picture look to them.
A calibration holds what the very same encoder and inferrer give to known non-members, the *null
sample*, and perhaps to known members. Whatever the inferrer learned and wherever its threshold
lies, error rates then hold for this encoder, as long as the known pictures are like the others:
exchangeable with them, but for membership. `clipaudit.statistics.conformal` makes verdicts of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import InferrerError
from clipaudit.statistics.metrics import Estimate, fewest_for, most_within
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.statistics.metrics import FloatArray


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """All that a score depends on, beside the picture and the seed of its views.

    Attributes:
        encoder: Fingerprint of the target encoder.
        inferrer: Name of the inferrer.
        inferrer_sha256: SHA-256 of the weights of the inferrer.
        recipe: Name and version of the recipe of views.
        n_views: Views per image; 0 for an inferrer that reads none.
        similarity: Similarity that the inferrer reads.
        references: Fingerprints of the reference encoders, if there are any.
        bank: SHA-256 of the bank that captions were held against; empty where none are read.
        text_tower: Fingerprint of the text tower, likewise.
    """

    encoder: str
    inferrer: str
    inferrer_sha256: str
    recipe: str
    n_views: int
    similarity: str
    references: tuple[str, ...] = ()
    bank: str = ""
    text_tower: str = ""


@dataclass(frozen=True, slots=True)
class KnownScores:
    """Scores of pictures whose membership is known: all members, or all non-members.

    Neither the inferrer nor its threshold may have been fitted to these pictures.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; each once.
        scores: Scores in the same order; finite.
    """

    image_ids: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.image_ids or len(self.image_ids) != len(self.scores):
            raise ValueError("known scores need a score per picture, and at least one picture")
        if len(set(self.image_ids)) < len(self.image_ids):
            raise ValueError("a picture occurs twice among the known scores")
        if not all(map(math.isfinite, self.scores)):
            raise ValueError("every known score must be finite")

    @classmethod
    def of(cls, image_ids: Sequence[str], scores: FloatArray) -> KnownScores:
        """The same from an array, shape (n,).

        Raises:
            ValueError: As with other arguments that are not as the attributes say.
        """
        return cls(tuple(image_ids), tuple(scores.tolist()))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one encoder and inferrer give to pictures whose membership is known.

    Attributes:
        scored_by: Encoder, inferrer and views behind the scores.
        seed: Seed of the views, and of the lots that decide between equal scores.
        null: The null sample: known non-members.
        members: Known members, where there are some.
    """

    scored_by: ScoredBy
    seed: int
    null: KnownScores
    members: KnownScores | None = None

    def __post_init__(self) -> None:
        n_pictures = len(self.null) + (len(self.members) if self.members else 0)
        if len(self.image_ids) < n_pictures:
            raise ValueError("a picture is both a known member and a known non-member")

    @property
    def image_ids(self) -> frozenset[str]:
        """SHA-256 of all pictures in it, in hex."""
        return frozenset(self.null.image_ids + (self.members.image_ids if self.members else ()))

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that any picture can reach."""
        return 1 / (len(self.null) + 1)

    def fpr(self, stated: float) -> Estimate:
        """The share of non-members that these very non-members let through at a stated FPR.

        The stated FPR is kept on average over all null samples that might have been drawn. What
        this one makes of it is somewhat more or less, and the interval says how much.
        Source: Vovk, "Conditional Validity of Inductive Conformal Predictors" (2012): the share
        above the k-th highest of m null scores is distributed as Beta(k, m + 1 - k).
        """
        from scipy import stats

        m = len(self.null)
        k = most_within(stated, m + 1)
        if not k:  # no p-value is as small
            return Estimate(0.0, 0.0, 0.0, m)
        low, high = stats.beta.ppf(np.array([0.025, 0.975]), k, m + 1 - k)
        return Estimate(k / (m + 1), float(low), float(high), m)


def called_by_chance(n_null: int, fpr: float, n: int) -> Estimate:
    """How many of n non-members are called members by so many known ones, and how many it may be.

    Both the null sample and the pictures have their luck: the count is beta-binomial.
    Source: Vovk (2012), as in `Calibration.fpr`; given its share, the count is binomial.

    >>> called = called_by_chance(199, 0.01, 500)
    >>> (called.value, called.low, called.high)
    (5.0, 0.0, 15.0)
    """
    from scipy import stats

    k = most_within(fpr, n_null + 1)
    if not k:
        return Estimate(0.0, 0.0, 0.0, n)
    count = stats.betabinom(n, k, n_null + 1 - k)
    return Estimate(n * k / (n_null + 1), float(count.ppf(0.025)), float(count.ppf(0.975)), n)


def needed(fpr: float) -> int:
    """How many non-members a calibration needs before any picture can be called a member.

    At a miss rate instead: how many members, before any picture can be called a non-member.
    To pick one picture out of a folder of n at a false discovery rate takes `needed(fdr / n)`; if
    a share of the folder stands out together, `needed(fdr * share)`.

    >>> needed(0.01), needed(0.001)
    (99, 999)

    Raises:
        ValueError: The FPR is not between 0 and 1.
    """
    return fewest_for(fpr) - 1


def fewest_picked(n_null: int, n_pictures: int, fdr: float) -> int:
    """How many pictures of a folder must stand out together before any can be picked out.

    No p-value is below 1 / (n_null + 1), and of k picked ones it must not be above fdr * k / n.

    >>> fewest_picked(99, 200, 0.1), fewest_picked(1999, 200, 0.1)
    (20, 1)
    """
    return max(1, math.ceil(round(n_pictures / (fdr * (n_null + 1)), 9)))


def require_fit(calibration: Calibration, scored_by: ScoredBy) -> None:
    """Whether scores can be read with a calibration.

    Their seeds may differ: the views of another picture come from other random numbers anyhow.

    Raises:
        InferrerError: They cannot; the message names the first difference.
    """
    ours = calibration.scored_by
    for name, (word, advice) in _MUST_AGREE.items():
        if name in _OF_VIEWS and not scored_by.n_views:
            continue  # an earlier version wrote the run's, though the inferrer reads none
        was, now = getattr(ours, name), getattr(scored_by, name)
        if was != now:
            raise InferrerError(
                f"the calibration was made with {word} {_as_text(was)}, and the scores with "
                f"{_as_text(now)}",
                "Calibrate again with what the pictures are scored with, or score them with "
                f"{advice.format(_as_text(was))}.",
            )


_MUST_AGREE = {
    "encoder": ("the encoder of fingerprint", "that encoder"),
    "references": ("the reference encoders", "those reference encoders"),
    "inferrer": ("inferrer", "inferrer {}"),
    "inferrer_sha256": ("inferrer weights of SHA-256", "the inferrer as it was then"),
    "recipe": ("recipe", "recipe {}"),
    "n_views": ("a number of views of", "{} views"),
    "similarity": ("similarity", "similarity {}"),
    "text_tower": ("the text tower of fingerprint", "that text tower"),
    "bank": ("the bank of captions of SHA-256", "--bank naming that one"),
}
_OF_VIEWS = ("recipe", "n_views", "similarity")


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return shown(", ".join(value)) or "none"
    return shown(str(value))
