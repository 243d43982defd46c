"""The store as a run uses it: a help that it can do without."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from clipaudit.features.database import StoreUnavailable
from clipaudit.features.store import FeatureStore
from clipaudit.files import NoHomeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clipaudit.errors import ClipAuditError
    from clipaudit.features.signals import Signals
    from clipaudit.features.stored_captions import CaptionKey, StoredCaptions
    from clipaudit.features.stored_signals import FeatureKey, StoredSignals
    from clipaudit.pictures.preparing import PictureFacts

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class OptionalStore:
    """A store that is given up, with one warning, where it cannot be used.

    Threads may share it.

    Args:
        store: None knows nothing and keeps nothing.
    """

    def __init__(self, store: FeatureStore | None) -> None:
        self._store = store
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it keeps anything."""
        return self._store is not None

    def get_many(self, key: FeatureKey, image_ids: Sequence[str]) -> dict[str, StoredSignals]:
        """The signals of those images that are known; see `FeatureStore.get_many`."""
        return self._ask(lambda store: store.get_many(key, image_ids), {})

    def put(self, key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]]) -> None:
        """Keep a batch; see `FeatureStore.put_many`."""
        self._ask(lambda store: store.put_many(key, signals, notes), None)

    def get_captions(
        self, key: CaptionKey, captions: Mapping[str, str]
    ) -> dict[str, StoredCaptions]:
        """The caption signals of those images that are known; see `FeatureStore.get_captions`."""
        return self._ask(lambda store: store.get_captions(key, captions), {})

    def put_captions(
        self, key: CaptionKey, rows: Mapping[str, StoredCaptions], captions: Mapping[str, str]
    ) -> None:
        """Keep a batch; see `FeatureStore.put_captions`."""
        self._ask(lambda store: store.put_captions(key, rows, captions), None)

    def get_texts(self, tower: str) -> dict[str, bytes]:
        """Embeddings of published captions; see `FeatureStore.put_texts`."""
        return self._ask(lambda store: store.get_texts(tower), {})

    def put_texts(self, tower: str, vectors: Mapping[str, bytes]) -> None:
        """Keep embeddings of published captions; see `FeatureStore.put_texts`."""
        self._ask(lambda store: store.put_texts(tower, vectors), None)

    def get_encoder(self, key: str) -> str | None:
        """What is remembered of an encoder; see `FeatureStore.get_encoder`."""
        return self._ask(lambda store: store.get_encoder(key), None)

    def put_encoder(self, key: str, facts: str) -> None:
        """Remember what an encoder is."""
        self._ask(lambda store: store.put_encoder(key, facts), None)

    def get_facts(self, image_ids: Sequence[str]) -> dict[str, PictureFacts]:
        """The facts of those images that are known; the others are absent."""
        return self._ask(lambda store: store.get_facts(image_ids), {})

    def put_facts(self, facts: Mapping[str, PictureFacts]) -> None:
        """Keep facts by image; see `FeatureStore.put_facts`."""
        self._ask(lambda store: store.put_facts(facts), None)

    def get_looks(self, kind: str, image_ids: Sequence[str]) -> dict[str, bytes]:
        """What a report showed of those images; see `FeatureStore.get_looks`."""
        return self._ask(lambda store: store.get_looks(kind, image_ids), {})

    def put_looks(self, kind: str, looks: Mapping[str, bytes]) -> None:
        """Keep what a report shows of images."""
        self._ask(lambda store: store.put_looks(kind, looks), None)

    def _ask(self, question: Callable[[FeatureStore], Answer], otherwise: Answer) -> Answer:
        store = self._store
        if store is None:
            return otherwise
        try:
            return question(store)
        except StoreUnavailable as error:
            self._give_up(error)
            return otherwise

    def _give_up(self, error: StoreUnavailable) -> None:
        with self._lock:  # two threads may find out at once
            if self._store is not None:
                _warn(error)
            self._store = None


@contextmanager
def open_store(*, is_wanted: bool) -> Iterator[OptionalStore]:
    """The user's store; one that knows nothing where it is not wanted or cannot be opened."""
    try:
        opened = FeatureStore() if is_wanted else None
    except (StoreUnavailable, NoHomeError) as error:
        _warn(error)
        opened = None
    try:
        yield OptionalStore(opened)
    finally:
        if opened is not None:
            opened.close()


def _warn(error: ClipAuditError) -> None:
    logger.warning("going on without the store: %s. %s", error, error.hint)
