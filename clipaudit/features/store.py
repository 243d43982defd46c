"""Signals that were already paid for, by content of the picture and by encoder.

One SQLite file. A batch is one transaction in write-ahead mode, so a killed process loses at
most the batch in flight, and several processes may use the file at once. Every row carries a
checksum: a row that does not match is as good as absent.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from clipaudit.errors import ClipAuditError, InputError
from clipaudit.features.signals import Float32Array, Signals, n_pairs
from clipaudit.files import cache_dir, is_link, refuse_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x434C4155  # "CLAU": tells our file from any other SQLite file
_BUSY_TIMEOUT_S = 30.0
_IDS_A_QUERY = 500  # SQLite built with its old default takes 999 values a statement

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS feature_sets (
        id INTEGER PRIMARY KEY,
        encoder TEXT NOT NULL,
        recipe TEXT NOT NULL,
        n_views INTEGER NOT NULL,
        seed TEXT NOT NULL,
        encoder_name TEXT NOT NULL,
        UNIQUE (encoder, recipe, n_views, seed)
    )""",
    """CREATE TABLE IF NOT EXISTS signals (
        set_id INTEGER NOT NULL REFERENCES feature_sets (id),
        image_id TEXT NOT NULL,
        cosine BLOB NOT NULL,
        pearson BLOB NOT NULL,
        euclidean BLOB NOT NULL,
        norms BLOB NOT NULL,
        plain_norm BLOB NOT NULL,
        notes TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (set_id, image_id)
    )""",
)


class StoreUnavailable(ClipAuditError):  # noqa: N818 - a run goes on without it
    """The store cannot be used; a run can do without it, only slower next time."""

    exit_code = 4


class StoreBusy(StoreUnavailable):
    """Another process keeps it locked."""


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """What signals depend on, beside the picture's bytes.

    Attributes:
        encoder: The encoder's fingerprint.
        recipe: Name and version of the recipe of views.
        n_views: Views an image.
        seed: Seed of the views.
        encoder_name: Its spec, for people to read; not part of the key.
    """

    encoder: str
    recipe: str
    n_views: int
    seed: int
    encoder_name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSignals:
    """One image's row of `Signals`, and what its decoding had to do.

    Attributes:
        cosine: Shape (n_pairs,), float32; so are `pearson` and `euclidean`.
        norms: Shape (n_views,), float32.
        plain_norm: The norm of the image without augmentation.
        notes: As in `clipaudit.results.audit.Row`.
    """

    cosine: Float32Array
    pearson: Float32Array
    euclidean: Float32Array
    norms: Float32Array
    plain_norm: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredEncoder:
    """How much of the store one encoder fills."""

    fingerprint: str
    name: str
    n_images: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds.

    Attributes:
        path: Its file.
        size_bytes: Of the file and its write-ahead log.
        n_images: Different pictures, whatever the encoder.
        encoders: By name.
    """

    path: Path
    size_bytes: int
    n_images: int
    encoders: tuple[StoredEncoder, ...]


def default_path() -> Path:
    """Where the user's store is, whether or not it exists yet."""
    return cache_dir() / "features-v1.sqlite"


