"""Paths → an `Audit`: every stage joined, with decoding ahead of the encoder and a store behind.

One thread finds, reads and hashes files, asks the store, and hands what is unknown to the
decoder's processes; it stays a bounded number of files ahead. The calling thread takes batches,
runs the encoder and the inferrers, and writes the store. Nothing is computed twice, and what was
computed survives whatever ends the run.
"""

from __future__ import annotations

import logging
import os
import platform
import queue
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit._version import __version__
from clipaudit.encoders.base import OUTPUTS, EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import InferrerError, InputError, UsageError
from clipaudit.features.embedder import usable
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.observers import Observer, load_references, observers
from clipaudit.features.optional_store import open_store
from clipaudit.features.signals import Embeddings, Signals, average, measure
from clipaudit.features.stored_signals import StoredSignals, stack_signals
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers.base import Features, Inferrer, Reads
from clipaudit.inferrers.library import find, shipped_for
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.results.audit import Audit, Finding, InferrerFacts, ReferenceSignals, Row, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from clipaudit.encoders.base import Encoder, Output
    from clipaudit.features.signals import Similarity
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pictures.finding import FoundFile
    from clipaudit.pictures.preparing import Prepared

logger = logging.getLogger(__name__)

_BATCHES_AHEAD = 3
_ENOUGH_TO_PLAN = 1000
_PATIENCE_S = 5.0
"""How long to wait for a thread that may hang in a slow file system."""

_LIBRARIES = ("numpy", "PIL", "torch", "torchvision", "open_clip", "timm", "onnxruntime")


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """What to score with.

    Attributes:
        encoder: Spec of the target encoder.
        options: How to load it, and the references.
        references: Specs of encoders that did not see the pictures. They see the very same views,
            for inferrers that read both; of several, the mean of their signals is read.
        inferrers: Names or folders; empty takes every shipped one that fits.
        every_data_set: Of shipped inferrers that fit, whether to take those of every shadow data
            set, and not of the best alone.
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
    references: tuple[str, ...] = ()
    inferrers: tuple[str, ...] = ()
    every_data_set: bool = False
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
    known: KnownPictures | None = None,
) -> Audit:
    """Score every picture under the given paths against an encoder.

    Each file ends in a row, in the order in which it was found. Ctrl-C ends the run early and
    gives the rows that are done, with `run.interrupted` set.

    Raises:
        ClipAuditError: The encoder or an inferrer cannot be loaded or does not fit, no path leads
            to a file, or, where `strict`, a file cannot be scored. Never for a bad file otherwise.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    paths = list(paths)
    n_files_ahead = _look_ahead(paths, config)
    named = _named_inferrers(config)
    encoder = load_encoder(
        config.encoder,
        replace(config.options, n_views_ahead=n_files_ahead * (config.n_views + 1)),
    )
    references = load_references(config.references, config.options, encoder.info)
    inferrers = _fitting_inferrers(config, named, encoder.info.output)
    config = replace(
        config,
        batch_size=config.batch_size or (4 if encoder.device.type == "cpu" else 64),
        workers=min(8, os.cpu_count() or 1) if config.workers is None else config.workers,
    )
    with ExitStack() as open_things:
        if known is None:
            store = open_things.enter_context(open_store(is_wanted=config.use_store))
            known = KnownPictures(config.limits, config.workers or 0, store)
        run = _Scoring(paths, config, (encoder, *references), inferrers, known, on_progress)
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
            references=tuple(asdict(reference.info) for reference in references),
        ),
        rows=tuple(run.rows),
    )


def _named_inferrers(config: ScoreConfig) -> tuple[Inferrer, ...]:
    """The inferrers that were asked for, before an encoder is loaded that they do not fit.

    Raises:
        InferrerError: One is missing or reads something else; where none is named, no shipped
            one reads this.
    """
    if not config.inferrers:
        outputs = (config.options.output,) if config.options.output else OUTPUTS
        for output in outputs:
            with suppress(InferrerError):
                _shipped(config, output)
                return ()
        _shipped(config, outputs[0])
    named = {name: find(name) for name in config.inferrers}
    for inferrer in named.values():
        _check(inferrer, config, inferrer.card.reads.output)
    often = Counter(inferrer.card.name for inferrer in named.values())
    return tuple(
        # Two of one name, such as those of two training runs, go by their folders.
        Inferrer(replace(inferrer.card, name=name), inferrer.rule)
        if often[inferrer.card.name] > 1
        else inferrer
        for name, inferrer in named.items()
    )


