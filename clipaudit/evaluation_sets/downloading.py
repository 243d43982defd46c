"""One record → its picture, kept in the set's folder, or why there is none."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from clipaudit_crawlers.fetch import Download, DownloadFailed

from clipaudit.evaluation_sets.folder import Failed, Fetched, Outcome
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.reading import content_id, read_file

if TYPE_CHECKING:
    from clipaudit_crawlers.base import ImageRecord
    from clipaudit_crawlers.fetch import Web

    from clipaudit.evaluation_sets.folder import SetFolder
    from clipaudit.pictures.base import Reason
    from clipaudit.pictures.decoder_pool import DecoderPool


_WORDS: dict[Reason, str] = {"timeout": "decoding-timeout", "changed": "changed-while-read"}
"""Reasons whose own word means another thing for a download."""

_MEANINGS: dict[Reason, str] = {
    "missing": "there is no file any more, or a link that leads to nothing",
    "unreadable": "the system does not let us read its file; look at the permissions",
    "outside": "a link that leads out of the folder that was named",
    "not_a_file": "a pipe, a socket, a device or a folder in the place of a file",
    "changed": "its file was written to while it was read; run it again",
    "empty": "its file has no bytes",
    "too_large": "larger than a picture has to be, or unpacks to more",
    "too_many_pixels": "it has more pixels than are decoded",
    "not_an_image": "a page or another file in the place of a picture",
    "unsupported": "a picture of a kind that is not read",
    "truncated": "its file ends too early: it was cut off while it was copied or sent",
    "corrupt": "its file is damaged, or not what its first bytes promise",
    "out_of_memory": "decoding it needs more memory than one picture may take",
    "timeout": "decoding it took longer than one picture may take",
    "decoder_crashed": "the decoder fell over it",
    "no_embedding": "the encoder makes nothing usable of it",
}
DECODING = {
    _WORDS.get(reason, reason.replace("_", "-")): meaning for reason, meaning in _MEANINGS.items()
}
"""Why a file that came gave no picture, as `Failed.reason` → what that means."""


@dataclass(frozen=True, slots=True, eq=False)
class Downloader:
    """Downloads, decodes and keeps pictures; called from several threads.

    Attributes:
        folder: Where they are kept; what came before is not asked for again.
        web: The way to the network.
        pool: Decodes in processes of their own.
        limits: How much one file may cost.
        ask_robots: Whether robots.txt of each host is honoured.
        retry_transient: Whether what failed before for a passing reason is tried again.
    """

    folder: SetFolder
    web: Web
    pool: DecoderPool
    limits: Limits
    ask_robots: bool
    retry_transient: bool

    def __call__(self, record: ImageRecord) -> Outcome:
        """How the download of a record ended, now or in an earlier run.

        Raises:
            DeferredError: The host asks to wait longer than a run should.
            FileError: The disk is full.
        """
        known = self.folder.outcome(record.image_url)
        if isinstance(known, Fetched):
            return known
        if known is not None and not (known.is_transient and self.retry_transient):
            return known
        outcome, data = self._fetch(record.image_url)
        self.folder.keep(outcome, data)
        return outcome

    def _fetch(self, url: str) -> tuple[Outcome, bytes | None]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        data = b""
        try:
            came = self._read(url)
            data = came.data
            picture = self.pool.submit(data).result()
        except DownloadFailed as failed:
            outcome = Failed(
                url=url,
                reason=failed.reason,
                explanation=failed.explanation,
                is_transient=failed.is_transient,
                n_bytes=0,
                status=failed.status,
                at=at,
            )
            return outcome, None
        except BadImage as bad:
            outcome = Failed(
                url=url,
                reason=_WORDS.get(bad.reason, bad.reason.replace("_", "-")),
                explanation=str(bad),
                is_transient=False,
                n_bytes=len(data),
                status=None,
                at=at,
            )
            return outcome, None
        fetched = Fetched(
            url=url,
            sha256=content_id(data),
            md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            n_bytes=len(data),
            format=picture.format,
            width_px=picture.width_px,
            height_px=picture.height_px,
            phash=f"{picture.facts.phash:016x}",
            final_url=came.url,
            status=came.status or None,
            content_type=came.content_type,
            etag=came.etag,
            last_modified=came.last_modified,
            at=at,
        )
        return fetched, data

    def _read(self, url: str) -> Download:
        if not url.startswith("file:"):
            return self.web.download(url, ask_robots=self.ask_robots)
        path = os.fsdecode(unquote_to_bytes(urlsplit(url).path))
        return Download(read_file(path, self.limits), 0, url)
