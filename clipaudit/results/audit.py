"""Stage 6: scores → what a report needs, and nothing that it would have to compute.

`Audit` is plain data: every table, file and notebook view is made from it alone.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

# Not for the type checker alone: a saved audit is read by these types.
from clipaudit.encoders.base import EncoderInfo
from clipaudit.encoders.text import TextInfo
from clipaudit.errors import extra_imports
from clipaudit.results.evidence import AgainstControl, CalibrationFacts
from clipaudit.results.showable import Showable
from clipaudit.statistics.conformal import Levels, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

Status = Literal["ok", "skipped"]
Prediction = Literal["member", "non-member"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one inferrer says of one image.

    Attributes:
        inferrer: Name of the inferrer.
        score: Higher is more like a member; not a probability.
        prediction: `member` where the score is at or above the inferrer's threshold, which is
            not calibrated for the encoder.
        p_value: How often a non-member scores as high or higher, by the calibration; None, as all
            that follows, where there is no calibration that fits.
        p_member: How often a member scores as low or lower; None too without known members.
        q_value: The p-value adjusted for all pictures of the run.
        verdict: Verdict on this picture, at the FPR and the miss rate of `Audit.levels`.
        reason: Why.
        picked: Whether it is among those that are picked out of all at the FDR.
    """

    inferrer: str
    score: float
    prediction: Prediction
    p_value: float | None = None
    p_member: float | None = None
    q_value: float | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    picked: bool | None = None


@dataclass(frozen=True, slots=True)
class ReferenceSignals:
    """What the reference encoder makes of one image; of several, the mean of what they make.

    Attributes:
        mean_similarity: Mean of the pairwise similarities of its views; None without views.
        norm: Length of its embedding of the image without augmentation.
    """

    mean_similarity: float | None
    norm: float


@dataclass(frozen=True, slots=True)
class Row:
    """One file, whatever became of it.

    Attributes:
        path: Path of the file, as it was given or found; undecodable bytes as surrogate escapes.
        sha256: Of the file's bytes, in hex; None where it could not be read.
        status: `ok` where it was scored, else `skipped`.
        error: None, or `reason: explanation` for a skipped file.
        mean_similarity: Mean of the pairwise similarities of its views; None where the run made
            none.
        findings: One an inferrer, in the order of `Run.inferrers`; none by an inferrer that reads
            captions where it has no caption, and none at all where skipped.
        notes: What decoding had to do that may surprise, such as `first of 12 frames`.
        reference: What the reference encoder makes of it; None where the run has none.
    """

    path: str
    sha256: str | None
    status: Status
    error: str | None = None
    mean_similarity: float | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    reference: ReferenceSignals | None = None

    def finding(self, inferrer: str) -> Finding | None:
        """What an inferrer says of it; None where it says nothing."""
        return next((found for found in self.findings if found.inferrer == inferrer), None)


@dataclass(frozen=True, slots=True)
class InferrerFacts:
    """What a reader must know of an inferrer to read its predictions.

    Attributes:
        name: Name of the inferrer, as in the rows.
        kind: `V`, `S` or `T`.
        threshold: A score at or above it reads as member.
        trained_on: One line: shadow data set, architecture, algorithm.
        evidence: One line: its error rates, on what they were measured, n and interval.
        sha256: Of its weights.
        similarity: Which one it reads.
        reads_reference: Whether it reads the signals of the reference encoders too.
        reads_views: Whether it reads views, and not the picture itself alone.
        reads_captions: Whether it reads captions; a picture without one gets no score by it.
    """

    name: str
    kind: str
    threshold: float
    trained_on: str
    evidence: str
    sha256: str
    similarity: str = "cosine"
    reads_reference: bool = False
    reads_views: bool = True
    reads_captions: bool = False


