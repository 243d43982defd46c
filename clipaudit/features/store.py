"""What was already paid for: signals by picture and encoder, and facts of the pictures alone.

One SQLite file. A batch is one transaction in write-ahead mode, so a killed process loses at
most the batch in flight, and several processes may use the file at once. Every row carries a
checksum: a row that does not match is as good as absent.

Pictures are known by the SHA-256 of their files. Whatever the encoder, there are the hash and the
size of each, its appearance where a blind baseline asked for it, and what a report showed of it:
some dozens of small pictures a report, so that the next one decodes nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit.features.database import (
    Database,
    StoreBusy,
    StoreUnavailable,
    explained,
    files_of,
    is_ours_to_delete,
)
from clipaudit.features.stored_captions import (
    CaptionKey,
    StoredCaptions,
    pack_captions,
    unpack_captions,
)
from clipaudit.features.stored_signals import (
    FeatureKey,
    StoredSignals,
    checksum_of,
    pack,
    unpack,
    without_views,
)
from clipaudit.features.tables import SCHEMA, SCHEMA_VERSION, TABLES
from clipaudit.files import cache_dir, is_link
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance, PictureFacts
from clipaudit.pictures.random_embedding import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipaudit.features.signals import Signals

logger = logging.getLogger(__name__)


_IDS_A_QUERY = 500  # SQLite built with its old default takes 999 values a statement


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
        path: Path of its file.
        size_bytes: Size of the file and its write-ahead log.
        n_images: Different pictures, whatever the encoder.
        encoders: What each encoder fills, by name.
    """

    path: Path
    size_bytes: int
    n_images: int
    encoders: tuple[StoredEncoder, ...]


def default_path() -> Path:
    """Where the user's store is, whether or not it exists yet."""
    return cache_dir() / f"features-v{SCHEMA_VERSION}.sqlite"


