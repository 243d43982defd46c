"""Paths → files that are read, hashed, looked up in the store and handed to the decoders.

A thread does so ahead of the encoder, by a bounded number of files; another counts all files.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Self

from clipaudit.errors import InputError
from clipaudit.features.stored_captions import captions_id
from clipaudit.overflow import Overflow
from clipaudit.pictures.addresses import is_address, require_online
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import draw_files, find_images
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.pictures.sharding import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
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
_MOST_IN_BATCH = 256
_MOST_TOGETHER = 64
_MOST_BYTES_TOGETHER = 1 << 23
_LONGEST_TOGETHER_S = 0.1
"""How long files wait for others with which the store is asked for them."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """A file that was read, or could not be.

    Attributes:
        path: As it was found.
        data: Its bytes.
        sha256: SHA-256 of them, in hex; None where they could not be read.
        problem: Why it could not be read.
    """

    path: str
    data: bytes = b""
    sha256: str | None = None
    problem: BadImage | None = None


class ReadAhead:
    """Files on their way to the encoder; a context manager.

    Attributes:
        n_files: Files in all; None while they are still being counted, and where some are remote.

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
        self._queue: queue.Queue[list[ReadFile] | BaseException | None] = queue.Queue(
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
        while (files := self._queue.get()) is not None:
            if isinstance(files, BaseException):
                raise files
            batch += files
            n_new += sum(file.picture is not None for file in files)
            if n_new >= batch_size or len(batch) >= _MOST_IN_BATCH:
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
        if any(map(is_address, self._paths)):
            return  # archives would be fetched for it, ahead of the thread that reads them
        n_files = 0
        for _ in self._find():
            if self._stop.is_set():
                return
            n_files += 1
        self.n_files = n_files

    def _read_all(self) -> None:
        is_known: Overflow[bool] = Overflow()
        try:
            for contents in self._contents():
                known: list[ReadFile] = []  # goes on together; what is decoded goes on by itself
                for file in self._looked_up(contents, is_known):
                    known.append(file)
                    if file.picture is not None:
                        if not self._offer(known):
                            return
                        known = []
                if known and not self._offer(known):
                    return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self._offer(error)

    def _contents(self) -> Iterator[list[_Content]]:
        """The files, some at a time: many small ones, or those of a tenth of a second."""
        contents: list[_Content] = []
        n_bytes, since = 0, time.monotonic()
        for found in self._find(logger.warning):
            content = self._read(found)
            contents.append(content)
            n_bytes += len(content.data)
            is_full = len(contents) >= _MOST_TOGETHER or n_bytes >= _MOST_BYTES_TOGETHER
            if is_full or time.monotonic() - since > _LONGEST_TOGETHER_S:
                yield contents
                contents, n_bytes, since = [], 0, time.monotonic()
        if contents:
            yield contents

    def _find(self, on_note: Callable[[str], None] = lambda note: None) -> Iterator[FoundFile]:
        if self._files is not None:
            return iter(self._files)
        return find_files(self._paths, self._config, on_note)

    def _read(self, found: FoundFile) -> _Content:
        try:
            if found.problem is not None:
                raise found.problem
            data = read_file(found.path, self._config.limits, found.place)
        except BadImage as problem:
            return _Content(found.path, problem=problem)
        return _Content(found.path, data, content_id(data))

    def _looked_up(
        self, contents: Sequence[_Content], is_known: Overflow[bool]
    ) -> Iterator[ReadFile]:
        """Files with all that the store knows of them; it is asked once.

        Args:
            contents: Files.
            is_known: Whether all is known of every earlier file, by its SHA-256; these are added.
        """
        new: dict[str, _Content] = {}
        for file in contents:
            if file.sha256 and file.sha256 not in is_known:
                new.setdefault(file.sha256, file)
        store, image_ids = self._known.store, [*new]
        signals = {
            observer: store.get_many(observer.key, image_ids) for observer in self._observers
        }
        captions = self._captions_of(new)
        together = {key: captions_id(texts) for key, texts in captions.items()}
        caption_signals = {
            observer: store.get_captions(observer.captions.key, together)
            for observer in self._observers
            if observer.captions and together
        }
        facts = self._known.get(image_ids)
        for file in contents:
            key = file.sha256
            if key is None:
                yield ReadFile(file.path, problem=file.problem)
                continue
            if key in is_known:
                yield ReadFile(file.path, key, is_copy=True, is_known=is_known[key])
                continue
            stored = {observer: rows[key] for observer, rows in signals.items() if key in rows}
            stored_captions = {
                observer: rows[key] for observer, rows in caption_signals.items() if key in rows
            }
            own = facts.get(key)
            is_large = own is None or own.n_pixels > self._config.limits.max_pixels
            if stored and is_large:  # decoding it says what it would have said at first
                stored, stored_captions = {}, {}
            missing = [
                observer.frame
                for observer in self._observers
                if observer not in stored
                or (key in captions and observer.captions and observer not in stored_captions)
            ]
            is_known[key] = not missing
            wanted = self._known.wanted(key, own, missing, self._observers[0].frame)
            yield ReadFile(
                file.path,
                key,
                is_known=is_known[key],
                stored=stored,
                captions=captions.get(key, ()),
                stored_captions=stored_captions,
                picture=self._pool.submit(file.data, wanted) if wanted else None,
            )

    def _captions_of(self, files: Mapping[str, _Content]) -> dict[str, tuple[str, ...]]:
        """The captions of those files that have some, by SHA-256."""
        if self._captions is None:
            return {}
        found = {
            key: self._captions.captions_of(file.path, file.data) for key, file in files.items()
        }
        return {key: texts for key, texts in found.items() if texts}

    def _offer(self, files: list[ReadFile] | BaseException | None) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(files, timeout=0.1)
                return True
        return False


def count_ahead(paths: Sequence[AnyPath], config: ScoreConfig) -> int:
    """How many files there are, as far as that is worth counting.

    Raises:
        InputError: None of them can be a picture, so an encoder need not be loaded, let alone
            be downloaded.
        UsageError: One has an address, and `offline` is asked for.
    """
    require_online(paths, offline=config.offline)
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