@dataclass(frozen=True, slots=True)
class BankFacts:
    """The pictures and captions that the loss of a pair was taken against.

    Attributes:
        origin: Where they come from, in words.
        n_captions: Captions in it.
        n_pictures: Pictures in it; 0 where the loss goes from the picture to the captions alone.
        sha256: Over what it holds, in hex.
    """

    origin: str
    n_captions: int
    n_pictures: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CaptionsRead:
    """What a run read of captions; their words stay out of it.

    Attributes:
        source: Where they came from, in words.
        n_with: Different pictures that were scored and have one.
        n_without: Different pictures that were scored and have none.
        n_cut: Captions longer than the encoder's context, of which the end was cut off.
        bank: What they were held against.
        tower: Text tower of the encoder.
        notes: What was wrong with some, a sentence each.
    """

    source: str
    n_with: int
    n_without: int
    n_cut: int
    bank: BankFacts
    tower: TextInfo
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """The facts of a run: enough to read its numbers, and to repeat it.

    Attributes:
        command: The command line, or the Python call.
        config: The resolved options, as plain values.
        versions: clipaudit, Python, torch, … → version.
        encoder: The encoder that was audited.
        recipe: Name and version of the recipe of views.
        n_views: Views an image; 0 where no inferrer reads any.
        similarity: Which similarity the inferrers read.
        seed: Seed of the views.
        inferrers: Facts of each inferrer.
        started_at: UTC, ISO 8601.
        seconds: Wall time.
        n_from_store: Images whose features were already known.
        interrupted: Whether the user stopped the run before its end.
        references: The encoders that it was compared with; they did not see the pictures.
        recipe_reason: Why this recipe, where it was chosen by what is known of the encoder.
        captions: Where captions came from, and what they were held against; None where none were
            read.
        notes: What else a reader must know of how the run was set up, a sentence each.
    """

    command: str
    config: dict[str, Any]
    versions: dict[str, str]
    encoder: EncoderInfo
    recipe: str
    n_views: int
    similarity: str
    seed: int
    inferrers: tuple[InferrerFacts, ...]
    started_at: str
    seconds: float
    n_from_store: int = 0
    interrupted: bool = False
    references: tuple[EncoderInfo, ...] = ()
    recipe_reason: str = ""
    captions: CaptionsRead | None = None
    notes: tuple[str, ...] = ()

    @property
    def named_encoders(self) -> tuple[tuple[str, EncoderInfo], ...]:
        """What each encoder of the run is to a reader, and the encoder."""
        references = (("Reference", reference) for reference in self.references)
        return (("Encoder", self.encoder), *references)


DECIDED = ("p_value", "p_member", "q_value", "verdict", "reason", "picked")
"""Fields of `Finding` that a calibration fills."""


def ranking_key(row: Row, inferrer: str | None = None) -> tuple[float, str]:
    """What scored rows are ranked by; see `Audit.ranked`.

    Args:
        row: A scored one.
        inferrer: Name of the first inferrer; None takes the first that says something of the row.
    """
    found = row.finding(inferrer) if inferrer else next(iter(row.findings), None)
    if found is not None:
        score = found.score
    else:
        score = -math.inf if inferrer else row.mean_similarity or 0.0
    return -score, row.sha256 or ""


class Place(NamedTuple):
    """A picture in the ranking of different pictures.

    Attributes:
        rank: 1 for the one most like a member.
        row: Its first file in the order of `Audit.ranked`.
        n_copies: Further files with the same bytes.
    """

    rank: int
    row: Row
    n_copies: int


