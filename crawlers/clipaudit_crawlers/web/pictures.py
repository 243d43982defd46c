"""Pictures: whatever bytes are behind a URL, where nobody minds that they are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clipaudit_crawlers.web.client import Ask
from clipaudit_crawlers.web.failures import Broken, is_passing
from clipaudit_crawlers.web.hosts import Turn
from clipaudit_crawlers.web.opt_outs import opt_out
from clipaudit_crawlers.web.patience import bad_status
from clipaudit_crawlers.web.robots import MOST_BYTES, Robots

if TYPE_CHECKING:
    from clipaudit_crawlers.web.client import Client
    from clipaudit_crawlers.web.config import WebConfig
    from clipaudit_crawlers.web.patience import Patience
    from clipaudit_crawlers.web.redaction import Keys
    from clipaudit_crawlers.web.wire import Clock

ONE_AT_A_TIME = frozenset({"upload.wikimedia.org"})
"""Hosts that want one download at a time. Source: mediawiki.org, Wikimedia APIs/Rate limits."""

_PICTURES, _ROBOTS = "pictures", "robots.txt"


@dataclass(frozen=True, slots=True)
class Download:
    """The bytes of a picture as they came, and what was said with them.

    Attributes:
        data: The body.
        status: The HTTP status.
        url: Where it came from in the end, after redirects.
        content_type: As the server said; nothing relies on it.
        etag: As the server said.
        last_modified: As the server said.
    """

    data: bytes
    status: int
    url: str
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None


class Pictures:
    """Downloads; safe to use from several threads."""

    def __init__(self, config: WebConfig, client: Client, patience: Patience, keys: Keys) -> None:
        self._config = config
        self._client = client
        self._patience = patience
        self._keys = keys
        self._robots = Robots(self._robots_txt)

    def download(self, url: str, *, ask_robots: bool) -> Download:
        """See `Web.download`.

        Raises:
            Broken: No picture came.
            DeferredError: A host asks to wait longer than a run should.
        """
        ask = Ask(
            url=url,
            turn=partial(self._turn, ask_robots=ask_robots),
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
        )
        return self._patience.over(_PICTURES, partial(self._attempt, ask))

    def _attempt(self, ask: Ask, clock: Clock) -> Download:
        with self._client.opened(ask, clock) as came:
            if came.status != HTTPStatus.OK:
                raise bad_status(came)
            words = opt_out(
                came.headers.getlist("X-Robots-Tag"), came.headers.getlist("tdm-reservation")
            )
            if words is not None and self._config.honour_opt_outs:
                raise Broken("opted-out", f"{came.host} says {words}", host=came.host)
            return Download(
                data=came.read(self._config.most_image_bytes),
                status=came.status,
                url=self._keys.hidden(self._keys.revealed(came.url)),
                content_type=came.headers.get("Content-Type"),
                etag=came.headers.get("ETag"),
                last_modified=came.headers.get("Last-Modified"),
            )

    def _turn(self, url: str, *, ask_robots: bool) -> Turn:
        host = urlsplit(url).hostname or ""
        delay_s = self._robots.delay_s(url) if ask_robots else 0.0
        at_once = 1 if host in ONE_AT_A_TIME else self._config.per_host
        return Turn(host, _PICTURES, at_once, min(delay_s, self._config.longest_crawl_delay_s))

    def _robots_txt(self, url: str) -> str:
        """The text of a robots.txt, empty where the host has none.

        Raises:
            Broken: It cannot be read for now.
        """
        ask = Ask(
            url=url,
            turn=lambda url: Turn(urlsplit(url).hostname or "", _ROBOTS),
            headers={"Accept": "text/plain", "Accept-Encoding": "gzip"},
        )

        def attempt(clock: Clock) -> str:
            with self._client.opened(ask, clock) as came:
                if came.status == HTTPStatus.OK:
                    body = came.read(MOST_BYTES, rest_is_dropped=True)
                    return body.decode("utf-8-sig", "replace")
                if came.status < HTTPStatus.BAD_REQUEST or is_passing(came.status):
                    raise bad_status(came)
            return ""

        return self._patience.over(_ROBOTS, attempt)
