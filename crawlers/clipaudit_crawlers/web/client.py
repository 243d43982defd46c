"""One request with its redirects: every hop checked, and nothing read without a limit."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import requests
import urllib3

from clipaudit.errors import SourceError
from clipaudit_crawlers.web.addresses import SCHEMES, adapters, prepared
from clipaudit_crawlers.web.failures import duration
from clipaudit_crawlers.web.mishaps import Hop
from clipaudit_crawlers.web.wire import Clock, Terms, under

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

    from clipaudit_crawlers.web.config import WebConfig
    from clipaudit_crawlers.web.hosts import Turn, Turns
    from clipaudit_crawlers.web.redaction import Keys

_PIECE = 65_536
_ENCODINGS = {"", "identity", "gzip", "x-gzip", "deflate"}
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to ask, and on what terms.

    Attributes:
        url: Where.
        turn: Called with every URL of a chain of redirects before it is asked: which line to
            stand in; may raise `Broken` instead.
        headers: Sent to every host of the chain.
        key_headers: Sent to the first host alone.
        form: Sent by POST, where there is one; then no redirect is followed.
    """

    url: str = field(repr=False)
    turn: Callable[[str], Turn]
    headers: Mapping[str, str]
    key_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)


class Came:
    """The head of an answer, whose body was not read yet.

    Attributes:
        url: Who answered, after redirects; keys in it are marked.
        host: Host of that URL.
        status: The HTTP status.
        headers: As they came.
    """

    def __init__(self, url: str, hop: Hop, raw: urllib3.HTTPResponse) -> None:
        self.url = url
        self.host = hop.host
        self.status = raw.status
        self.headers = raw.headers
        self._hop = hop
        self._raw = raw

    def redirect(self) -> str | None:
        """Where the answer sends on to, or None."""
        location = self.headers.get("Location")
        if self.status not in _REDIRECTS or location is None:
            return None
        # http.client reads headers as Latin-1, which they seldom are.
        location = location.encode("latin-1", "replace").decode("utf-8", "replace")
        try:
            return urljoin(self.url, location)
        except ValueError:
            return location  # it is no address, and will be refused as that

    def read(self, most_bytes: int, *, rest_is_dropped: bool = False) -> bytes:
        """The body, unpacked.

        Args:
            most_bytes: More than that is not read.
            rest_is_dropped: Whether a longer body is cut there, rather than refused.

        Raises:
            Broken: It is too large, too slow, took too long or came in part, or is packed as
                nobody asked.
        """
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise self._hop.broken("protocol", "packs its answer in a way that nobody asked for")
        announced = self._raw.length_remaining or 0
        if announced <= most_bytes or rest_is_dropped:
            data = self._hop.explained(lambda: self._read(most_bytes))
            if len(data) <= most_bytes or rest_is_dropped:
                return data[:most_bytes]
        raise self._hop.broken("too-large", f"sends more than {most_bytes:,} bytes")

    def close(self) -> None:
        """Leave the rest; a connection whose answer was read to the end stays open for another."""
        self._raw.close()

    def _read(self, most_bytes: int) -> bytes:
        """The body; where it is longer, at least one byte more than was asked for."""
        data = bytearray()
        started = time.monotonic()
        while len(data) <= most_bytes and (piece := self._raw.read1(_PIECE, decode_content=True)):
            data += piece
            self._check_speed(time.monotonic() - started)
        return bytes(data)

    def _check_speed(self, seconds: float) -> None:
        config = self._hop.config
        came, least = self._raw.tell(), config.least_bytes_per_s
        is_early = seconds < config.slow_grace_s or self._raw.length_remaining == 0
        if not is_early and came < least * seconds:
            what = f"sends {came:,} bytes in {duration(seconds)}, fewer than {least:,} a second"
            raise self._hop.broken("too-slow", what, is_transient=True)