class FeatureStore(Database):
    """What is known of every picture that was scored before; a context manager.

    Threads may share it; processes open one each.

    Raises:
        StoreUnavailable: From any method, where the file cannot be opened, read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path or default_path(), SCHEMA, SCHEMA_VERSION)

    def get_many(self, key: FeatureKey, image_ids: Sequence[str]) -> dict[str, StoredSignals]:
        """The signals of those images that are known; the others are absent.

        Where no views are asked for, what was kept with some will do.
        """
        found: dict[str, StoredSignals] = {}
        if not key.n_views:
            return self._plain_rows(key, image_ids)
        with self.reading():
            set_id = self._set_id(key)
            if set_id is None:
                return found
            rows = self._rows("signals", image_ids, "set_id = ? AND", (set_id,))
            for _, image_id, *blobs, notes, checksum in rows:
                signals = unpack(key.n_views, image_id, blobs, notes, checksum)
                if signals is None:
                    self._report_damage()
                else:
                    found[image_id] = signals
        return found

    def put_many(
        self, key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Keep a batch: all of it or, where anything fails, none.

        Args:
            key: What the signals depend on.
            signals: Signals of the batch; `image_ids` name its rows. Known rows are replaced.
            notes: One sequence of notes an image; None where there are none.

        Raises:
            ValueError: The arrays do not have the shapes that `key.n_views` asks for.
        """
        rows = list(pack(key, signals, notes or [()] * len(signals.image_ids)))
        with self.writing():
            self.connection.execute(
                "INSERT INTO feature_sets (encoder, recipe, n_views, seed, encoder_name) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key.encoder, key.recipe, key.n_views, str(key.seed), key.encoder_name),
            )
            set_id = self._set_id(key)
            self.connection.executemany(
                "INSERT OR REPLACE INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((set_id, *row) for row in rows),
            )

    def get_captions(
        self, key: CaptionKey, captions: Mapping[str, str]
    ) -> dict[str, StoredCaptions]:
        """The caption signals of those images that are known; the others are absent.

        Args:
            key: What they depend on.
            captions: `captions_id` of each image.
        """
        found: dict[str, StoredCaptions] = {}
        with self.reading():
            set_id = self._caption_set_id(key)
            if set_id is None:
                return found
            for _, image_id, captions_id, blob, checksum in self._rows(
                "caption_signals", [*captions], "set_id = ? AND", (set_id,)
            ):
                if captions_id != captions[image_id]:
                    continue
                row = unpack_captions(image_id, captions_id, blob, checksum)
                if row is None:
                    self._report_damage()
                else:
                    found[image_id] = row
        return found

    def put_captions(
        self, key: CaptionKey, rows: Mapping[str, StoredCaptions], captions: Mapping[str, str]
    ) -> None:
        """Keep caption signals by image; see `get_captions`."""
        with self.writing():
            self.connection.execute(
                "INSERT INTO caption_sets (encoder, tower, bank, encoder_name) "
                "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key.encoder, key.tower, key.bank, key.encoder_name),
            )
            set_id = self._caption_set_id(key)
            self.connection.executemany(
                "INSERT OR REPLACE INTO caption_signals VALUES (?, ?, ?, ?, ?)",
                ((set_id, *row) for row in pack_captions(rows, captions)),
            )

    def get_texts(self, tower: str) -> dict[str, bytes]:
        """Embeddings of published captions by a text tower, by SHA-256; see `put_texts`."""
        with self.reading():
            rows = self.connection.execute("SELECT * FROM texts WHERE tower = ?", (tower,))
            return {
                caption_id: vector
                for _, caption_id, vector, checksum in rows
                if _is_sound(caption_id, [vector], checksum)
            }

    def put_texts(self, tower: str, vectors: Mapping[str, bytes]) -> None:
        """Keep embeddings of captions that ship with the package; never those of a user."""
        with self.writing():
            self.connection.executemany(
                "INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?)",
                [
                    (tower, caption_id, vector, checksum_of(caption_id, [vector]))
                    for caption_id, vector in vectors.items()
                ],
            )

    def get_encoder(self, key: str) -> str | None:
        """What is remembered of an encoder under this key; see `encoders.remembered`."""
        with self.reading():
            rows = self.connection.execute("SELECT * FROM encoders WHERE key = ?", (key,))
            for _, facts, checksum in rows:
                if isinstance(facts, str) and checksum == checksum_of(key, [], facts):
                    return facts
                self._report_damage()
        return None

    def put_encoder(self, key: str, facts: str) -> None:
        """Remember what an encoder is."""
        with self.writing():
            self.connection.execute(
                "INSERT OR REPLACE INTO encoders VALUES (?, ?, ?)",
                (key, facts, checksum_of(key, [], facts)),
            )

    def get_facts(self, image_ids: Sequence[str]) -> dict[str, PictureFacts]:
        """The facts of those images that are known; the others are absent."""
        with self.reading():
            hashes = self._blobs("hashes", image_ids, (8, 8))
            appearances = self._blobs("appearances", image_ids, (8 * len(STATISTICS), 4 * DIM))
        return {
            image_id: PictureFacts(
                int.from_bytes(phash, "big"),
                int.from_bytes(n_pixels, "big"),
                Appearance(
                    np.frombuffer(appearances[image_id][0], "<f8").astype(np.float64),
                    np.frombuffer(appearances[image_id][1], "<f4").astype(np.float32),
                )
                if image_id in appearances
                else None,
            )
            for image_id, (phash, n_pixels) in hashes.items()
        }

    def put_facts(self, facts: Mapping[str, PictureFacts]) -> None:
        """Keep facts by image: all of them or, where anything fails, none.

        An appearance that is known stays where one of the facts has none.
        """
        hashes = {
            image_id: (fact.phash.to_bytes(8, "big"), fact.n_pixels.to_bytes(8, "big"))
            for image_id, fact in facts.items()
        }
        appearances = {
            image_id: (
                fact.appearance.statistics.astype("<f8").tobytes(),
                fact.appearance.embedding.astype("<f4").tobytes(),
            )
            for image_id, fact in facts.items()
            if fact.appearance is not None
        }
        with self.writing():
            self.connection.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", _checked(hashes)
            )
            self.connection.executemany(
                "INSERT OR REPLACE INTO appearances VALUES (?, ?, ?, ?)", _checked(appearances)
            )

    def get_looks(self, kind: str, image_ids: Sequence[str]) -> dict[str, bytes]:
        """What a report showed of those images; those that it did not show are absent.

        Args:
            kind: All that it depends on beside the image.
            image_ids: SHA-256 in hex.
        """
        with self.reading():
            rows = self._rows("looks", image_ids, "kind = ? AND", (kind,))
            return {
                image_id: look
                for image_id, _, look, checksum in rows
                if _is_sound(image_id, [look], checksum)
            }

    def put_looks(self, kind: str, looks: Mapping[str, bytes]) -> None:
        """Keep what a report shows of images."""
        with self.writing():
            self.connection.executemany(
                "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?)",
                [
                    (image_id, kind, look, checksum_of(image_id, [look]))
                    for image_id, look in looks.items()
                ],
            )

    def info(self) -> StoreInfo:
        """How much is in it, and of which encoders."""
        with self.reading():
            (n_images,) = self.connection.execute(
                "SELECT count(DISTINCT image_id) FROM signals"
            ).fetchone()
            encoders = self.connection.execute(
                "SELECT encoder, max(encoder_name), count(DISTINCT image_id) FROM feature_sets "
                "JOIN signals ON set_id = id GROUP BY encoder ORDER BY 2, 1"
            ).fetchall()
            size_bytes = sum(file.stat().st_size for file in files_of(self.path) if file.exists())
        return StoreInfo(
            self.path, size_bytes, n_images, tuple(StoredEncoder(*encoder) for encoder in encoders)
        )

    def clear(self) -> None:
        """Forget everything; other processes that use the store are not disturbed."""
        with self.reading():
            with self._transaction():
                for table in TABLES:
                    self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
            try:
                self.connection.execute("VACUUM")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                # Somebody reads; or the disk is full, and VACUUM writes a copy.
                logger.info("the space of %s is given back later: %s", self.path, error)

    def _rows(
        self,
        table: str,
        image_ids: Sequence[str],
        condition: str = "",
        values: tuple[object, ...] = (),
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a table about images, of which SQLite takes some hundred at once."""
        for start in range(0, len(image_ids), _IDS_A_QUERY):
            ids = image_ids[start : start + _IDS_A_QUERY]
            marks = ",".join("?" * len(ids))
            yield from self.connection.execute(
                f"SELECT * FROM {table} WHERE {condition} image_id IN ({marks})",  # noqa: S608 - ours
                (*values, *ids),
            )

    def _blobs(
        self, table: str, image_ids: Sequence[str], lengths: tuple[int, ...]
    ) -> dict[str, list[bytes]]:
        """The blobs of a table by image, without rows that are not what was written."""
        found: dict[str, list[bytes]] = {}
        for image_id, *blobs, checksum in self._rows(table, image_ids):
            if _is_sound(image_id, blobs, checksum) and tuple(map(len, blobs)) == lengths:
                found[image_id] = blobs
            else:
                self._report_damage()
        return found

    def _plain_rows(self, key: FeatureKey, image_ids: Sequence[str]) -> dict[str, StoredSignals]:
        """The signals of images without their views, whatever views were made."""
        found: dict[str, StoredSignals] = {}
        with self.reading():
            sets = self.connection.execute(
                "SELECT id, n_views FROM feature_sets WHERE encoder = ? ORDER BY n_views, id",
                (key.encoder,),
            ).fetchall()
            for set_id, n_views in sets:
                left = [image_id for image_id in image_ids if image_id not in found]
                for _, image_id, *blobs, notes, checksum in self._rows(
                    "signals", left, "set_id = ? AND", (set_id,)
                ):
                    signals = unpack(n_views, image_id, blobs, notes, checksum)
                    if signals is not None:
                        found[image_id] = without_views(signals)
        return found

    def _report_damage(self) -> None:
        logger.warning("a damaged row of %s is made again", self.path)

    def _caption_set_id(self, key: CaptionKey) -> int | None:
        row = self.connection.execute(
            "SELECT id FROM caption_sets WHERE encoder = ? AND tower = ? AND bank = ?",
            (key.encoder, key.tower, key.bank),
        ).fetchone()
        return None if row is None else int(row[0])

    def _set_id(self, key: FeatureKey) -> int | None:
        row = self.connection.execute(
            "SELECT id FROM feature_sets "
            "WHERE encoder = ? AND recipe = ? AND n_views = ? AND seed = ?",
            (key.encoder, key.recipe, key.n_views, str(key.seed)),
        ).fetchone()
        return None if row is None else int(row[0])


def clear(path: Path | None = None) -> None:
    """Empty a store, whatever state it is in; one that cannot be read is deleted.

    Raises:
        StoreUnavailable: Its files cannot be deleted, or it belongs to another program.
    """
    path = default_path() if path is None else path
    with explained(path):
        for file in filter(is_link, files_of(path)):
            file.unlink()
    if not path.exists():
        return
    try:
        with FeatureStore(path) as store:
            store.clear()
    except StoreBusy:
        raise
    except StoreUnavailable as error:
        if not is_ours_to_delete(path):
            raise
        logger.info("deleting %s: %s", path, error)
        with explained(path):
            for file in files_of(path):
                file.unlink(missing_ok=True)


def _checked(rows: Mapping[str, tuple[bytes, ...]]) -> Iterator[tuple[str | bytes | int, ...]]:
    for image_id, blobs in rows.items():
        yield image_id, *blobs, checksum_of(image_id, blobs)


def _is_sound(image_id: str, blobs: Sequence[bytes], checksum: int) -> bool:
    try:
        return checksum == checksum_of(image_id, blobs)
    except TypeError:  # something else than a blob
        return False
