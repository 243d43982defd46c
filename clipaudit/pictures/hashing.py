"""Scored pictures → perceptual hashes: which of them are the same to the eye."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.near_duplicates import perceptual_hash
from clipaudit.pictures.reading import content_id, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from clipaudit.pictures.decoding import Prepared
    from clipaudit.results.audit import Row

_SIDE_PX = 64
"""The hash looks at 32 × 32 pixels of it."""
_AHEAD = 256


def perceptual_hashes(rows: Iterable[Row], limits: Limits, n_workers: int) -> dict[str, int]:
    """The hash of each scored picture by its SHA-256, each decoded once, in the workers.

    A file that changed since it was scored, or cannot be read any more, has none.
    """
    paths = {row.sha256: row.path for row in rows if row.status == "ok" and row.sha256}
    hashes: dict[str, int] = {}
    waiting: deque[tuple[str, Future[Prepared]]] = deque()

    def take() -> None:
        one, picture = waiting.popleft()
        with suppress(BadImage):
            hashes[one] = perceptual_hash(picture.result().image)

    with DecoderPool(n_workers, _SIDE_PX, "bilinear", limits) as pool:
        for one, path in paths.items():
            with suppress(BadImage):
                data = read_file(path, limits)
                if content_id(data) == one:
                    waiting.append((one, pool.submit(data)))
            if len(waiting) > _AHEAD:
                take()
        while waiting:
            take()
    return hashes
