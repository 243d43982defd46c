"""Stage 6: scores → what a report needs, and nothing that it would have to compute.

`Audit` is plain data: every table, file and notebook view is made from it alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

SCHEMA_VERSION = "1.0"
"""Of every format that is made from an `Audit`; additions raise the second number."""

Status = Literal["ok", "skipped"]
Prediction = Literal["member", "non-member"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one inferrer says of one image.

    Attributes:
        inferrer: Its name.
        score: Higher is more like a member; not a probability.
        prediction: `member` where the score is at or above the inferrer's threshold.
    """

    inferrer: str
    score: float
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Row:
    """One file, whatever became of it.

    Attributes:
        path: As it was given or found; undecodable bytes as surrogate escapes.
        sha256: Of the file's bytes, in hex; None where it could not be read.
        status: `ok` where it was scored, else `skipped`.
        error: None, or `reason: explanation` for a skipped file.
        mean_similarity: Mean of the pairwise similarities of its views.
        findings: One an inferrer, in the order of `Run.inferrers`; empty where skipped.
        notes: What decoding had to do that may surprise, such as `first of 12 frames`.
    """

    path: str
    sha256: str | None
    status: Status
    error: str | None = None
    mean_similarity: float | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InferrerFacts:
    """What a reader must know of an inferrer to read its predictions.

    Attributes:
        name: As shown in the rows.
        kind: `V`, `S` or `T`.
        threshold: A score at or above it reads as member.
        trained_on: One line: shadow data set, architecture, algorithm.
        evidence: One line: its error rates, on what they were measured, n and interval.
        sha256: Of its weights.
    """

    name: str
    kind: str
    threshold: float
    trained_on: str
    evidence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Run:
    """The facts of a run: enough to read its numbers, and to repeat it.

    Attributes:
        command: The command line, or the Python call.
        config: The resolved options, as plain values.
        versions: clipaudit, Python, torch, … → version.
        encoder: The encoder's `EncoderInfo`, as plain values.
        recipe: Name and version of the recipe of views.
        n_views: Views an image.
        similarity: Which similarity the inferrers read.
        seed: Seed of the views.
        inferrers: Facts of each inferrer.
        started_at: UTC, ISO 8601.
        seconds: Wall time.
        n_from_store: Images whose features were already known.
        interrupted: Whether the user stopped the run before its end.
    """

    command: str
    config: dict[str, Any]
    versions: dict[str, str]
    encoder: dict[str, Any]
    recipe: str
    n_views: int
    similarity: str
    seed: int
    inferrers: tuple[InferrerFacts, ...]
    started_at: str
    seconds: float
    n_from_store: int = 0
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that a run found; `len()`, iteration and indexing go over its rows."""

    run: Run
    rows: tuple[Row, ...] = field(repr=False)

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

        By the first inferrer's score, or by mean similarity where there is no inferrer; ties
        by content hash, then by path, so that the order is the same in every run.
        """

        def key(row: Row) -> tuple[float, str, str]:
            score = row.findings[0].score if row.findings else row.mean_similarity
            return -(score or 0.0), row.sha256 or "", row.path

        return tuple(sorted(self.scored, key=key))

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

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat record a file and inferrer: the long form, which all exports share.

        A skipped file, or a run without inferrers, gives one record with those fields None.
        """
        records = []
        for row in self.rows:
            shared = asdict(row)
            findings = shared.pop("findings")
            blank = {"inferrer": None, "score": None, "prediction": None}
            records += [{**shared, **finding} for finding in findings or [blank]]
        return records

    def to_pandas(self) -> pd.DataFrame:
        """The same as a data frame; needs pandas (`pip install 'clipaudit[pandas]'`)."""
        import pandas as pd

        return pd.DataFrame.from_records(self.to_dicts())
