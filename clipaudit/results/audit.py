"""Stage 6: scores → what a report needs, and nothing that it would have to compute.

`Audit` is plain data: every table, file and notebook view is made from it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast, get_args

# Not for the type checker alone: a saved audit is read by these types.
from clipaudit.encoders.base import EncoderInfo
from clipaudit.encoders.text import TextInfo
from clipaudit.errors import extra_imports
from clipaudit.results.evidence import AgainstControl, CalibrationFacts
from clipaudit.results.rows import Finding, Place, Row, RowsInMemory, RowsOnDisk
from clipaudit.results.showable import Showable
from clipaudit.statistics.conformal import Levels, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


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


@dataclass(frozen=True, slots=True)
class Audit(Showable):
    """Everything that a run found; `len()`, iteration and indexing go over its rows.

    Attributes:
        run: Facts of the run.
        rows: The files, in the order in which they were found; many of them lie on disk, and are
            read as they are asked for.
        calibrations: Those of the inferrers that have one, in the order of the inferrers.
        levels: How often verdicts may be wrong; None without a calibration.
        calibration_notes: Why other calibrations were not used.
        comparison: The verdict on all pictures as a set; None without a control.
    """

    run: Run
    rows: Sequence[Row] = field(repr=False)
    calibrations: tuple[CalibrationFacts, ...] = ()
    levels: Levels | None = None
    calibration_notes: tuple[str, ...] = ()
    comparison: AgainstControl | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rows, RowsInMemory | RowsOnDisk):
            object.__setattr__(self, "rows", RowsInMemory(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    @property
    def _rows(self) -> RowsInMemory | RowsOnDisk:
        return cast("RowsInMemory | RowsOnDisk", self.rows)

    @property
    def scored(self) -> Sequence[Row]:
        """The rows that carry a score."""
        return self._rows.scored

    @property
    def skipped(self) -> Sequence[Row]:
        """The rows that do not."""
        return self._rows.skipped

    def ranked(self) -> Sequence[Row]:
        """The rows that carry a score, most like a member first.

        By the first inferrer's score, or by mean similarity where there is no inferrer; pictures
        without that score last; ties by content hash, then by path, so that the order is the same
        in every run.
        """
        return self._rows.ranked(self._first_inferrer)

    def places(self) -> Sequence[Place]:
        """The ranking of different pictures: files with the same bytes take one place."""
        return self._rows.places(self._first_inferrer)

    @property
    def _first_inferrer(self) -> str | None:
        return self.run.inferrers[0].name if self.run.inferrers else None

    def skip_reasons(self) -> dict[str, int]:
        """How many files were skipped for each reason, the most frequent first.

        The reason is the part of `Row.error` before its colon.
        """
        reasons = self._rows.tally.skip_reasons
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def n_predicted(self, inferrer: str) -> int:
        """How many images an inferrer reads as members."""
        return self._rows.tally.predictions[inferrer, "member"]

    def n_scored(self, inferrer: str) -> int:
        """How many images have a score by an inferrer: all but those whose caption is missing."""
        predictions = self._rows.tally.predictions
        return predictions[inferrer, "member"] + predictions[inferrer, "non-member"]

    @property
    def uncalibrated(self) -> list[str]:
        """Names of the inferrers that have no calibration."""
        calibrated = {facts.inferrer for facts in self.calibrations}
        return [facts.name for facts in self.run.inferrers if facts.name not in calibrated]

    def n_verdicts(self, inferrer: str) -> dict[Verdict, int]:
        """How many images of each verdict, for an inferrer that has a calibration."""
        verdicts: tuple[Verdict, ...] = get_args(Verdict)
        return {verdict: self._rows.tally.verdicts[inferrer, verdict] for verdict in verdicts}

    def n_picked(self, inferrer: str) -> int:
        """How many images are picked out of all at the FDR."""
        return self._rows.tally.picked[inferrer]

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
