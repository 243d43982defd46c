"""Paths → rows, and the facts of the run: every stage joined, a batch at a time.

A thread reads files ahead and processes decode them (`read_ahead`); the calling thread takes
batches, has them embedded, kept in the store and scored (`outcomes`), and hands each row to a
sink. Nothing is computed twice, and what was computed survives whatever ends the run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipaudit.encoders.remembered import open_encoder
from clipaudit.errors import EncoderError, InputError
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.observers import observers, open_references
from clipaudit.features.optional_store import open_store
from clipaudit.pipelines.caption_plan import CaptionPlan
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.inferrer_choice import choose, planned_views
from clipaudit.pipelines.outcomes import Outcome, row_of, score_batch
from clipaudit.pipelines.read_ahead import ReadAhead, count_ahead
from clipaudit.pipelines.reference_choice import choose_references
from clipaudit.pipelines.run_facts import run_facts
from clipaudit.results.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipaudit.features.observers import Observer
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.inferrers.base import Inferrer
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pictures.preparing import Prepared
    from clipaudit.pipelines.inferrer_choice import Choice
    from clipaudit.pipelines.read_ahead import ReadFile
    from clipaudit.results.audit import Row, Run


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        done: Files that ended in a row.
        total: Files in all; None while they are still being counted.
        skipped: Files that could not be scored.
        from_store: Files whose features were known.
    """

    done: int
    total: int | None
    skipped: int
    from_store: int


class StoppedError(EncoderError):
    """An encoder failed in the middle of a run.

    Attributes:
        run: Facts of the run up to there.
        audit: What was done before, where rows were kept.
    """

    def __init__(self, error: EncoderError, run: Run) -> None:
        super().__init__(str(error), error.hint)
        self.run = replace(run, interrupted=True)
        self.audit = Audit(self.run, ())


def score(
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    known: KnownPictures | None = None,
    on_decoded: Callable[[Row, Prepared], None] = lambda row, picture: None,
) -> Audit:
    """Score every picture under the given paths against an encoder.

    Each file ends in a row, in the order in which it was found. Ctrl-C ends the run early and
    gives the rows that are done, with `run.interrupted` set.

    Raises:
        StoppedError: The encoder failed in the middle; it has the rows that are done.
        ClipAuditError: The encoder or an inferrer cannot be loaded or does not fit, no path leads
            to a file, or, where `strict`, a file cannot be scored. Never for a bad file otherwise.
    """
    rows: list[Row] = []
    try:
        run = score_into(rows.append, paths, config, on_progress, known, on_decoded)
    except StoppedError as stop:
        stop.audit = Audit(stop.run, tuple(rows))
        raise
    return Audit(run, tuple(rows))


def score_into(
    sink: Callable[[Row], None],
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    known: KnownPictures | None = None,
    on_decoded: Callable[[Row, Prepared], None] = lambda row, picture: None,
) -> Run:
    """Score as `score` does, and hand each row over as soon as it is there.

    No row is kept: of a picture, only what a copy of it would need.

    Args:
        sink: Takes the next row, in the calling thread; writes it to a file, for example.
        paths: Files and folders.
        config: What to score with.
        on_progress: Called after every batch, in the calling thread.
        known: Where facts of the pictures go, and what else is wanted of them; its store takes the
            signals too. None opens the user's store, where the configuration wants it.
        on_decoded: Called with the row of each picture that was decoded, for a report to show it.

    Raises:
        ClipAuditError: As `score`; the sink has the rows that were done before.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    paths = list(paths)
    outcomes: dict[str, Outcome] = {}
    n_done = n_skipped = n_from_store = 0
    interrupted = False
    failure: EncoderError | None = None
    with open_store(is_wanted=config.use_store and known is None) as store:
        known = known or KnownPictures(config.limits, config.n_workers, store)
        plan = _plan(paths, config, known.store)
        config, inferrers, captions = plan.config, plan.inferrers, plan.captions
        observing = captions.attach(plan.observers, inferrers, config, known.store)
        try:
            with ReadAhead(paths, config, observing, known, captions.source) as ahead:
                for batch in ahead.batches(plan.batch_size):
                    new = score_batch(batch, observing, inferrers, config, known)
                    captions.count(new.values())
                    outcomes |= new
                    for file in batch:
                        row = row_of(file, outcomes, inferrers)
                        if config.strict:
                            _require_scored(row)
                        sink(row)
                        _hand_over_picture(file, row, on_decoded)
                        n_done += 1
                        n_skipped += row.status == "skipped"
                        n_from_store += file.is_known
                    on_progress(Progress(n_done, ahead.n_files, n_skipped, n_from_store))
        except KeyboardInterrupt:
            interrupted = True
        except EncoderError as error:
            failure = error
    seconds = time.perf_counter() - clock
    facts = plan.run_facts(started, seconds)
    run = replace(facts, n_from_store=n_from_store, interrupted=interrupted)
    if failure is not None:
        raise StoppedError(failure, run) from failure
    return run


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What a run is made of once it is known what its encoders are.

    Attributes:
        config: With every default resolved.
        choice: What chose the inferrers and the recipe.
        inferrers: What to score with.
        n_views: Views of each picture.
        captions: Where captions come from.
        observers: The target, then the references.
        batch_size: Pictures a forward pass.
    """

    config: ScoreConfig
    choice: Choice
    inferrers: tuple[Inferrer, ...]
    n_views: int
    captions: CaptionPlan
    observers: tuple[Observer, ...]
    batch_size: int

    def run_facts(self, started: datetime, seconds: float) -> Run:
        """The facts of the run, once it is over."""
        encoders = [observer.encoder for observer in self.observers]
        return replace(
            run_facts(self.config, encoders, self.inferrers, self.n_views, started, seconds),
            recipe_reason=self.choice.reason if self.n_views else "",
            captions=self.captions.facts,
            notes=self.captions.notes,
        )


def _plan(paths: Sequence[AnyPath], config: ScoreConfig, store: OptionalStore) -> _Plan:
    n_ahead = count_ahead(paths, config)
    config = replace(config, references=choose_references(config.encoder, config.references))
    captions = CaptionPlan.of(config, paths)
    choice = choose(config, has_captions=captions.source is not None)
    config = replace(config, recipe=choice.recipe)
    n_views_ahead = n_ahead * (planned_views(config, choice.named) + 1)
    options = replace(config.options, n_views_ahead=n_views_ahead)
    encoder = open_encoder(config.encoder, options, store)
    references = open_references(config.references, config.options, encoder.info, store)
    inferrers = choice.inferrers(config, encoder.info.output)
    n_views = planned_views(config, inferrers)
    usual = 4 if encoder.info.device.startswith("cpu") else 64
    batch_size = config.batch_size or (usual if n_views else 4 * usual)
    return _Plan(
        replace(config, batch_size=batch_size, workers=config.n_workers),
        choice,
        inferrers,
        n_views,
        captions,
        observers((encoder, *references), config.recipe, n_views, config.seed),
        batch_size,
    )


def _hand_over_picture(
    file: ReadFile, row: Row, on_decoded: Callable[[Row, Prepared], None]
) -> None:
    if file.picture and row.status == "ok" and not file.picture.exception():
        on_decoded(row, file.picture.result())


def _require_scored(row: Row) -> None:
    if row.status == "skipped":
        raise InputError(
            f"{row.path!r} cannot be scored: {row.error}",
            "Leave out --strict to skip such files; each is listed with its reason.",
        )
