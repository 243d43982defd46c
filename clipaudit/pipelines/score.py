"""Paths → an `Audit`: every stage joined, with decoding ahead of the encoder and a store behind.

One thread finds, reads and hashes files, asks the store, and hands what is unknown to the
decoder's processes; it stays a bounded number of files ahead. The calling thread takes batches,
runs the encoder and the inferrers, and writes the store. Nothing is computed twice, and what was
computed survives whatever ends the run.
"""

from __future__ import annotations

import logging
import platform
import queue
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit._version import __version__
from clipaudit.decoding import DecoderPool
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import InputError, UsageError
from clipaudit.images import BadImage, Limits, content_id, find_images, read_file
from clipaudit.inferrers.base import Features, Inferrer, Reads
from clipaudit.inferrers.library import find, shipped_for
from clipaudit.pipelines.embed import Embedder, usable
from clipaudit.similarity import Signals, measure
from clipaudit.store import (
    FeatureKey,
    FeatureStore,
    StoredSignals,
    StoreUnavailable,
    stack_signals,
)
from clipaudit.verdicts import Audit, Finding, InferrerFacts, Row, Run
from clipaudit.views import ENCODERMI, RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from clipaudit.encoders.base import Encoder
    from clipaudit.images import AnyPath, FoundFile, Prepared
    from clipaudit.similarity import Similarity

logger = logging.getLogger(__name__)

