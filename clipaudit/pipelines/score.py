"""Paths → rows, and the facts of the run: every stage joined, a batch at a time.

A thread reads files ahead and processes decode them (`read_ahead`); the calling thread takes
batches, has them embedded, kept in the store and scored (`outcomes`), and hands each row to a
sink. Nothing is computed twice, and what was computed survives whatever ends the run.

On a Ray cluster (`cluster`) the same happens in workers, to a block of files at a time; here files
are found, and the rows are made of what comes back.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from clipaudit._version import __version__
from clipaudit.encoders.remembered import open_encoder
from clipaudit.errors import EncoderError, InputError
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.observers import observers, open_references
from clipaudit.features.optional_store import open_store
from clipaudit.overflow import Overflow
from clipaudit.pictures.addresses import name_address
from clipaudit.pipelines import cluster
from clipaudit.pipelines.blocks import in_blocks
from clipaudit.pipelines.caption_plan import CaptionPlan
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.inferrer_choice import choose, planned_views
from clipaudit.pipelines.outcomes import Outcome, row_of, score_batch
from clipaudit.pipelines.read_ahead import ReadAhead, count_ahead, find_files
from clipaudit.pipelines.reference_choice import choose_references
from clipaudit.pipelines.run_facts import run_facts
from clipaudit.results.audit import Audit
from clipaudit.results.rows import RowKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.features.observers import Observer
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.inferrers.base import Inferrer
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pictures.finding import FoundFile
    from clipaudit.pictures.preparing import PictureFacts, Prepared
    from clipaudit.pipelines.inferrer_choice import Choice
    from clipaudit.pipelines.read_ahead import ReadFile
    from clipaudit.results.audit import Run
    from clipaudit.results.rows import Row

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        done: Files that ended in a row.
        total: Files in all; None while they are still being counted, and where some are remote.
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
    rows = RowKeeper()
    try:
        run = score_into(rows.add, paths, config, on_progress, known, on_decoded)
    except StoppedError as stop:
        stop.audit = Audit(stop.run, rows.rows())
        raise
    return Audit(run, rows.rows())


def score_into(
    sink: Callable[[Row], None],
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    known: KnownPictures | None = None,
    on_decoded: Callable[[Row, Prepared], None] = lambda row, picture: None,
) -> Run:
    """Score as `score` does, and hand each row over as soon as it is there.

    No row is kept: of a picture, only what a copy of it would need, and that on
    disk where there are many.

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
    engine = _engine(config)
    outcomes: Overflow[Outcome] = Overflow()
    infos: dict[EncoderInfo, None] = {}
    n_done = n_skipped = n_from_store = 0
    interrupted = False
    failure: EncoderError | None = None
    with open_store(is_wanted=config.use_store and known is None) as store:
        known = known or KnownPictures(config.limits, config.n_workers, store)
        plan = _plan(paths, config, known.store)
        config, inferrers, captions = plan.config, plan.inferrers, plan.captions
        observing = captions.attach(plan.observers, inferrers, config, known.store)
        try:
            with closing(engine(paths, plan, observing, known)) as batches:
                for batch, made, n_files, info in batches:
                    infos[info] = None
                    new = _add_new(made, outcomes)
                    captions.count(new.values())
                    for file in batch:
                        key = file.sha256
                        outcome = (new.get(key) or outcomes[key]) if key else None
                        row = row_of(file, outcome, inferrers)
                        if config.strict:
                            _require_scored(row)
                        sink(row)
                        _hand_over_picture(file, row, on_decoded)
                        n_done += 1
                        n_skipped += row.status == "skipped"
                        n_from_store += file.is_known
                    on_progress(Progress(n_done, n_files, n_skipped, n_from_store))
        except KeyboardInterrupt:
            interrupted = True
        except EncoderError as error:
            failure = error
    seconds = time.perf_counter() - clock
    facts = _ran_on(plan.run_facts(started, seconds), [*infos])
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

    @property
    def identity(self) -> dict[str, object]:
        """All that a score depends on, and the version of what computes it."""
        infos = [observer.encoder.info for observer in self.observers]
        return {
            "clipaudit": __version__,
            "the encoder": infos[0].fingerprint,
            "the reference": [info.fingerprint for info in infos[1:]],
            "the recipe": self.config.recipe,
            "the inferrer": [inferrer.card.weights_sha256 for inferrer in self.inferrers],
        }

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
    usual = _usual_batch(encoder.info)
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


def _usual_batch(info: EncoderInfo) -> int:
    """Pictures a pass: few on a CPU; on a GPU as many pixels as 64 pictures of 224 have.

    A GPU that cannot hold so many takes a part of them at a time.
    """
    if info.device.startswith("cpu"):
        return 4
    return min(1024, max(1, round(64 * (224 / info.input.size_px) ** 2)))


_Scored = tuple[list["ReadFile"], dict[str, "Outcome"], int | None, "EncoderInfo"]
"""Files that were read, what came of those that are new, how many there are, and who saw them."""


def _engine(config: ScoreConfig) -> Callable[..., Generator[_Scored, None, None]]:
    if config.engine == "local":
        return _here
    cluster.require_ray()
    return partial(_on_cluster, config)