def _fitting_inferrers(
    config: ScoreConfig, named: tuple[Inferrer, ...], output: Output
) -> tuple[Inferrer, ...]:
    """The named inferrers, or every shipped one that fits.

    Raises:
        InferrerError: One does not read this output, or none does.
    """
    for inferrer in named:
        _check(inferrer, config, output)
    return named or _shipped(config, output)


def _shipped(config: ScoreConfig, output: Output) -> tuple[Inferrer, ...]:
    reads = Reads(
        config.similarity or "cosine",
        config.n_views,
        config.recipe,
        output,
        has_reference=bool(config.references),
    )
    return tuple(shipped_for(reads, every_data_set=config.every_data_set))


def _check(inferrer: Inferrer, config: ScoreConfig, output: Output) -> None:
    inferrer.check(_made_for(inferrer, config, output))


def _made_for(inferrer: Inferrer, config: ScoreConfig, output: Output) -> Reads:
    """What a run makes of the features that an inferrer reads."""
    card = inferrer.card
    return Reads.by(
        card.kind,
        config.similarity or card.reads.similarity,
        config.n_views,
        config.recipe,
        output,
        has_reference=card.reads.has_reference and bool(config.references),
    )


def _found(paths: Sequence[AnyPath], config: ScoreConfig) -> Iterator[FoundFile]:
    found = find_images(paths, include_hidden=config.include_hidden)
    return islice(found, config.limit)


