"""Stage 6: scores of pictures whose membership is known → how well inferrers do on them.

Plain data; `pipelines.evaluate` fills it, `reports.evaluation_table` and its neighbours show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from clipaudit.results.showable import Showable
from clipaudit.seeding import stream
from clipaudit.statistics.metrics import figures, roc

if TYPE_CHECKING:
    from clipaudit.blind.adjust import AdjustedAuc
    from clipaudit.blind.baseline import BlindReport
    from clipaudit.results.audit import InferrerFacts, Run
    from clipaudit.results.evidence import KnownSet
    from clipaudit.statistics.metrics import BoolArray, Figures, FloatArray

BINS = (10, 40)
"""The fewest and the most bins of a histogram."""

MemberLabel = Literal["member", "potential-member"]
"""`potential-member`: public when the encoder was trained, so perhaps used."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a number is spread among members and among non-members (the paper's Fig. 4).

    Attributes:
        edges: Edges of the bins, rising; one more than there are bins.
        members: Pictures in each bin; the last bin holds its upper edge too.
        nonmembers: Non-members in each bin, likewise.
    """

    edges: tuple[float, ...]
    members: tuple[int, ...]
    nonmembers: tuple[int, ...]

    @classmethod
    def of(cls, values: FloatArray, is_member: BoolArray) -> Histogram:
        """The histogram of some numbers over bins of equal width between the least and the most.

        There are as many bins as the root of the number of pictures, within `BINS`.

        Raises:
            ValueError: No number, or one that is not finite.
        """
        if not len(values) or not np.isfinite(values).all():
            raise ValueError("a histogram needs numbers, all of them finite")
        edges = np.histogram_bin_edges(values, int(np.clip(np.sqrt(len(values)), *BINS)))
        members, _ = np.histogram(values[is_member], edges)
        nonmembers, _ = np.histogram(values[~is_member], edges)
        return cls(tuple(edges.tolist()), tuple(members.tolist()), tuple(nonmembers.tolist()))


@dataclass(frozen=True, slots=True)
class Curve:
    """The corners of a ROC curve, from (0, 0) to (1, 1).

    Attributes:
        fpr: Rising.
        tpr: Rising.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]

    @classmethod
    def of(cls, scores: FloatArray, is_member: BoolArray) -> Curve:
        """The ROC curve of some scores, without the points amid an upright or level line.

        Raises:
            ValueError: As `metrics.roc`.
        """
        whole = roc(scores, is_member)
        moves = np.sign(np.diff(np.stack([whole.fpr, whole.tpr]), axis=1))
        turns = np.any(moves[:, 1:] != moves[:, :-1], axis=0)
        slanted = np.all(moves != 0, axis=0)  # ties: each such step has a slope of its own
        corners = np.concatenate([[True], turns | slanted[1:] | slanted[:-1], [True]])
        return cls(tuple(whole.fpr[corners].tolist()), tuple(whole.tpr[corners].tolist()))


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """How one inferrer does on the set.

    Attributes:
        inferrer: What it is.
        shadow_data: Name of the data set that its shadow encoders were trained on.
        figures: At its own threshold, and at low false-positive rates.
        curve: Its ROC curve.
        adjusted: How much of its AUC is left among pictures that look equally like members to the
            blind baseline; None where there is no blind baseline.
    """

    inferrer: InferrerFacts
    shadow_data: str
    figures: Figures
    curve: Curve
    adjusted: AdjustedAuc | None = None

    @property
    def method(self) -> str:
        """Its kind, and whether it reads a reference: what the rows of a table are."""
        return self.inferrer.kind + (" + reference" if self.inferrer.reads_reference else "")


@dataclass(frozen=True, slots=True)
class SharedPicture:
    """A picture that is among the members and among the non-members.

    Attributes:
        member: Path of the picture among the members.
        nonmember: Path of the picture among the non-members.
        kind: Whether they are the same to the byte, or to the eye.
    """

    member: str
    nonmember: str
    kind: Literal["copy", "near-duplicate"]


@dataclass(frozen=True, slots=True)
class Evaluation(Showable):
    """How well inferrers tell members from non-members of one set, and what else could.

    Attributes:
        run: Facts of the run that scored the set.
        folder: Folder of the set as it was named, or the names of its two sides.
        members: The members that count: each different picture once, and no shared one.
        nonmembers: The non-members that count, likewise.
        label: What the members are: `potential-member` where the manifest of the set says so of
            any of them.
        n_same: Files that were passed over, being copies or near-duplicates of others of their
            side.
        skipped: Files without a score, by reason.
        shared: Pictures on both sides, where that was allowed; they count on neither.
        methods: Figures of each inferrer, in the order of the run.
        similarity: How the mean similarity is spread; None where the run made no views.
        blind: What tells the sides apart without the encoder; None where there is nothing.
        blind_missing: Why there is nothing, though it was asked for; else empty.
        blind_captions: What tells them apart by their captions alone; None where there is
            nothing, or no captions were read.
    """

    run: Run
    folder: str
    members: KnownSet
    nonmembers: KnownSet
    label: MemberLabel
    n_same: int
    skipped: dict[str, int]
    shared: tuple[SharedPicture, ...]
    methods: tuple[MethodFigures, ...]
    similarity: Histogram | None
    blind: BlindReport | None
    blind_missing: str = ""
    blind_captions: BlindReport | None = None

    @property
    def blind_reports(self) -> tuple[BlindReport, ...]:
        """What there is of both, pictures first."""
        return tuple(report for report in (self.blind, self.blind_captions) if report)

    @property
    def is_confounded(self) -> bool:
        """Whether members and non-members differ in what no encoder is needed to see."""
        return any(report.is_confounded for report in self.blind_reports)

    @property
    def summary(self) -> str:
        """One sentence, and a warning where the set is confounded."""
        called = "potential members" if self.label == "potential-member" else "members"
        sides = f"On {self.members.n:,} {called} and {self.nonmembers.n:,} non-members"
        aucs = sorted((method.figures.auc for method in self.methods), key=lambda auc: auc.value)
        least, most = aucs[0], aucs[-1]
        if len(aucs) == 1:
            found = f"{sides}, the AUC of {self.methods[0].inferrer.name} is {most}."
        else:
            found = (
                f"{sides}, the AUCs of {len(aucs)} inferrers lie between {least.value:.3f} and "
                f"{most.value:.3f}; the 95 % interval of the highest is {most.low:.3f} to "
                f"{most.high:.3f}."
            )
        if not self.is_confounded:
            return found
        return (
            f"{found} The set is confounded, so this proves nothing by itself: members and "
            "non-members can be told apart without the encoder."
        )


def method_figures(
    inferrer: InferrerFacts,
    shadow_data: str,
    scores: FloatArray,
    is_member: BoolArray,
    seed: int,
) -> MethodFigures:
    """All figures of one inferrer; they do not depend on the order of the pictures.

    Args:
        inferrer: What it is.
        shadow_data: Name of its shadow data set.
        scores: Shape (n,): its own.
        is_member: Shape (n,).
        seed: Seed of the bootstrap, and of the halves that choose and try a threshold.

    Raises:
        ValueError: Fewer than two members or non-members, or a score that is not finite.
    """
    generator = stream(seed, inferrer.name, "evaluation: intervals")
    found = figures(scores, is_member, inferrer.threshold, generator)
    return MethodFigures(inferrer, shadow_data, found, Curve.of(scores, is_member))
