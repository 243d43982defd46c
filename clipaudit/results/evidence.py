"""What verdicts rest on: facts that go wherever the numbers go, on the screen and into files.

Plain data, made by `clipaudit.verdicts.by_calibration` and `clipaudit.verdicts.by_control`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Not for the type checker alone: a saved audit is read by these types.
from clipaudit.blind.baseline import BlindCheck, CheckOutcome
from clipaudit.statistics.metrics import Estimate
from clipaudit.statistics.share_used import ShareUsed
from clipaudit.statistics.two_sets import Comparison, Outcome


@dataclass(frozen=True, slots=True)
class KnownSet:
    """Pictures whose membership is known.

    Attributes:
        name: The files and folders that were named.
        n: Different pictures in it that were scored; near-duplicates count once.
        sha256: Over the sorted SHA-256 of the pictures: tells sets of one name apart.
    """

    name: str
    n: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """What a reader must know of a calibration to read the p-values and verdicts made with it.

    Attributes:
        inferrer: Whose scores it is for.
        nonmembers: The set behind the null sample.
        members: The set of known members, where there is one.
        n_left_out: Pictures of both that are among the pictures of the run, to the byte or to the
            eye, and so had no part in the verdicts.
        n_null: Non-members that had.
        n_members: Members that had.
        smallest_p: The smallest p-value that so many non-members allow.
        fpr: Share of the non-members that are called members at the stated FPR, and how far these
            very non-members may miss it.
        tpr: Share of the known members that are called members; None where there are none.
        seed: Seed of its views, and of the lots between equal scores.
        created: UTC date, ISO 8601.
        clipaudit_version: The package that made it.
        null_scores: Scores of the non-members that had part in the verdicts, ascending.
        blind: Whether the pictures of the run differ from the non-members in what no encoder is
            needed to see; None in results that were saved before that was tried.
        captions: Whether the captions of the run are written in another way than theirs; None where
            the inferrer reads none, or the calibration was made before that was tried.
        share: How much of the pictures of the run was used; None without known members, or where
            it cannot be told.
    """

    inferrer: str
    nonmembers: KnownSet
    members: KnownSet | None
    n_left_out: int
    n_null: int
    n_members: int
    smallest_p: float
    fpr: Estimate
    tpr: Estimate | None
    seed: int
    created: str
    clipaudit_version: str
    null_scores: tuple[float, ...] = ()
    blind: BlindCheck | None = None
    captions: BlindCheck | None = None
    share: ShareUsed | None = None

    @property
    def is_of_another_kind(self) -> bool:
        """Whether pictures or captions of the run differ from its own: then there is no verdict."""
        return any(check.outcome == "different" for check in (self.blind, self.captions) if check)


@dataclass(frozen=True, slots=True)
class Overlap:
    """A picture that is among the suspects and in the control.

    Attributes:
        suspect: Path of the picture among the suspects.
        control: Path of the picture in the control.
        kind: Whether they are the same to the byte, or to the eye.
    """

    suspect: str
    control: str
    kind: Literal["copy", "near-duplicate"]


@dataclass(frozen=True, slots=True)
class InferrerComparison:
    """Suspects against control by the scores of one inferrer.

    Attributes:
        inferrer: Name of the inferrer.
        outcome: Outcome of the unpaired test.
        unpaired: The test of the two sets.
        paired: The signed-rank test, where every suspect has a namesake in the control; it stands
            beside the other and does not change the outcome.
        control_scores: Scores of the pictures of the control that counted, ascending.
        share: How much of the suspects was used at least, as far as the control is a fair one;
            None where they were not shown to score higher, or hang together in series.
    """

    inferrer: str
    outcome: Outcome
    unpaired: Comparison
    paired: Comparison | None
    control_scores: tuple[float, ...] = ()
    share: ShareUsed | None = None


Grade = Literal["evidence", "weak evidence", "no evidence", "no conclusion"]
"""What the comparison with a control comes to. `evidence`: the suspects score higher, nothing was
found that tells the two apart without the encoder, and a reference encoder that saw neither set
does not tell them apart. `weak evidence`: they score higher, and there is no reference; or
something was found, and the reference does not see it. `no evidence`: they were not shown to
score higher, which says nothing of the contrary. `no conclusion`: too few pictures, or the two
differ in more than membership."""


@dataclass(frozen=True, slots=True)
class NegativeControl:
    """Whether reference encoders, which saw neither set, tell suspects from control.

    Attributes:
        outcome: `silent` where they do not; `speaks` where they do, so that the two differ in
            content, and nothing follows from the target's scores.
        p: Of the same test on what the references make of the pictures, the smaller one of both
            directions, doubled.
        alpha: Level at which they speak.
        references: Specs of the references.
    """

    outcome: Literal["silent", "speaks"]
    p: float
    alpha: float
    references: tuple[str, ...]


_WORST_FIRST: tuple[CheckOutcome, ...] = ("different", "too few", "alike")


def most_cautious(checks: Iterable[BlindCheck | None]) -> BlindCheck | None:
    """The check that allows least, the first of several; None where none was made."""
    made = [check for check in checks if check is not None]
    return min(made, key=lambda check: _WORST_FIRST.index(check.outcome), default=None)


@dataclass(frozen=True, slots=True)
class AgainstControl:
    """The verdict on the suspects as a set.

    Attributes:
        control: The files and folders that were named as the control.
        n_files: Files in it.
        n_scored: Those that were scored.
        n_near_duplicates: Copies and near-duplicates, among the suspects and in the control, of
            pictures that count already.
        overlaps: Pictures in both; they were allowed, and left out of the control.
        blind: Whether the two folders differ in what no encoder is needed to see.
        captions: Whether their captions alone tell them apart; None where no captions were read.
        by_inferrer: The tests, in the order of `Run.inferrers`. The first one is the result; to
            pick the best afterwards would be to test several times and tell of one.
        grade: What the result comes to.
        sentence: To quote; it claims no more than the data and the checks allow.
        negative_control: Whether reference encoders tell the two apart; None without one. Where
            there is one, what was tested is the part of the scores that it does not explain.
        seeds: Seeds of the views; of several, scores were averaged.
        n_looks: How often these very suspects were compared in different ways, this one included,
            as far as the log in the cache folder knows; None where none was kept.
    """

    control: str
    n_files: int
    n_scored: int
    n_near_duplicates: int
    overlaps: tuple[Overlap, ...]
    blind: BlindCheck
    by_inferrer: tuple[InferrerComparison, ...]
    grade: Grade
    sentence: str
    captions: BlindCheck | None = None
    negative_control: NegativeControl | None = None
    seeds: tuple[int, ...] = ()
    n_looks: int | None = None

    @property
    def fairness(self) -> CheckOutcome:
        """Whether the control is a fair one, by pictures and captions together."""
        return (most_cautious((self.blind, self.captions)) or self.blind).outcome
