"""Errors of the libraries and the system below us → what happened, in our words."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import requests
import urllib3
from requests_hardened.ip_filter import InvalidIPAddress  # type: ignore[import-untyped] # no py.typed
from urllib3.util.ssl_match_hostname import CertificateError

from clipaudit_crawlers.web.failures import Broken, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit_crawlers.web.config import WebConfig
    from clipaudit_crawlers.web.wire import Clock

T = TypeVar("T")

_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN}

_NO_ADDRESS = "getaddrinfo returns an empty list"
"""What urllib3 says, as an `OSError`, of a resolver that gives none and no error either."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One host that is asked on the way to an answer.

    Attributes:
        host: Its name.
        clock: Clock of the whole request.
        config: Its limits.
        may_repeat: Whether the request may be sent twice once the host has seen it.
    """

    host: str
    clock: Clock
    config: WebConfig
    may_repeat: bool

    def broken(self, reason: str, what: str, **more: Any) -> Broken:
        """A finding about this host."""
        return Broken(reason, f"{self.host} {what}", host=self.host, **more)

    def explained(self, call: Callable[[], T]) -> T:
        """What a call of the libraries gives; their errors are dropped once they are understood.

        Raises:
            Broken: In the place of any of their errors.
        """
        try:
            return call()
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
        ) as error:
            broken = self._finding(list(_causes(error)))
        raise broken  # out here, it does not drag along an error that holds what a server sent

    def _finding(self, causes: list[BaseException]) -> Broken:
        def is_any(*types: type[BaseException]) -> bool:
            return any(isinstance(cause, types) for cause in causes)

        if is_any(InvalidIPAddress):
            return self.broken("address-refused", "is an address of a private network")
        if is_any(socket.gaierror) or any(str(cause) == _NO_ADDRESS for cause in causes):
            return self.broken("unknown-host", "cannot be found", is_transient=True)
        if is_any(urllib3.exceptions.ClosedPoolError):
            return self.broken("stopped", "is not asked any more", is_transient=True)
        if is_any(ssl.SSLCertVerificationError, CertificateError):
            return self.broken("tls", "has no certificate for its name that is trusted")
        if self.clock.left_s <= 0 or is_any(TimeoutError, urllib3.exceptions.ReadTimeoutError):
            return self._timeout()
        if is_any(ssl.SSLError):
            return self.broken("tls", "breaks off while TLS is agreed on", is_transient=True)
        if is_any(ConnectionRefusedError):
            return self.broken(
                "unreachable", "refuses connections", is_transient=True, is_worth_repeating=True
            )
        if is_any(ConnectionError, http.client.IncompleteRead):
            return self.broken(
                "unreachable",
                "drops the connection",
                is_transient=True,
                is_worth_repeating=self.may_repeat,
            )
        if any(getattr(cause, "errno", None) in _NO_WAY for cause in causes):
            return self.broken("unreachable", "cannot be reached from here", is_transient=True)
        if is_any(UnicodeError, urllib3.exceptions.LocationParseError):
            return self.broken("bad-url", "is no name of a host")
        return self.broken("protocol", "answers what is not HTTP")

    def _timeout(self) -> Broken:
        is_all = self.clock.left_s <= 0
        limit_s = self.config.total_timeout_s if is_all else self.config.read_timeout_s
        what = "took more than" if is_all else "was silent for more than"
        return self.broken("timeout", f"{what} {duration(limit_s)}", is_transient=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, those that it wraps, and those that it came from."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [
                *cause.args,
                getattr(cause, "reason", None),
                cause.__cause__,
                cause.__context__,
            ]
