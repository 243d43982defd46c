"""Decoding: files of a camera's kind to the square that an encoder takes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cases.pictures import SIDE, make_jpegs
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.pictures.base import Frame, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.preparing import Wanted

_FRAME = Frame(SIDE, "bicubic")


def _prepare(size: int, place: Workplace) -> Contest:
    files = [path.read_bytes() for path in make_jpegs(place.folder / "jpegs", size, 1600, 1200)]
    n_cores = os.cpu_count() or 1
    pool = place.stack.enter_context(DecoderPool(n_cores, Limits()))
    threads = place.stack.enter_context(ThreadPoolExecutor(n_cores))

    def product() -> list[object]:
        futures = [pool.submit(data, Wanted((_FRAME,))) for data in files]
        return [future.result().images[_FRAME] for future in futures]

    def naive() -> list[object]:
        side = (SIDE, SIDE)
        return [
            np.asarray(
                Image.open(BytesIO(data)).convert("RGB").resize(side, Image.Resampling.BICUBIC)
            )
            for data in files
        ]

    def load(data: bytes) -> None:
        Image.open(BytesIO(data)).load()

    return Contest(
        (
            Way("product", "a pool of processes, with hash", product),
            Way("naive", "Pillow, one after another", naive),
            Way(
                "floor",
                "Pillow's JPEG decoder alone, on all cores",
                lambda: [*threads.map(load, files)],
            ),
        ),
        _require_same,
    )


def _require_same(product: Any, naive: Any) -> None:
    np.testing.assert_array_equal(np.stack(product), np.stack(naive))


CASE = Case("JPEGs of 1600 × 1200 → 224 × 224", "pictures", (8, 32, 96), (4,), _prepare)
