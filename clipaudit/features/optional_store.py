"""The store as a run uses it: a help that it can do without."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clipaudit.features.store import FeatureStore, StoreUnavailable
from clipaudit.files import NoHomeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.errors import ClipAuditError
    from clipaudit.features.signals import Signals
    from clipaudit.features.store import FeatureKey, StoredSignals

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

    def get(self, key: FeatureKey, image_id: str) -> StoredSignals | None:
        """The signals of an image, where they are known."""
        store = self._store
        if store is None:
            return None
        try:
            return store.get_many(key, [image_id]).get(image_id)
        except StoreUnavailable as error:
            self._give_up(error)
            return None

    def put(self, key: FeatureKey, signals: Signals, notes: Sequence[Sequence[str]]) -> None:
        """Keep a batch; see `FeatureStore.put_many`."""
        store = self._store
        if store is None:
            return
        try:
            store.put_many(key, signals, notes)
        except StoreUnavailable as error:
            self._give_up(error)

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
