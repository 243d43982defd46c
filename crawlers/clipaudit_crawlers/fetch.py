"""The one way to the network: polite, bounded, addresses checked, keys hidden."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlencode, urlsplit

from clipaudit.errors import SourceError
from clipaudit_crawlers.web.answers import ANSWERS, Answers
from clipaudit_crawlers.web.client import Ask, Client
from clipaudit_crawlers.web.failures import (
    REASONS,
    Broken,
    DeferredError,
    DownloadFailed,
    RefusedError,
    TryAgain,
)
from clipaudit_crawlers.web.hosts import Turn, Turns
from clipaudit_crawlers.web.patience import Patience
from clipaudit_crawlers.web.pictures import Download, Pictures
from clipaudit_crawlers.web.redaction import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = [
    "REASONS",
    "DeferredError",
    "Download",
    "DownloadFailed",
    "PageArchive",
    "RefusedError",
    "TryAgain",
    "Web",
    "WebConfig",
    "archive_key",
]

_NO_KEYS = frozenset({"grant_type", "scope", "token_type", "expires_in"})
"""Fields of a form, and of its answer, that hold no key. Source: RFC 6749."""


class PageArchive(Protocol):
    """Answers that were read before, so that a run goes on, and repeats, without asking."""

    def read(self, key: str) -> bytes | None:
        """The answer that was kept under a key, or None."""
        ...

    def write(self, key: str, answer: bytes) -> None:
        """Keep an answer; nobody ever reads half of one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Limits and manners.

    Attributes:
        user_agent: With a way to reach whoever runs it, as some services ask for.
        connect_timeout_s: For a connection.
        read_timeout_s: Between two pieces of an answer.
        total_timeout_s: For one request with its redirects and repetitions, whatever comes; waits
            that a host asks for, and those for one's turn, do not count.
        least_bytes_per_s: A body that comes more slowly is given up.
        slow_grace_s: For so long it may.
        most_image_bytes: A larger file is given up while it comes.
        most_answer_bytes: The same for an answer in JSON, after unpacking.
        longest_wait_s: A service that asks to wait longer is left for a later run.
        longest_crawl_delay_s: Of what robots.txt asks for between two downloads, so much is kept.
        tries: How often a request is sent at most.
        backoff_s: Wait before the second try, where the host does not say; it doubles each time.
        per_host: Downloads from one host at a time.
        most_redirects: A longer chain is given up.
        ports: Where connections may go.
        allow_private: Whether addresses of this machine and of private networks, and ports of any
            number, may be asked; or networks of this machine that may be asked on `ports`, such
            as `("127.0.0.1/32",)`.
        ca_bundle: Certificates to trust instead of those of the `certifi` package.
        honour_opt_outs: Whether pictures that say no to machine learning are left out.
        offline: Whether only kept answers are used; no socket is opened.
    """

    user_agent: str = "clipaudit (membership inference audits)"
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    least_bytes_per_s: int = 1024
    slow_grace_s: float = 5.0
    most_image_bytes: int = 30_000_000
    most_answer_bytes: int = 20_000_000
    longest_wait_s: float = 120.0
    longest_crawl_delay_s: float = 30.0
    tries: int = 4
    backoff_s: float = 1.0
    per_host: int = 2
    most_redirects: int = 5
    ports: tuple[int, ...] = (80, 443)
    allow_private: bool | tuple[str, ...] = False
    ca_bundle: Path | None = None
    honour_opt_outs: bool = True
    offline: bool = False


class Web:
    """What sources and pipelines reach the network with; safe to use from several threads."""

    def __init__(
        self,
        config: WebConfig = WebConfig(),
        archive: PageArchive | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        """`secrets` are struck out of everything that is kept, logged or raised."""
        self.config = config
        self._archive = archive
        self._keys = Keys(secrets)
        self._turns = Turns(config.longest_wait_s)
        self._client = Client(config, self._keys, self._turns)
        patience = Patience(config, self._turns)
        self._answers = Answers(config, self._client, patience, self._keys)
        self._pictures = Pictures(config, self._client, patience, self._keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections, wake threads that wait, and let nobody ask any more."""
        self._turns.stop()
        self._client.close()

    def get_json(
        self,
        service: str,
        url: str,
        params: Mapping[str, str],
        *,
        secret_params: Mapping[str, str] | None = None,
        secret_headers: Mapping[str, str] | None = None,
        check: Callable[[Any], None] | None = None,
        interval_s: float = 0.0,
    ) -> Any:
        """The answer to a GET request, as parsed JSON; a kept one where there is one.

        Keys that the service sends back are struck out of the answer, kept or not.

        Args:
            service: Its name, for messages.
            url: Of the endpoint, without a query.
            params: The query, as far as it may be seen.
            secret_params: The rest of the query: neither kept nor shown, no part of the key of
                the archive.
            secret_headers: Headers with keys, likewise.
            check: Looks at an answer before it is kept, and raises `SourceError` where it is an
                error in the dress of an answer, or `TryAgain`.
            interval_s: Least time between two requests to this service.

        Raises:
            RefusedError: The status was 400 or above, and no wait helped.
            DeferredError: It asks to wait longer than `WebConfig.longest_wait_s`, or is still
                busy after `WebConfig.tries`.
            SourceError: No network, time-out, no JSON, too large, or offline and not kept.
        """
        key = archive_key(url, params)
        kept = None if self._archive is None else self._archive.read(key)
        if kept is not None:
            return json.loads(kept)
        if self.config.offline:
            asked = self._keys.hidden(f"{url}?{urlencode(params)}")
            raise SourceError(
                f"offline, and no earlier run kept what {service} answers to {asked}",
                "Run it once without --offline; from then on it works offline.",
            )
        secret_params, secret_headers = secret_params or {}, secret_headers or {}
        self._know(service, secret_params, secret_headers)
        query = urlencode({**params, **secret_params})
        ask = Ask(
            url=f"{url}?{query}" if query else url,
            turn=lambda url: Turn(_host(url), ANSWERS, interval_s=interval_s),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            key_headers=secret_headers,
        )
        answer = self._answers.ask(service, ask, check)
        if self._archive is not None:
            self._archive.write(key, json.dumps(answer).encode())
        return answer

    def post_form(self, service: str, url: str, fields: Mapping[str, str]) -> Any:
        """The answer to a form that is sent; it is not kept, and all of it counts as secret.

        Raises:
            RefusedError: The status was 400 or above.
            DeferredError: The service asks to wait longer than `WebConfig.longest_wait_s`.
            SourceError: No network, time-out, no JSON, too large, or offline.
        """
        if self.config.offline:
            raise SourceError(
                f"offline, and {service} would have to be asked for a token",
                "Run it without --offline.",
            )
        self._keys.add(*_keys_in(fields))
        ask = Ask(
            url=url,
            turn=lambda url: Turn(_host(url), ANSWERS),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            form=fields,
        )
        answer = self._answers.ask(service, ask)
        if isinstance(answer, dict):
            self._keys.add(*_keys_in(answer))
        return answer

    def download(self, url: str, *, ask_robots: bool = False) -> Download:
        """The bytes behind a URL, whatever they are.

        Args:
            url: `http` or `https`.
            ask_robots: Whether robots.txt of the host is read and honoured.

        Raises:
            DownloadFailed: For any reason that lies in this one picture.
            DeferredError: Its host asks to wait longer than a run should.
        """
        if self.config.offline:
            raise DownloadFailed("offline", REASONS["offline"], is_transient=True)
        try:
            return self._pictures.download(url, ask_robots=ask_robots)
        except Broken as broken:
            failed = DownloadFailed(
                broken.reason,
                self._keys.hidden(broken.explanation),
                is_transient=broken.is_transient,
                status=broken.status,
            )
        raise failed

    def _know(self, service: str, params: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Know keys before they are used.

        Raises:
            SourceError: One of them cannot be sent.
        """
        for value in (*params.values(), *headers.values()):
            if not (value.isascii() and value.isprintable()):
                raise SourceError(
                    f"the key for {service} has characters in it that no key has",
                    "Look at the variable that holds it: a line break, a quotation mark or an "
                    "ellipsis may have come in with it.",
                )
            # A service may send `Bearer abc` back without the first word.
            self._keys.add(value, value.rpartition(" ")[2])


def archive_key(url: str, params: Mapping[str, str]) -> str:
    """Under what an answer is kept: 64 hex digits, whatever the order of the parameters."""
    return hashlib.sha256(f"{url}?{urlencode(sorted(params.items()))}".encode()).hexdigest()


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _keys_in(fields: Mapping[str, Any]) -> list[str]:
    return [
        value for name, value in fields.items() if isinstance(value, str) and name not in _NO_KEYS
    ]
