"""Paths → files that are read, hashed, looked up in the store and handed to the decoders.

A thread does so ahead of the encoder, by a bounded number of files; another counts all files.
"""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Self

from clipaudit.errors import InputError
from clipaudit.features.stored_captions import captions_id
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import draw_files, find_images
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.pictures.sharding import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from clipaudit.captions.base import CaptionSource
    from clipaudit.features.known_pictures import KnownPictures
    from clipaudit.features.observers import Observer
    from clipaudit.features.stored_captions import StoredCaptions
    from clipaudit.features.stored_signals import StoredSignals
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pictures.finding import FoundFile
    from clipaudit.pictures.preparing import Prepared
    from clipaudit.pipelines.config import ScoreConfig

logger = logging.getLogger(__name__)

_BATCHES_AHEAD = 3
_ENOUGH_TO_PLAN = 1000
_PATIENCE_S = 5.0
"""How long to wait for a thread that may hang in a slow file system."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadFile:
    """A file that was read, and what is known of it before it is decoded.

    Attributes:
        path: As it was found.
        sha256: SHA-256 of its bytes, in hex; None where they could not be read.
        problem: Why they could not be.
        is_copy: Whether an earlier file of the run has the same bytes.
        is_known: Whether all of its signals are in the store.
        stored: Its signals of those observers of which they are known.
        captions: Its captions, where they are read.
        stored_captions: Its caption signals of those observers of which they are known.
        picture: What is wanted of it as soon as it is decoded; None where nothing is.
    """

    path: str
    sha256: str | None = None
    problem: BadImage | None = None
    is_copy: bool = False
    is_known: bool = False
    stored: dict[Observer, StoredSignals] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    stored_captions: dict[Observer, StoredCaptions] = field(default_factory=dict)
    picture: Future[Prepared] | None = None


class ReadAhead:
    """Files on their way to the encoder; a context manager.

    Attributes:
        n_files: Files in all; None while they are still being counted.

    Args:
        paths: Files and folders.
        config: What to read; with a number of workers and a batch size.
        observers: Encoders that are to see the pictures.
        known: What is known of pictures already, and what else is wanted of them.
        captions: Where their captions come from; None where none are read.
        files: What was found under the paths, where that is known.
    """

    def __init__(
        self,
        paths: Sequence[AnyPath],
        config: ScoreConfig,
        observers: Sequence[Observer],
        known: KnownPictures,
        captions: CaptionSource | None = None,
        files: Sequence[FoundFile] | None = None,
    ) -> None:
        assert config.batch_size is not None
        self.n_files: int | None = None
        self._paths = paths
        self._files = files
        self._config = config
        self._observers = observers
        self._known = known
        self._captions = captions
        self._pool = DecoderPool(config.n_workers, config.limits)
        self._queue: queue.Queue[ReadFile | BaseException | None] = queue.Queue(
            maxsize=_BATCHES_AHEAD * config.batch_size
        )
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._count, daemon=True, name="clipaudit-count"),
            threading.Thread(target=self._read_all, daemon=True, name="clipaudit-read"),
        ]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:  # what is left in the opposite order, here or in __exit__
            running.callback(self._join)
            running.enter_context(self._pool)
            running.callback(self._stop.set)
            for thread in self._threads:
                thread.start()
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def batches(self, batch_size: int) -> Iterator[list[ReadFile]]:
        """Files in the order found, cut where a batch has enough that must be embedded.

        Raises:
            Exception: Whatever went wrong in the thread that reads.
        """
        batch: list[ReadFile] = []
        n_new = 0
        while (file := self._queue.get()) is not None:
            if isinstance(file, BaseException):
                raise file
            batch.append(file)
            n_new += file.picture is not None
            if n_new >= batch_size or len(batch) >= 16 * batch_size:
                yield batch
                batch, n_new = [], 0
        if batch:
            yield batch

    def _join(self) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=_PATIENCE_S)

    # --- in threads of their own ---

    def _count(self) -> None:
        n_files = 0
        for _ in self._find():
            if self._stop.is_set():
                return
            n_files += 1
        self.n_files = n_files

    def _read_all(self) -> None:
        is_known: dict[str, bool] = {}
        try:
            for found in self._find(logger.warning):
                if not self._offer(self._read(found, is_known)):
                    return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self._offer(error)

    def _find(self, on_note: Callable[[str], None] = lambda note: None) -> Iterator[FoundFile]:
        if self._files is not None:
            return iter(self._files)
        return find_files(self._paths, self._config, on_note)

    def _read(self, found: FoundFile, is_known: dict[str, bool]) -> ReadFile:
        """A file; `is_known` tells of every earlier one, by its SHA-256."""
        try:
            if found.problem is not None:
                raise found.problem
            data = read_file(found.path, self._config.limits, found.place)
        except BadImage as problem:
            return ReadFile(found.path, problem=problem)
        sha256 = content_id(data)
        if sha256 in is_known:
            return ReadFile(found.path, sha256, is_copy=True, is_known=is_known[sha256])
        stored = {
            observer: signals
            for observer in self._observers
            if (signals := self._known.store.get(observer.key, sha256)) is not None
        }
        captions = self._captions.captions_of(found.path, data) if self._captions else ()
        stored_captions = self._stored_captions(sha256, captions)
        if stored and not self._known.is_within_limits(sha256):
            stored, stored_captions = {}, {}  # decoding it says what it would have said at first
        missing = [
            observer.frame
            for observer in self._observers
            if observer not in stored
            or (captions and observer.captions and observer not in stored_captions)
        ]
        is_known[sha256] = not missing
        wanted = self._known.wanted(sha256, missing, self._observers[0].frame)
        return ReadFile(
            found.path,
            sha256,
            is_known=is_known[sha256],
            stored=stored,
            captions=captions,
            stored_captions=stored_captions,
            picture=self._pool.submit(data, wanted) if wanted else None,
        )

    def _stored_captions(
        self, sha256: str, captions: tuple[str, ...]
    ) -> dict[Observer, StoredCaptions]:
        if not captions:
            return {}
        store, together = self._known.store, captions_id(captions)
        return {
            observer: row
            for observer in self._observers
            if observer.captions
            and (row := store.get_captions(observer.captions.key, sha256, together)) is not None
        }

    def _offer(self, file: ReadFile | BaseException | None) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(file, timeout=0.1)
                return True
        return False


def count_ahead(paths: Sequence[AnyPath], config: ScoreConfig) -> int:
    """How many files there are, as far as that is worth counting.

    Raises:
        InputError: None of them can be a picture, so an encoder need not be loaded, let alone
            be downloaded.
    """
    ahead = list(islice(find_files(paths, config), _ENOUGH_TO_PLAN))
    if not ahead and config.shard:
        raise InputError(
            f"no file falls into shard {config.shard}",
            "There are few files for so many shards: take fewer shards, or go on without this one.",
        )
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


def find_files(
    paths: Sequence[AnyPath],
    config: ScoreConfig,
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[FoundFile]:
    """The files of a run, in their order, lazily.

    Args:
        paths: Files and folders.
        config: Which of the files under them to take.
        on_note: Takes a sentence on each archive of which something was passed over.
    """
    found = find_images(
        paths,
        include_hidden=config.include_hidden,
        follow_links=config.follow_links,
        within=paths,
        on_note=on_note,
    )
    drawn = draw_files(found, config.limit, config.seed)
    if config.shard is None:
        return drawn
    shard = Shard.read(config.shard)
    return (file for file in drawn if shard.holds(file.path))
