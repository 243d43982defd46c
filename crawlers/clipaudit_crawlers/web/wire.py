"""The socket below a request: one limit on all of its time, and keys that only it sees.

A time-out of a socket starts anew with every byte, so a server that sends one now and then holds
a reader for ever, in the headers as in the body. Here each read gets what is left of the whole.

What is asked for carries marks in the place of keys (`redaction.py`). They are turned back as the
request line and the headers are sent; urllib3, which logs URLs and puts them into exceptions,
knows the marks alone.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


class Clock:
    """How long a request may still take; waits for others do not count."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 or less where its time is over."""
        return self._ends_at - time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block whose time does not count."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._ends_at += time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the request that a thread is at.

    Attributes:
        clock: How long all of it may take.
        read_timeout_s: How long the next piece may take.
        revealed: A text with its keys in the place of marks.
    """

    clock: Clock
    read_timeout_s: float
    revealed: Callable[[str], str]


_TERMS: ContextVar[Terms] = ContextVar("terms")


@contextmanager
def under(terms: Terms) -> Iterator[None]:
    """A block whose requests go by these terms."""
    token = _TERMS.set(terms)
    try:
        yield
    finally:
        _TERMS.reset(token)


class _TimedReads(RawIOBase):
    """What comes from a socket, as long as there is time for it."""

    def __init__(self, incoming: RawIOBase, sock: socket.socket) -> None:
        self._incoming = incoming
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        terms = _TERMS.get()
        left_s = terms.clock.left_s
        if left_s <= 0:
            raise TimeoutError("no time is left for this request")
        self._sock.settimeout(min(left_s, terms.read_timeout_s))
        return self._incoming.readinto(buffer)

    def close(self) -> None:
        self._incoming.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = BufferedReader(_TimedReads(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        # urllib3 logs what is no header, and a server may send our own key back as such.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _Connection(HTTPConnection):
    response_class = _Response

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        super().putrequest(method, _TERMS.get().revealed(url), *args, **options)

    def putheader(self, header: str, *values: Any) -> None:  # type: ignore[override] # urllib3's
        revealed = _TERMS.get().revealed
        texts = (revealed(value) if isinstance(value, str) else value for value in values)
        super().putheader(header, *texts)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}
"""For the `pool_classes_by_scheme` of a urllib3 `PoolManager`."""