@dataclass(frozen=True, slots=True)
class Audit(Showable):
    """Everything that a run found; `len()`, iteration and indexing go over its rows.

    Attributes:
        run: Facts of the run.
        rows: The files, in the order in which they were found.
        calibrations: Those of the inferrers that have one, in the order of the inferrers.
        levels: How often verdicts may be wrong; None without a calibration.
        calibration_notes: Why other calibrations were not used.
        comparison: The verdict on all pictures as a set; None without a control.
    """

    run: Run
    rows: tuple[Row, ...] = field(repr=False)
    calibrations: tuple[CalibrationFacts, ...] = ()
    levels: Levels | None = None
    calibration_notes: tuple[str, ...] = ()
    comparison: AgainstControl | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    @property
    def scored(self) -> tuple[Row, ...]:
        """The rows that carry a score."""
        return tuple(row for row in self.rows if row.status == "ok")

    @property
    def skipped(self) -> tuple[Row, ...]:
        """The rows that do not."""
        return tuple(row for row in self.rows if row.status == "skipped")

    def ranked(self) -> tuple[Row, ...]:
        """The rows that carry a score, most like a member first.

        By the first inferrer's score, or by mean similarity where there is no inferrer; pictures
        without that score last; ties by content hash, then by path, so that the order is the same
        in every run.
        """
        first = self.run.inferrers[0].name if self.run.inferrers else None
        return tuple(sorted(self.scored, key=lambda row: (*ranking_key(row, first), row.path)))

    def places(self) -> tuple[Place, ...]:
        """The ranking of different pictures: files with the same bytes take one place."""
        n_files = Counter(row.sha256 or row.path for row in self.scored)
        first: dict[str, Row] = {}
        for row in self.ranked():
            first.setdefault(row.sha256 or row.path, row)
        return tuple(
            Place(rank, row, n_files[key] - 1) for rank, (key, row) in enumerate(first.items(), 1)
        )

    def skip_reasons(self) -> dict[str, int]:
        """How many files were skipped for each reason, the most frequent first.

        The reason is the part of `Row.error` before its colon.
        """
        reasons = Counter((row.error or "unknown").partition(":")[0] for row in self.skipped)
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def n_predicted(self, inferrer: str) -> int:
        """How many images an inferrer reads as members."""
        return sum(
            finding.prediction == "member"
            for row in self.rows
            for finding in row.findings
            if finding.inferrer == inferrer
        )

    def n_scored(self, inferrer: str) -> int:
        """How many images have a score by an inferrer: all but those whose caption is missing."""
        return sum(1 for _ in self._findings(inferrer))

    @property
    def uncalibrated(self) -> list[str]:
        """Names of the inferrers that have no calibration."""
        calibrated = {facts.inferrer for facts in self.calibrations}
        return [facts.name for facts in self.run.inferrers if facts.name not in calibrated]

    def n_verdicts(self, inferrer: str) -> dict[Verdict, int]:
        """How many images of each verdict, for an inferrer that has a calibration."""
        counts: dict[Verdict, int] = {"member": 0, "non-member": 0, "can't tell": 0}
        for finding in self._findings(inferrer):
            if finding.verdict is not None:
                counts[finding.verdict] += 1
        return counts

    def n_picked(self, inferrer: str) -> int:
        """How many images are picked out of all at the FDR."""
        return sum(finding.picked is True for finding in self._findings(inferrer))

    def _findings(self, inferrer: str) -> Iterator[Finding]:
        for row in self.rows:
            yield from (finding for finding in row.findings if finding.inferrer == inferrer)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat record a file and inferrer: the long form, which all exports share.

        A skipped file, or a run without inferrers, gives one record with the fields of `Finding`
        None. Those of a reference encoder are called `reference_mean_similarity` and
        `reference_norm`.
        """
        return [*self.records()]

    def records(self) -> Iterator[dict[str, Any]]:
        """The same one by one, so that no more than one is in memory."""
        no_finding = dict.fromkeys(field.name for field in fields(Finding))
        for row in self.rows:
            shared = asdict(row)
            findings = shared.pop("findings") or [no_finding]
            reference = shared.pop("reference") or dict.fromkeys(("mean_similarity", "norm"))
            shared |= {f"reference_{name}": value for name, value in reference.items()}
            yield from ({**shared, **finding} for finding in findings)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a data frame; needs pandas: `pip install '.[pandas]'` in the checkout.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        with extra_imports("A data frame", "to_dicts() does without."):
            import pandas as pd

        return pd.DataFrame.from_records(self.to_dicts())