class Client:
    """Asks, and follows redirects; safe to use from several threads.

    It uses the adapters of requests without a session, which would keep cookies, follow redirects
    and read proxies and passwords from the environment.
    """

    def __init__(self, config: WebConfig, keys: Keys, turns: Turns) -> None:
        """See `WebConfig`.

        Raises:
            SourceError: There are no certificates where they should be.
        """
        if config.ca_bundle is not None and not config.ca_bundle.exists():
            raise SourceError(
                f"there are no certificates at {str(config.ca_bundle)!r}",
                "Name a file that holds them in PEM form.",
            )
        self._config = config
        self._keys = keys
        self._turns = turns
        self._adapters = adapters(config.allow_private)
        # Whoever runs this may be called Łukasz, but headers do not know his name.
        agent = (char if " " <= char <= "~" else "?" for char in config.user_agent)
        self._user_agent = "".join(agent)

    def close(self) -> None:
        """Close the connections that wait for another request."""
        for adapter in self._adapters.values():
            adapter.close()

    @contextmanager
    def opened(self, ask: Ask, clock: Clock) -> Iterator[Came]:
        """The last answer of a chain of redirects, with its host's turn and the clock running.

        Raises:
            Broken: No answer came, or the chain leads where nobody should go.
            DeferredError: A host of the chain wants nobody for longer than a run should wait.
        """
        url, key_headers = self._checked(ask.url), ask.key_headers
        for _ in range(self._config.most_redirects + 1):
            hop = Hop(url.hostname or "", clock, self._config, may_repeat=ask.form is None)
            with ExitStack() as stack:
                with clock.paused():
                    turn = ask.turn(url.geturl())
                    stack.enter_context(self._turns.taken(turn))
                terms = Terms(clock, self._config.read_timeout_s, self._keys.revealed)
                stack.enter_context(under(terms))
                came = Came(url.geturl(), hop, self._send(ask, url, key_headers, hop))
                stack.callback(came.close)
                location = came.redirect()
                if location is None or ask.form is not None:
                    yield came
                    return
            target = self._checked(location)
            self._check_redirect(url, target, hop)
            if not _is_same_place(url, target):
                key_headers = {}
            url = target
        raise hop.broken("redirects", f"sends on more than {self._config.most_redirects} times")

    def _checked(self, url: str) -> SplitResult:
        """The parts of a URL that may be asked, with marks in the place of keys."""
        parts = prepared(url, self._config.ports, any_port=self._config.allow_private is True)
        # Not in the name of the host: that is looked up before anything is turned back.
        path, query = self._keys.marked(parts.path), self._keys.marked(parts.query)
        return parts._replace(path=path, query=query, fragment="")

    def _check_redirect(self, before: SplitResult, after: SplitResult, hop: Hop) -> None:
        if before.scheme == "https" and after.scheme == "http":
            raise hop.broken("redirects", "sends on from https to http")
        if not _is_same_place(before, after) and self._keys.holds_mark(after.geturl()):
            raise hop.broken("redirects", "sends our key on to another host")

    def _send(
        self, ask: Ask, url: SplitResult, key_headers: Mapping[str, str], hop: Hop
    ) -> urllib3.HTTPResponse:
        marked = {name: self._keys.marked(value) for name, value in key_headers.items()}
        request = requests.Request(
            "GET" if ask.form is None else "POST",
            url.geturl(),
            {"User-Agent": self._user_agent, **ask.headers, **marked},
            data=ask.form,
        ).prepare()
        request.url = url.geturl()  # to the letter, as it was checked
        left_s = max(hop.clock.left_s, 0.001)
        timeout = (
            min(self._config.connect_timeout_s, left_s),
            min(self._config.read_timeout_s, left_s),
        )
        trusted = True if self._config.ca_bundle is None else str(self._config.ca_bundle)
        adapter = self._adapters[url.scheme]

        def send() -> urllib3.HTTPResponse:
            answer = adapter.send(request, stream=True, timeout=timeout, verify=trusted)
            raw: urllib3.HTTPResponse = answer.raw
            return raw

        return hop.explained(send)


def _is_same_place(first: SplitResult, second: SplitResult) -> bool:
    """Whether what may be said to one may be said to the other; https may follow http."""
    if first.hostname != second.hostname:
        return False
    ports = [parts.port or SCHEMES[parts.scheme] for parts in (first, second)]
    return ports[0] == ports[1] or ports == [SCHEMES["http"], SCHEMES["https"]]
