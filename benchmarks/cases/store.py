"""The store: signals of ten views, written in batches and read in batches."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import numpy as np

from benchmarks.cases.features import random_embeddings
from benchmarks.cases.pictures import N_VIEWS
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.features.signals import Signals, measure, select
from clipaudit.features.store import FeatureStore
from clipaudit.features.stored_signals import FeatureKey

_KEY = FeatureKey("f" * 64, "encodermi@1", N_VIEWS, seed=0)
_AT_ONCE = 64


def _signals(size: int) -> Signals:
    return measure(random_embeddings(size, dim=32))


def _write(size: int, place: Workplace) -> Contest:
    signals = _signals(size)
    numbers = count()

    def by(at_once: int) -> dict[str, object]:
        path = place.folder / f"{next(numbers)}.sqlite"
        with FeatureStore(path) as store:
            for start in range(0, size, at_once):
                ids = signals.image_ids[start : start + at_once]
                store.put_many(_KEY, select(signals, ids))
            found = store.get_many(_KEY, signals.image_ids)
        path.unlink()
        return {image_id: found[image_id].cosine for image_id in signals.image_ids}

    def raw() -> None:
        path = place.folder / "raw"
        with path.open("wb") as file:
            for column in (signals.cosine, signals.pearson, signals.euclidean, signals.norms):
                file.write(column.tobytes())
            file.flush()
            os.fsync(file.fileno())

    return Contest(
        (
            Way("product", "64 pictures a transaction, read back once", lambda: by(_AT_ONCE)),
            Way("naive", "a picture a transaction, read back once", lambda: by(1)),
            Way("floor", "the same bytes into a file", raw),
        ),
        _require_same,
    )


def _read(size: int, place: Workplace) -> Contest:
    signals = _signals(size)
    store = place.stack.enter_context(FeatureStore(place.folder / "read.sqlite"))
    store.put_many(_KEY, signals)
    raw = place.folder / "raw"
    columns = (signals.cosine, signals.pearson, signals.euclidean, signals.norms)
    raw.write_bytes(b"".join(column.tobytes() for column in columns))

    def together() -> dict[str, object]:
        return {key: row.cosine for key, row in store.get_many(_KEY, signals.image_ids).items()}

    def alone() -> dict[str, object]:
        return {
            image_id: store.get_many(_KEY, [image_id])[image_id].cosine
            for image_id in signals.image_ids
        }

    return Contest(
        (
            Way("product", "all at once", together),
            Way("naive", "picture by picture", alone),
            Way("floor", "the same bytes from a file", raw.read_bytes),
        ),
        _require_same,
    )


def _require_same(product: Any, naive: Any) -> None:
    assert isinstance(product, dict)
    assert isinstance(naive, dict)
    assert product.keys() == naive.keys()
    for image_id, values in product.items():
        np.testing.assert_array_equal(values, naive[image_id])


WRITE = Case("writing signals of ten views", "pictures", (64, 640, 6400), (64,), _write)
READ = Case("reading signals of ten views", "pictures", (100, 1000, 10_000), (100,), _read)