class FeatureStore:
    """The signals of every picture that was seen before; a context manager.

    Threads may share it; processes open one each.

    Raises:
        StoreUnavailable: From any method, where the file cannot be opened, read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_path() if path is None else path
        self._lock = threading.Lock()
        with _explained(self.path):
            for file in _files(self.path):
                refuse_link(file)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with _explained(self.path):
                self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; closing twice is harmless."""
        with self._lock, _explained(self.path):
            self._connection.close()

    def get_many(self, key: FeatureKey, image_ids: Sequence[str]) -> dict[str, StoredSignals]:
        """The signals of those images that are known; the others are absent."""
        found: dict[str, StoredSignals] = {}
        with self._lock, _explained(self.path):
            set_id = self._set_id(key)
            if set_id is None:
                return found
            for start in range(0, len(image_ids), _IDS_A_QUERY):
                some = image_ids[start : start + _IDS_A_QUERY]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    "SELECT image_id, cosine, pearson, euclidean, norms, plain_norm, notes, "  # noqa: S608 - marks are question marks
                    f"checksum FROM signals WHERE set_id = ? AND image_id IN ({marks})",
                    (set_id, *some),
                )
                for image_id, *blobs, notes, checksum in rows:
                    signals = _unpack(key.n_views, image_id, blobs, notes, checksum)
                    if signals is None:
                        logger.warning("a damaged row of %s is made again", self.path)
                    else:
                        found[image_id] = signals
        return found

    def put_many(
        self, key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Keep a batch: all of it or, where anything fails, none.

        Args:
            key: What the signals depend on.
            signals: Of the batch; `image_ids` name its rows. Known rows are replaced.
            notes: One sequence of notes an image; None where there are none.

        Raises:
            ValueError: The arrays do not have the shapes that `key.n_views` asks for.
        """
        rows = list(_pack(key, signals, notes or [()] * len(signals.image_ids)))
        with self._lock, _explained(self.path), self._transaction():
            self._connection.execute(
                "INSERT INTO feature_sets (encoder, recipe, n_views, seed, encoder_name) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key.encoder, key.recipe, key.n_views, str(key.seed), key.encoder_name),
            )
            set_id = self._set_id(key)
            self._connection.executemany(
                "INSERT OR REPLACE INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((set_id, *row) for row in rows),
            )

    def info(self) -> StoreInfo:
        """How much is in it, and of which encoders."""
        with self._lock, _explained(self.path):
            (n_images,) = self._connection.execute(
                "SELECT count(DISTINCT image_id) FROM signals"
            ).fetchone()
            encoders = self._connection.execute(
                "SELECT encoder, max(encoder_name), count(DISTINCT image_id) FROM feature_sets "
                "JOIN signals ON set_id = id GROUP BY encoder ORDER BY 2, 1"
            ).fetchall()
            size_bytes = sum(file.stat().st_size for file in _files(self.path) if file.exists())
        return StoreInfo(
            self.path, size_bytes, n_images, tuple(StoredEncoder(*encoder) for encoder in encoders)
        )

    def clear(self) -> None:
        """Forget everything; other processes that use the store are not disturbed."""
        with self._lock, _explained(self.path):
            with self._transaction():
                self._connection.execute("DELETE FROM signals")
                self._connection.execute("DELETE FROM feature_sets")
            try:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                # Somebody reads; or the disk is full, and VACUUM writes a copy.
                logger.info("the space of %s is given back later: %s", self.path, error)

    def _set_id(self, key: FeatureKey) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM feature_sets "
            "WHERE encoder = ? AND recipe = ? AND n_views = ? AND seed = ?",
            (key.encoder, key.recipe, key.n_views, str(key.seed)),
        ).fetchone()
        return None if row is None else int(row[0])

    def _set_up(self) -> None:
        # Two processes that make the file at once: SQLite reports that clash without waiting.
        give_up = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                with self._transaction("DEFERRED"):  # one view of the file, while others write
                    self._check_version()
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
        self._connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode: never corrupts
        with self._transaction():
            if self._check_version() == 0:
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_version(self) -> int:
        """The version of the file's schema, 0 for a new file.

        Raises:
            StoreUnavailable: It is not a store, or of a version that we do not know.
        """
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (n_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == application == n_tables == 0:
            return 0
        if application != _APPLICATION_ID:
            raise StoreUnavailable(
                f"{self.path} is a database of another program",
                "Move it away, or set CLIPAUDIT_CACHE_DIR to another folder.",
            )
        if version != SCHEMA_VERSION:
            raise StoreUnavailable(
                f"the store {self.path} has version {version}, and this clipaudit reads "
                f"version {SCHEMA_VERSION}",
                "Update clipaudit, set CLIPAUDIT_CACHE_DIR to another folder, or start afresh "
                "with `clipaudit cache clear`.",
            )
        return SCHEMA_VERSION

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled back by itself
                self._connection.execute("ROLLBACK")
            raise


def clear(path: Path | None = None) -> None:
    """Empty a store, whatever state it is in; one that cannot be read is deleted.

    Raises:
        StoreUnavailable: Its files cannot be deleted, or it belongs to another program.
    """
    path = default_path() if path is None else path
    with _explained(path):
        for file in filter(is_link, _files(path)):
            file.unlink()
    if not path.exists():
        return
    try:
        with FeatureStore(path) as store:
            store.clear()
    except StoreBusy:
        raise
    except StoreUnavailable as error:
        if not _is_ours_to_delete(path):
            raise
        logger.info("deleting %s: %s", path, error)
        with _explained(path):
            for file in _files(path):
                file.unlink(missing_ok=True)


def stack_signals(
    image_ids: Sequence[str], stored: Mapping[str, StoredSignals], fresh: Iterable[Signals] = ()
) -> Signals:
    """`Signals` of the given images in the given order, from wherever each one is.

    Args:
        image_ids: At least one.
        stored: What `FeatureStore.get_many` gave.
        fresh: Batches that were just made; they win where an image is in both.

    Raises:
        KeyError: An image is in neither.
        ValueError: No image is asked for, so that the shapes are unknown.
    """
    if not image_ids:
        raise ValueError("needs at least one image")
    names = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
    rows = {
        image_id: tuple(getattr(row, name) for name in names) for image_id, row in stored.items()
    }
    for batch in fresh:
        columns = (getattr(batch, name) for name in names)
        rows.update(zip(batch.image_ids, zip(*columns, strict=True), strict=True))
    stacked = zip(*(rows[image_id] for image_id in image_ids), strict=True)
    return Signals(tuple(image_ids), *(np.asarray(column, dtype=np.float32) for column in stacked))


def _pack(
    key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]]
) -> Iterator[tuple[str | bytes | int, ...]]:
    n_images = len(signals.image_ids)
    shapes = _row_shapes(key.n_views)
    arrays = (
        signals.cosine,
        signals.pearson,
        signals.euclidean,
        signals.norms,
        signals.plain_norm[:, None],
    )
    for array, length in zip(arrays, shapes, strict=True):
        if array.shape != (n_images, length):
            raise ValueError(f"expected shape {(n_images, length)}, got {array.shape}")
    for image_id, note, *row in zip(signals.image_ids, notes, *arrays, strict=True):
        blobs = [np.ascontiguousarray(values, dtype="<f4").tobytes() for values in row]
        text = json.dumps(list(note))
        yield (image_id, *blobs, text, _checksum(image_id, blobs, text))


def _unpack(
    n_views: int, image_id: str, blobs: Sequence[bytes], notes: str, checksum: int
) -> StoredSignals | None:
    """The row, or None where it is not what was written."""
    try:
        if checksum != _checksum(image_id, blobs, notes):
            return None
        arrays = [np.frombuffer(blob, dtype="<f4").astype(np.float32) for blob in blobs]
        if tuple(map(len, arrays)) != _row_shapes(n_views):
            return None
        cosine, pearson, euclidean, norms, plain_norm = arrays
        return StoredSignals(
            cosine, pearson, euclidean, norms, float(plain_norm[0]), tuple(json.loads(notes))
        )
    except (TypeError, ValueError):
        return None


def _row_shapes(n_views: int) -> tuple[int, ...]:
    return (n_pairs(n_views),) * 3 + (n_views, 1)


def _checksum(image_id: str, blobs: Sequence[bytes], notes: str) -> int:
    return zlib.crc32(b"\0".join((image_id.encode(), *blobs, notes.encode())))


def _files(path: Path) -> tuple[Path, ...]:
    """The store's files; the log first, so that none outlives the file that it belongs to."""
    return (*(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")), path)


def _is_ours_to_delete(path: Path) -> bool:
    """Whether it is a broken store or one of ours, and not another program's database."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            return bool(application == _APPLICATION_ID)
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return path.is_file()


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite or the system says, as an error that says what to do."""
    elsewhere = "Set CLIPAUDIT_CACHE_DIR to another folder, or pass --no-cache."
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise StoreUnavailable(
                f"the store {path} is damaged: {error}",
                "Start afresh with `clipaudit cache clear`; only time is lost.",
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreUnavailable(
                f"no space is left for the store {path}", f"Free some space. {elsewhere}"
            ) from error
        if code == sqlite3.SQLITE_BUSY:
            raise StoreBusy(
                f"another process keeps the store {path} locked",
                f"Wait for it to end. {elsewhere}",
            ) from error
        raise StoreUnavailable(f"cannot use the store {path}: {error}", elsewhere) from error
    except InputError as error:  # a link
        raise StoreUnavailable(f"cannot use the store: {error}", elsewhere) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(f"cannot use the store {path}: {reason}", elsewhere) from error