def _look_ahead(paths: Sequence[AnyPath], config: ScoreConfig) -> int:
    """How many files there are, as far as that is worth counting.

    Raises:
        InputError: None of them can be a picture, so an encoder need not be loaded, let alone
            be downloaded.
    """
    ahead = list(islice(_found(paths, config), _ENOUGH_TO_PLAN))
    if len(ahead) < _ENOUGH_TO_PLAN and all(found.problem is not None for found in ahead):
        reasons = [
            f"{found.path!r}: {found.problem.explanation}" for found in ahead if found.problem
        ]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise InputError(
            "no picture to score: " + ("; ".join(reasons[:3]) or "no paths were given") + more,
            "Name pictures, or folders that hold some.",
        )
    return len(ahead)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One file on its way: a problem, a copy of another, or a picture.

    Attributes:
        path: As it was found.
        sha256: Of its bytes, where they could be read.
        problem: Why it was not even tried to decode it.
        copy_of: Position of an earlier file with the same bytes.
        stored: Of a picture, its signals by the position of the observer that they are known of.
        is_known: Whether all of its signals are.
        picture: Of one, what is wanted of it, as soon as it is decoded.
    """

    path: str
    sha256: str | None = None
    problem: BadImage | None = None
    copy_of: int | None = None
    stored: dict[int, StoredSignals] = field(default_factory=dict)
    is_known: bool = False
    picture: Future[Prepared] | None = None


class _Scoring:
    """One run: the thread that reads ahead, and the loop that takes batches."""

    def __init__(
        self,
        paths: Sequence[AnyPath],
        config: ScoreConfig,
        encoders: Sequence[Encoder],
        inferrers: tuple[Inferrer, ...],
        known: KnownPictures,
        on_progress: Callable[[Progress], None],
    ) -> None:
        assert config.batch_size is not None
        assert config.workers is not None
        self._paths = paths
        self._config = config
        self._output = encoders[0].info.output
        self._inferrers = inferrers
        self._known_pictures = known
        self._store = known.store
        self._on_progress = on_progress
        self._observers = observers(encoders, config.recipe, config.n_views, config.seed)
        self._pool = DecoderPool(config.workers, config.limits)
        self._batch_size = config.batch_size
        self._queue: queue.Queue[_Item | BaseException | None] = queue.Queue(
            maxsize=_BATCHES_AHEAD * self._batch_size
        )
        self._stop = threading.Event()
        self._total: int | None = None
        self.shown: Similarity = config.similarity or (
            inferrers[0].card.reads.similarity if inferrers else "cosine"
        )
        self.rows: list[Row] = []
        self._was_known: list[bool] = []  # of each row, before this run
        self.n_from_store = 0
        self._n_skipped = 0

    def go(self) -> bool:
        """Score everything; True where the user stopped it."""
        threads = [
            threading.Thread(target=self._count, daemon=True, name="clipaudit-count"),
            threading.Thread(target=self._read_ahead, daemon=True, name="clipaudit-read"),
        ]
        try:
            with self._pool:
                for thread in threads:
                    thread.start()
                try:
                    for batch in self._batches():
                        self._finish(batch)
                finally:
                    self._stop.set()
        except KeyboardInterrupt:
            return True
        finally:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(timeout=_PATIENCE_S)
        return False

    # --- the threads that go ahead ---

    def _count(self) -> None:
        total = 0
        for _ in _found(self._paths, self._config):
            if self._stop.is_set():
                return
            total += 1
        self._total = total

    def _read_ahead(self) -> None:
        positions: dict[str, int] = {}
        try:
            for position, found in enumerate(_found(self._paths, self._config)):
                if not self._offer(self._prepare(found, position, positions)):
                    return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self._offer(error)

    def _prepare(self, found: FoundFile, position: int, positions: dict[str, int]) -> _Item:
        """What is known of a file; `positions` holds that of the first one with each content."""
        try:
            if found.problem is not None:
                raise found.problem
            data = read_file(found.path, self._config.limits)
        except BadImage as problem:
            return _Item(found.path, problem=problem)
        sha256 = content_id(data)
        first = positions.setdefault(sha256, position)
        if first != position:
            return _Item(found.path, sha256, copy_of=first)
        stored = self._known(sha256)
        frames = [
            observer.frame for who, observer in enumerate(self._observers) if who not in stored
        ]
        wanted = self._known_pictures.wanted(sha256, frames)
        picture = self._pool.submit(data, wanted) if wanted else None
        return _Item(found.path, sha256, stored=stored, is_known=not frames, picture=picture)

    def _known(self, sha256: str) -> dict[int, StoredSignals]:
        """The signals of a picture by the position of the observer."""
        known: dict[int, StoredSignals] = {}
        for who, observer in enumerate(self._observers):
            signals = self._store.get(observer.key, sha256)
            if signals is not None:
                known[who] = signals
        return known

    def _offer(self, item: _Item | BaseException | None) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

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
        items = {item.sha256: item for item in batch if item.sha256 and item.copy_of is None}
        decoded: dict[str, Prepared | None] = {}
        problems: dict[str, BadImage] = {}  # of files that could be read
        for one, item in items.items():
            try:
                decoded[one] = item.picture.result() if item.picture else None
            except BadImage as problem:
                if item.is_known:  # it could be decoded before
                    decoded[one] = None
                else:
                    problems[one] = problem
        pictures = {one: picture for one, picture in decoded.items() if picture}
        self._known_pictures.add(pictures)
        ids = list(decoded)
        seen: list[Callable[[Sequence[str]], Signals]] = []
        for who, observer in enumerate(self._observers):
            known = {one: items[one].stored[who] for one in ids if who in items[one].stored}
            fresh = {one: pictures[one] for one in ids if one not in known}
            signals = self._compute(observer, fresh)
            usable_ids = {*known, *(signals.image_ids if signals else ())}
            for one in ids:
                if one not in usable_ids:
                    problems[one] = _no_embedding(observer, is_target=who == 0)
            ids = [one for one in ids if one in usable_ids]
            seen.append(partial(_stacked, known, signals))
        scored: dict[str, Row] = {}
        if ids:
            target, *references = (of(ids) for of in seen)
            notes = {one: _notes(items[one], decoded[one]) for one in ids}
            scored = self._score(target, average(references) if references else None, notes)
        for item in batch:
            self._add_row(item, scored, problems)
        self._on_progress(Progress(len(self.rows), self._total, self._n_skipped, self.n_from_store))

    def _compute(self, observer: Observer, fresh: dict[str, Prepared]) -> Signals | None:
        """Signals of new pictures, those that can be compared; they are in the store then."""
        if not fresh:
            return None
        images = np.stack(
            [picture.images[observer.frame].transpose(2, 0, 1) for picture in fresh.values()]
        )
        embeddings = observer.embed(list(fresh), images)
        fine = usable(embeddings)
        if not fine.any():
            return None
        kept = tuple(one for one, is_fine in zip(fresh, fine, strict=True) if is_fine)
        signals = measure(
            Embeddings(kept, views=embeddings.views[fine], plain=embeddings.plain[fine])
        )
        self._store.put(observer.key, signals, [fresh[one].notes for one in kept])
        return signals

    def _score(
        self, signals: Signals, reference: Signals | None, notes: dict[str, tuple[str, ...]]
    ) -> dict[str, Row]:
        """A row for each picture, by its content and without a path."""
        means = signals.pairs(self.shown).astype(np.float64).mean(axis=1)
        columns = [self._scores(inferrer, signals, reference) for inferrer in self._inferrers]
        beside = self._beside(reference) if reference else [None] * len(means)
        return {
            one: Row(
                path="",
                sha256=one,
                status="ok",
                mean_similarity=float(means[position]),
                findings=tuple(
                    Finding(
                        inferrer.card.name,
                        column[position],
                        "member" if column[position] >= inferrer.card.threshold else "non-member",
                    )
                    for inferrer, column in zip(self._inferrers, columns, strict=True)
                ),
                notes=notes[one],
                reference=beside[position],
            )
            for position, one in enumerate(signals.image_ids)
        }

    def _beside(self, reference: Signals) -> list[ReferenceSignals | None]:
        means = reference.pairs(self.shown).astype(np.float64).mean(axis=1)
        return [
            ReferenceSignals(float(mean), float(norm))
            for mean, norm in zip(means, reference.plain_norm, strict=True)
        ]

    def _scores(
        self, inferrer: Inferrer, signals: Signals, reference: Signals | None
    ) -> list[float]:
        """Picture by picture, because matrix products round by the number of their rows.

        So a picture has the same score, to the bit, from the store and in any company there.
        """
        made_by = _made_for(inferrer, self._config, self._output)
        values = Features.of(signals, made_by, reference).values
        return [
            float(inferrer.score(Features((one,), values[position, None], made_by))[0])
            for position, one in enumerate(signals.image_ids)
        ]

    def _add_row(self, item: _Item, scored: dict[str, Row], problems: dict[str, BadImage]) -> None:
        is_known = item.is_known
        if item.copy_of is not None:
            row = replace(self.rows[item.copy_of], path=item.path)
            is_known = self._was_known[item.copy_of]
        elif item.sha256 in scored:
            row = replace(scored[item.sha256], path=item.path)
        else:
            problem = problems[item.sha256] if item.sha256 else item.problem
            row = Row(item.path, item.sha256, status="skipped", error=str(problem))
        if row.status == "skipped":
            if self._config.strict:
                raise InputError(
                    f"{item.path!r} cannot be scored: {row.error}",
                    "Leave out --strict to skip such files; each is listed with its reason.",
                )
            self._n_skipped += 1
        self.rows.append(row)
        self._was_known.append(is_known)
        self.n_from_store += is_known


def _stacked(known: dict[str, StoredSignals], fresh: Signals | None, ids: Sequence[str]) -> Signals:
    return stack_signals(ids, known, [fresh] if fresh else [])


def _notes(item: _Item, decoded: Prepared | None) -> tuple[str, ...]:
    """What decoding had to do: the same at any size, and kept beside the signals."""
    return decoded.notes if decoded else item.stored[0].notes


def _no_embedding(observer: Observer, *, is_target: bool) -> BadImage:
    who = "the encoder" if is_target else f"the reference {observer.encoder.info.spec}"
    return BadImage("no_embedding", f"{who}'s embedding of it is zero, constant or not finite")


def _facts(inferrer: Inferrer) -> InferrerFacts:
    card = inferrer.card
    accuracy, fpr = card.evidence.accuracy, card.evidence.fpr
    return InferrerFacts(
        name=card.name,
        kind=card.kind,
        threshold=card.threshold,
        trained_on=str(card.shadow),
        evidence=(f"on {card.judged_on}: accuracy {accuracy}; non-members called members {fpr}"),
        sha256=card.weights_sha256,
        similarity=card.reads.similarity,
        reads_reference=card.reads.has_reference,
    )


def _versions() -> dict[str, str]:
    """Of this package, of the system, and of every library that may have touched a number."""
    libraries = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    return {
        "clipaudit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: str(module.__version__) for name, module in libraries.items()},
    }


def _plain(config: ScoreConfig) -> dict[str, Any]:
    """The resolved options as plain values, without the command."""
    plain = asdict(config)
    plain.pop("command")
    for name in ("references", "every_data_set"):
        if not plain[name]:
            plain.pop(name)
    return plain
