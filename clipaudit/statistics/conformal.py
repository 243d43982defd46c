"""Scores and a calibration → p-values and verdicts, picture by picture and over a folder.

Each picture is tested twice. `p` is small where its score would be surprisingly high for a
non-member, `p_member` where it would be surprisingly low for a member:

| | p_member above the FNR | p_member not above it | no known members |
|---|---|---|---|
| p not above the FPR | member | can't tell: like neither | member |
| p above the FPR | can't tell: like both | non-member | can't tell |

So, on average over calibrations, at most a share FPR of the non-members is called member, and at
most a share FNR of the members non-member; `Calibration.fpr` tells how far one calibration may be
off. A high p alone is no evidence against membership: an inferrer that sees nothing gives
high p-values to members too. Only known members show how often it misses one on this encoder; the
evidence on its card comes from other encoders, and does not carry over. So without known members
nothing is called non-member, and the less the scores of the two kinds differ, the more pictures
are like both.

A verdict of member does not tell how many of those so called are members. Of a thousand
non-members an FPR of 1 % calls ten so; if there are no members, they are all of them. That share
is what the FDR bounds, over the folder: see `decide`.

Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005), label-
conditional conformal prediction; Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued
Classifiers With Bounded Error Levels" (2019). The labels that are not rejected are a verdict where
there is exactly one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from clipaudit.seeding import derive
from clipaudit.statistics.calibration import Calibration, KnownScores, needed
from clipaudit.statistics.metrics import FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Verdict = Literal["member", "non-member", "can't tell"]

Reason = Literal[
    "unlike non-members",
    "unlike members",
    "like both",
    "like neither",
    "too few non-members",
    "no known members",
    "too few members",
    "known already",
    "of another kind",
    "one colour",
]
"""Why a verdict is what it is. `too few non-members`: no score could have been called a member.
`too few members`: none could have been called a non-member. `known already`: the picture is part
of the calibration. `of another kind`: the pictures of the run can be told from its non-members
without the encoder, so its rates do not hold for them. `one colour`: nothing is in the
picture to know it by. The last two are given by `verdicts.by_calibration`."""


SMALLEST_LEVEL = 1e-9
"""No calibration is large enough for a level below it."""


@dataclass(frozen=True, slots=True)
class Levels:
    """How often verdicts may be wrong; each above 0 and below 1.

    Attributes:
        fpr: Share of the non-members that may be called members, picture by picture.
        fnr: Share of the members that may be called non-members, picture by picture: the miss
            rate.
        fdr: Share of non-members, on average, among the pictures that are picked out of a folder.
    """

    fpr: float = 0.01
    fnr: float = 0.05
    fdr: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {value}")
            if value < SMALLEST_LEVEL:
                raise ValueError(f"{name} must be at least {SMALLEST_LEVEL:g}, got {value}")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a calibration says of one picture.

    Attributes:
        image_id: SHA-256 of the file, in hex.
        score: Score of the picture.
        p: How often a non-member scores as high or higher; see `p_values`.
        p_member: How often a member scores as low or lower; None without known members.
        q: Share of non-members to expect, at most, among the pictures of the folder with p-values
            as small: the p-value adjusted as by Benjamini and Hochberg.
        verdict: Verdict on this picture, at the FPR and the miss rate.
        reason: Reason for the verdict.
        picked: Whether it is among those that are picked out of the folder: q is not above the
            FDR. Not the same as the verdict: it depends on the rest of the folder.
    """

    image_id: str
    score: float
    p: float
    p_member: float | None
    q: float
    verdict: Verdict
    reason: Reason
    picked: bool


def p_values(
    known: KnownScores, image_ids: Sequence[str], scores: FloatArray, seed: int
) -> FloatArray:
    """Conformal p-values: how surprising each score would be, were it one of the known ones.

    (1 + number of known scores at or above it) / (1 + number of known scores). Between equal
    scores the lot decides: every picture, known or not, draws one by the seed and its own
    SHA-256, and so p depends on the picture, not on its neighbours or their order. For pictures
    that are exchangeable with the known ones p is then uniform on 1/(m + 1), 2/(m + 1), …, 1,
    whatever the ties, and p-values that share their known scores are positively dependent as
    Benjamini and Hochberg's procedure needs it.
    Source: Bates, Candès, Lei, Romano and Sesia, "Testing for Outliers with Conformal p-values"
    (2023), Section 2.

    Args:
        known: The scores to compare with.
        image_ids: SHA-256 of each image file, in hex.
        scores: Shape (n,), finite.
        seed: Seed of the lots.

    Raises:
        ValueError: There is not one score per picture, or one is not finite.
    """
    if scores.shape != (len(image_ids),) or not np.isfinite(scores).all():
        raise ValueError("p-values need one finite score per picture")
    # NumPy sorts complex numbers by their real part, then by the imaginary one.
    ranked = np.sort(np.array(known.scores) + 1j * _lots(known.image_ids, seed))
    n_below = np.searchsorted(ranked, scores + 1j * _lots(image_ids, seed))
    return (1 + len(known) - n_below) / (1 + len(known))


