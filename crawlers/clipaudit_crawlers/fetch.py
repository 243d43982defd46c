"""The one way to the network: polite, bounded, addresses checked, keys hidden."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlencode, urlsplit

from clipaudit.errors import SourceError
from clipaudit_crawlers.web.answers import ANSWERS, Answers, parsed
from clipaudit_crawlers.web.client import Ask, Client
from clipaudit_crawlers.web.config import WebConfig
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

__all__ = [
    "REASONS",
    "DeferredError",
    "Download",
    "DownloadFailed",
    "PageArchive",
    "RefusedError",
    "TryAgain",
    "Web",
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
        check: Callable[[Any], object] | None = None,
        interval_s: float = 0.0,
    ) -> Any:
        """The answer to a GET request, as parsed JSON; a kept one where there is one.

        Keys that the service sends back are struck out of the answer, kept or not.

        Args:
            service: Its name, for messages.
            url: Address of the endpoint, without a query.
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
            with suppress(ValueError, RecursionError):  # whoever had the folder may have broken it
                return parsed(kept)
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