_BATCHES_AHEAD = 3
_ENOUGH_TO_PLAN = 1000
_NO_EMBEDDING = "the encoder's embedding of it is zero, constant or not finite"


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """What to score with.

    Attributes:
        encoder: Spec of the target encoder.
        options: How to load it.
        inferrers: Names or folders; empty takes every shipped one that fits.
        n_views: Views an image.
        similarity: Which one the inferrers must read; None takes what each of them reads.
        recipe: Of the views, by name and version.
        seed: Of the views.
        batch_size: Images a forward pass; None takes what suits the device.
        workers: Processes that decode; None takes one a core, eight at most.
        limit: Stop after so many files.
        use_store: Keep features, and take those that are known.
        strict: Stop at the first file that cannot be scored.
        include_hidden: Look at hidden files in folders too.
        limits: How much one file may cost.
        command: Goes into the run's facts.
    """

    encoder: str = "ViT-B-32/openai"
    options: EncoderOptions = EncoderOptions()
    inferrers: tuple[str, ...] = ()
    n_views: int = 10
    similarity: Similarity | None = None
    recipe: str = ENCODERMI.id
    seed: int = 0
    batch_size: int | None = None
    workers: int | None = None
    limit: int | None = None
    use_store: bool = True
    strict: bool = False
    include_hidden: bool = False
    limits: Limits = Limits()
    command: str = ""

    def __post_init__(self) -> None:
        if self.n_views < 2:
            raise UsageError(f"{self.n_views} views make no pair", "Pass --views 2 or more.")
        for option, value, least in (
            ("--batch-size", self.batch_size, 1),
            ("--workers", self.workers, 0),
            ("--limit", self.limit, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"{option} {value} is too low", f"Pass {least} or more.")


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


def score(
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Score every picture under the given paths against an encoder.

    Each file ends in a row, in the order in which it was found. Ctrl-C ends the run early and
    gives the rows that are done, with `run.interrupted` set.

    Raises:
        ClipAuditError: The encoder or an inferrer cannot be loaded or does not fit, or, where
            `strict`, a file cannot be scored. Never for a bad file otherwise.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    paths = list(paths)
    ahead = islice(find_images(paths, include_hidden=config.include_hidden), _ENOUGH_TO_PLAN)
    n_views_ahead = min(sum(1 for _ in ahead), config.limit or _ENOUGH_TO_PLAN) * (
        config.n_views + 1
    )
    encoder = load_encoder(config.encoder, replace(config.options, n_views_ahead=n_views_ahead))
    inferrers = choose_inferrers(config, encoder)

    with ExitStack() as open_things:
        store = _open_store(open_things) if config.use_store else None
        run = _Scoring(paths, config, encoder, inferrers, store, on_progress)
        interrupted = run.go()
    return Audit(
        run=Run(
            command=config.command,
            config=_plain(config),
            versions=_versions(),
            encoder=asdict(encoder.info),
            recipe=config.recipe,
            n_views=config.n_views,
            similarity=run.shown,
            seed=config.seed,
            inferrers=tuple(_facts(inferrer) for inferrer in inferrers),
            started_at=started.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - clock,
            n_from_store=run.n_from_store,
            interrupted=interrupted,
        ),
        rows=tuple(row for _, row in sorted(run.rows.items())),
    )


def choose_inferrers(config: ScoreConfig, encoder: Encoder) -> tuple[Inferrer, ...]:
    """The inferrers that were asked for, or every shipped one that fits.

    Raises:
        InferrerError: One is missing or does not fit, or none fits.
    """
    output = encoder.info.output
    if not config.inferrers:
        similarity = config.similarity or "cosine"
        return tuple(shipped_for(Reads(similarity, config.n_views, config.recipe, output)))
    chosen = tuple(find(name) for name in dict.fromkeys(config.inferrers))
    for inferrer in chosen:
        similarity = config.similarity or inferrer.card.reads.similarity
        inferrer.check(Reads(similarity, config.n_views, config.recipe, output))
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One file on its way: exactly one of `problem`, `stored` and `picture` is there."""

    index: int
    path: str
    sha256: str | None = None
    problem: BadImage | None = None
    stored: StoredSignals | None = None
    picture: Future[Prepared] | None = None


class _Scoring:
    """One run: the thread that reads ahead, and the loop that takes batches."""

    def __init__(
        self,
        paths: Sequence[AnyPath],
        config: ScoreConfig,
        encoder: Encoder,
        inferrers: tuple[Inferrer, ...],
        store: FeatureStore | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._paths = paths
        self._config = config
        self._encoder = encoder
        self._inferrers = inferrers
        self._store = store
        self._on_progress = on_progress
        self._key = FeatureKey(
            encoder=encoder.info.fingerprint,
            recipe=config.recipe,
            n_views=config.n_views,
            seed=config.seed,
            encoder_name=encoder.info.spec,
        )
        self._embed = Embedder(encoder, RECIPES[config.recipe], config.n_views, config.seed)
        self._batch_size = config.batch_size or (4 if encoder.device.type == "cpu" else 64)
        self._queue: queue.Queue[_Item | BaseException | None] = queue.Queue(
            maxsize=_BATCHES_AHEAD * self._batch_size
        )
        self._stop = threading.Event()
        self._total: int | None = None
        self.shown: Similarity = config.similarity or (
            inferrers[0].card.reads.similarity if inferrers else "cosine"
        )
        self.rows: dict[int, Row] = {}
        self.n_from_store = 0
        self._n_skipped = 0

    def go(self) -> bool:
        """Score everything; True where the user stopped it."""
        size = self._encoder.info.input.size_px
        workers = self._config.workers
        pool = DecoderPool(
            _default_workers() if workers is None else workers,
            size,
            self._encoder.info.input.interpolation,
            self._config.limits,
        )
        counting = threading.Thread(target=self._count, daemon=True, name="count files")
        reading = threading.Thread(
            target=self._read_ahead, args=(pool,), daemon=True, name="read ahead"
        )
        try:
            with pool:
                counting.start()
                reading.start()
                try:
                    for batch in self._batches():
                        self._finish(batch)
                finally:
                    self._stop.set()
        except KeyboardInterrupt:
            return True
        finally:
            self._stop.set()
            self._drain()
            if reading.ident is not None:
                reading.join(timeout=5)
        return False

    # --- the thread that reads ahead ---

    def _found(self) -> Iterator[FoundFile]:
        found = find_images(self._paths, include_hidden=self._config.include_hidden)
        return islice(found, self._config.limit)

    def _count(self) -> None:
        total = 0
        for _ in self._found():
            if self._stop.is_set():
                return
            total += 1
        self._total = total

    def _read_ahead(self, pool: DecoderPool) -> None:
        try:
            for index, found in enumerate(self._found()):
                if not self._offer(self._prepare(index, found, pool)):
                    return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self._offer(error)

    def _prepare(self, index: int, found: FoundFile, pool: DecoderPool) -> _Item:
        if found.problem is not None:
            return _Item(index, found.path, problem=found.problem)
        try:
            data = read_file(found.path, self._config.limits)
        except BadImage as problem:
            return _Item(index, found.path, problem=problem)
        sha256 = content_id(data)
        stored = self._known(sha256)
        if stored is not None:
            return _Item(index, found.path, sha256, stored=stored)
        return _Item(index, found.path, sha256, picture=pool.submit(data))

    def _known(self, sha256: str) -> StoredSignals | None:
        if self._store is None:
            return None
        try:
            return self._store.get_many(self._key, [sha256]).get(sha256)
        except StoreUnavailable as error:
            self._lose_store(error)
            return None

    def _offer(self, item: _Item | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _drain(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    # --- the calling thread ---

    def _batches(self) -> Iterator[list[_Item]]:
        """Files in the order found, cut where a batch has enough that must be embedded."""
        batch: list[_Item] = []
        n_fresh = 0
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                batch.append(item)
                n_fresh += item.picture is not None
            if batch and (
                item is None or n_fresh >= self._batch_size or len(batch) >= 16 * self._batch_size
            ):
                yield batch
                batch, n_fresh = [], 0
            if item is None:
                return

    def _finish(self, batch: list[_Item]) -> None:
        """Embed what is new, keep it, score all, and add the rows."""
        known: dict[str, StoredSignals] = {}
        fresh: dict[str, Prepared] = {}
        waiting: list[_Item] = []
        for item in batch:
            try:
                if item.problem is not None:
                    raise item.problem
                assert item.sha256 is not None
                if item.stored is not None:
                    known[item.sha256] = item.stored
                    self.n_from_store += 1
                elif item.picture is not None:
                    fresh[item.sha256] = item.picture.result()
                waiting.append(item)
            except BadImage as problem:
                self._skip(item, problem.reason, problem.explanation)
        signals, notes = self._signals(fresh)
        notes |= {sha256: stored.notes for sha256, stored in known.items()}
        self._add_rows(waiting, known, signals, notes)
        self._on_progress(Progress(len(self.rows), self._total, self._n_skipped, self.n_from_store))

    def _signals(
        self, fresh: dict[str, Prepared]
    ) -> tuple[Signals | None, dict[str, tuple[str, ...]]]:
        """Signals of new pictures, those that can be compared; they are in the store then."""
        notes = {sha256: picture.notes for sha256, picture in fresh.items()}
        if not fresh:
            return None, notes
        ids = list(fresh)
        images = np.stack([picture.image.transpose(2, 0, 1) for picture in fresh.values()])
        embeddings = self._embed(ids, images)
        fine = usable(embeddings)
        if not fine.any():
            return None, notes
        kept = tuple(np.array(ids)[fine].tolist())
        signals = measure(
            replace(
                embeddings,
                image_ids=kept,
                views=embeddings.views[fine],
                plain=embeddings.plain[fine],
            )
        )
        if self._store is not None:
            try:
                self._store.put_many(self._key, signals, [notes[one] for one in kept])
            except StoreUnavailable as error:
                self._lose_store(error)
        return signals, notes

    def _add_rows(
        self,
        items: list[_Item],
        known: dict[str, StoredSignals],
        signals: Signals | None,
        notes: dict[str, tuple[str, ...]],
    ) -> None:
        computed = set(signals.image_ids) if signals is not None else set()
        scorable: list[tuple[_Item, str]] = []
        for item in items:
            if item.sha256 in known or item.sha256 in computed:
                assert item.sha256 is not None
                scorable.append((item, item.sha256))
            else:
                self._skip(item, "no_embedding", _NO_EMBEDDING)
        if not scorable:
            return
        ids = [sha256 for _, sha256 in scorable]
        both = stack_signals(ids, known, [] if signals is None else [signals])
        means = both.pairs(self.shown).mean(axis=1, dtype=np.float64)
        scores = [self._score(inferrer, both) for inferrer in self._inferrers]
        for position, (item, sha256) in enumerate(scorable):
            self.rows[item.index] = Row(
                path=item.path,
                sha256=sha256,
                status="ok",
                mean_similarity=float(means[position]),
                findings=tuple(
                    Finding(
                        inferrer.card.name,
                        float(column[position]),
                        "member" if column[position] >= inferrer.card.threshold else "non-member",
                    )
                    for inferrer, column in zip(self._inferrers, scores, strict=True)
                ),
                notes=notes[sha256],
            )

    def _score(self, inferrer: Inferrer, signals: Signals) -> np.ndarray[Any, np.dtype[np.float64]]:
        reads = replace(inferrer.card.reads, output=self._encoder.info.output)
        return inferrer.score(Features.of(signals, reads))

    def _skip(self, item: _Item, reason: str, explanation: str) -> None:
        if self._config.strict:
            raise InputError(
                f"{item.path!r} cannot be scored: {explanation}",
                "Leave out --strict to skip such files; each is listed with its reason.",
            )
        self._n_skipped += 1
        self.rows[item.index] = Row(
            item.path, item.sha256, status="skipped", error=f"{reason}: {explanation}"
        )

    def _lose_store(self, error: StoreUnavailable) -> None:
        logger.warning("going on without the store: %s %s", error, error.hint)
        self._store = None


def _open_store(open_things: ExitStack) -> FeatureStore | None:
    try:
        return open_things.enter_context(FeatureStore())
    except StoreUnavailable as error:
        logger.warning("going on without the store: %s %s", error, error.hint)
        return None


def _default_workers() -> int:
    import os

    return min(8, os.cpu_count() or 1)


def _facts(inferrer: Inferrer) -> InferrerFacts:
    card = inferrer.card
    accuracy, fpr = card.evidence.accuracy, card.evidence.fpr
    return InferrerFacts(
        name=card.name,
        kind=card.kind,
        threshold=card.threshold,
        trained_on=str(card.shadow),
        evidence=(
            f"on its own shadow encoder, held-out pictures of {card.shadow.data}: accuracy "
            f"{accuracy}; non-members called members {fpr}"
        ),
        sha256=card.weights_sha256,
    )


def _versions() -> dict[str, str]:
    import PIL
    import torch

    return {
        "clipaudit": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "platform": platform.platform(),
    }


def _plain(config: ScoreConfig) -> dict[str, Any]:
    """The resolved options as plain values, without the command."""
    plain = asdict(config)
    plain.pop("command")
    return plain