def decide(
    calibration: Calibration, image_ids: Sequence[str], scores: FloatArray, levels: Levels
) -> tuple[Decision, ...]:
    """What a calibration says of each picture of a folder, in the order given.

    Pictures are picked out of the folder by Benjamini and Hochberg's procedure (1995), which
    bounds the share of non-members among them on average; conformal p-values that share one null
    sample keep it valid (Bates et al., 2023, Theorem 2). A picture that is there several times
    counts once. One that is part of the calibration gets no verdict, and counts for nothing.

    Args:
        calibration: Made with what made the scores; see `require_fit`.
        image_ids: SHA-256 of each image file, in hex.
        scores: Shape (n,), finite.
        levels: How often to be wrong.

    Raises:
        ValueError: As `p_values`, or one picture with two scores.
    """
    if len({*zip(image_ids, scores.tolist(), strict=True)}) > len({*image_ids}):
        raise ValueError("a picture has two scores")
    p = p_values(calibration.null, image_ids, scores, calibration.seed).tolist()
    p_member = _p_members(calibration, image_ids, scores)
    known = calibration.image_ids
    by_id = dict(zip(image_ids, p, strict=True))
    tested = {image_id: own_p for image_id, own_p in by_id.items() if image_id not in known}
    q = adjusted(tested)

    def decision(image_id: str, score: float, p: float, p_member: float | None) -> Decision:
        own_q = q.get(image_id, 1.0)
        reason: Reason = "known already"
        if image_id in q:
            reason = _reason(calibration, p, p_member, levels)
        verdict = _VERDICTS.get(reason, "can't tell")
        picked = own_q <= levels.fdr
        return Decision(image_id, score, p, p_member, own_q, verdict, reason, picked)

    return tuple(map(decision, image_ids, scores.tolist(), p, p_member))


def adjusted(p_by_id: Mapping[str, float]) -> dict[str, float]:
    """P-values of different pictures, adjusted for all of them as by Benjamini and Hochberg."""
    from scipy import stats

    if not p_by_id:
        return {}
    q: list[float] = stats.false_discovery_control([*p_by_id.values()], method="bh").tolist()
    return dict(zip(p_by_id, q, strict=True))


def _p_members(
    calibration: Calibration, image_ids: Sequence[str], scores: FloatArray
) -> list[float] | list[None]:
    """How surprisingly low each score would be for a member: all turned upside down."""
    if calibration.members is None:
        return [None] * len(image_ids)
    known = calibration.members
    negated = KnownScores(known.image_ids, tuple(-score for score in known.scores))
    p_member: list[float] = p_values(negated, image_ids, -scores, calibration.seed).tolist()
    return p_member


_VERDICTS: dict[Reason, Verdict] = {"unlike non-members": "member", "unlike members": "non-member"}


def _reason(calibration: Calibration, p: float, p_member: float | None, levels: Levels) -> Reason:
    """The table at the head of this module, and what keeps a picture from its other cells."""
    unlike_members = p_member is not None and p_member <= levels.fnr
    if p <= levels.fpr:
        return "like neither" if unlike_members else "unlike non-members"
    if unlike_members:
        return "unlike members"
    if len(calibration.null) < needed(levels.fpr):
        return "too few non-members"
    if calibration.members is None:
        return "no known members"
    return "like both" if len(calibration.members) >= needed(levels.fnr) else "too few members"


def _lots(image_ids: Iterable[str], seed: int) -> FloatArray:
    """A number in 0 to 1 for each picture, as if drawn at random."""
    return np.array([derive(seed, image_id, "lot of a tie") / 2**128 for image_id in image_ids])
