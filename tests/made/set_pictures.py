"""Records and pictures made up for tests of what is done with them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from clipaudit_crawlers.base import ImageRecord

from clipaudit.evaluation_sets.collecting import Picture
from clipaudit.evaluation_sets.folder import Failed, Fetched

NO_WEB: Any = None
"""The way to the network of a source that asks nobody."""


def record(name: str, **said: str | int | None) -> ImageRecord:
    """A record of a source called `test`."""
    url = f"https://pictures.test/{name}.jpg"
    return ImageRecord(source="test", source_id=name, image_url=url, **said)  # type: ignore[arg-type]


def fetched(name: str, *, like: str | None = None, n_bytes: int = 1000) -> Fetched:
    """What came for `record(name)`; to the eye the same as what came for `record(like)`."""
    seen = np.random.default_rng(int(hashlib.md5((like or name).encode()).hexdigest(), 16))
    return Fetched(
        url=f"https://pictures.test/{name}.jpg",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        md5=hashlib.md5(name.encode()).hexdigest(),
        n_bytes=n_bytes,
        format="JPEG",
        width_px=640,
        height_px=480,
        phash=f"{int(seen.integers(0, 2**64, dtype=np.uint64)):016x}",
        final_url=f"https://pictures.test/{name}.jpg",
        status=200,
        content_type="image/jpeg",
        etag=None,
        last_modified=None,
        at="2026-11-01T00:00:00+00:00",
    )


def failed(name: str, reason: str, *, is_transient: bool = False) -> Failed:
    """What did not come for `record(name)`."""
    return Failed(
        url=f"https://pictures.test/{name}.jpg",
        reason=reason,
        explanation=f"{reason}, they say",
        is_transient=is_transient,
        n_bytes=0,
        status=None,
        at="2026-11-01T00:00:00+00:00",
    )


def picture(name: str, keyword: str = "otter", rank: int = 1) -> Picture:
    """A picture that was accepted."""
    return Picture(record(name), fetched(name), keyword, rank)