def _here(
    paths: Sequence[AnyPath],
    plan: _Plan,
    observing: Sequence[Observer],
    known: KnownPictures,
    files: Sequence[FoundFile] | None = None,
) -> Generator[_Scored, None, None]:
    """Score a batch at a time, in this process; all files under the paths, or those given."""
    with ReadAhead(paths, plan.config, observing, known, plan.captions.source, files) as ahead:
        for batch in ahead.batches(plan.batch_size):
            outcomes = score_batch(batch, observing, plan.inferrers, plan.config, known)
            yield batch, outcomes, ahead.n_files, observing[0].encoder.info


def _on_cluster(
    config: ScoreConfig,
    paths: Sequence[AnyPath],
    plan: _Plan,
    observing: Sequence[Observer],
    known: KnownPictures,
) -> Generator[_Scored, None, None]:
    """Score a block of files at a time, on a Ray cluster; no picture comes back.

    A picture that is in two blocks is looked at in both, and the caller takes the first outcome.
    """
    n_files: int | None = None

    def blocks() -> Iterator[list[FoundFile]]:
        nonlocal n_files
        n_found = 0
        for block in in_blocks(find_files(paths, config, logger.warning)):
            n_found += len(block)
            yield block
        n_files = n_found

    open_stage = partial(_BlockScorer, paths, config, plan.identity)
    with cluster.connect(config.ray_address):
        takes_gpus = not config.device.startswith("cpu")
        for scored in cluster.in_order(blocks(), open_stage, takes_gpus=takes_gpus):
            known.add_facts(scored.facts)
            for file in scored.files:
                if file.sha256 and not file.is_copy:
                    known.add_captions(file.sha256, file.captions)
            if plan.captions.meter:
                plan.captions.meter.n_cut += scored.n_cut
            yield scored.files, scored.outcomes, n_files, scored.encoder


@dataclass(frozen=True, slots=True, eq=False)
class _ScoredBlock:
    """What a worker sends back.

    Attributes:
        files: The files of the block, without pictures and signals.
        outcomes: What came of each different picture.
        facts: Facts of those pictures.
        n_cut: Captions that were longer than the target's context.
        encoder: The target, as it runs there.
    """

    files: list[ReadFile]
    outcomes: dict[str, Outcome]
    facts: dict[str, PictureFacts]
    n_cut: int
    encoder: EncoderInfo


class _BlockScorer:
    """Scores blocks of files in a worker of a cluster, with encoders and a store of its own.

    Args:
        paths: What was named; captions are looked for there.
        config: What to score with, as it was asked for.
        identity: That of the run, which this machine's encoders and inferrers must have.
    """

    def __init__(
        self, paths: Sequence[AnyPath], config: ScoreConfig, identity: dict[str, object]
    ) -> None:
        if config.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        for path in paths:  # the files that come are called without their secrets
            name_address(os.fsencode(path))
        running = ExitStack()  # until the worker ends
        self._store = running.enter_context(open_store(is_wanted=config.use_store))
        self._paths = paths
        self._plan = _plan(paths, config, self._store)
        for what, value in self._plan.identity.items():
            if value != identity[what]:
                raise EncoderError(
                    f"{what} on a node of the cluster is not that of this machine",
                    "Put the same files and the same version of clipaudit on all machines.",
                )
        self._observing = self._plan.captions.attach(
            self._plan.observers, self._plan.inferrers, self._plan.config, self._store
        )

    def __call__(self, block: Sequence[FoundFile]) -> _ScoredBlock:
        config, meter = self._plan.config, self._plan.captions.meter
        known = KnownPictures(config.limits, config.n_workers, self._store)
        files: list[ReadFile] = []
        outcomes: dict[str, Outcome] = {}
        n_cut = meter.n_cut if meter else 0
        for batch, made, *_ in _here(self._paths, self._plan, self._observing, known, block):
            files += [replace(f, stored={}, stored_captions={}, picture=None) for f in batch]
            outcomes |= made
        _require_there(block, files)
        n_cut = meter.n_cut - n_cut if meter else 0
        info = self._observing[0].encoder.info
        return _ScoredBlock(files, outcomes, known.get([*outcomes]), n_cut, info)


def _require_there(block: Sequence[FoundFile], files: Sequence[ReadFile]) -> None:
    """That a node sees the files that were found; a single one may have gone away since.

    Raises:
        EncoderError: It sees none of them.
    """
    found = [file for file, known in zip(files, block, strict=True) if known.problem is None]
    if found and all(file.problem and file.problem.reason == "missing" for file in found):
        raise EncoderError(
            f"{found[0].path!r} and all files that were found beside it are not there",
            "Every machine must see the pictures at the same paths, such as on a shared disk.",
        )


def _ran_on(facts: Run, infos: Sequence[EncoderInfo]) -> Run:
    """The facts with what ran the encoder: a cluster's machines may be of several kinds."""
    if not infos:
        return facts
    backends = ", ".join(dict.fromkeys(info.backend for info in infos))
    devices = ", ".join(dict.fromkeys(info.device for info in infos))
    return replace(facts, encoder=replace(facts.encoder, backend=backends, device=devices))


def _add_new(made: Mapping[str, Outcome], outcomes: Overflow[Outcome]) -> dict[str, Outcome]:
    """Add what came of pictures that were not met before, and give that alone."""
    new = {key: outcome for key, outcome in made.items() if key not in outcomes}
    for key, outcome in new.items():
        outcomes[key] = outcome
    return new


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
