"""Who may ask a host, and when: so many at a time, so far apart, and not before it allows it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from clipaudit_crawlers.web.failures import Broken, deferred

if TYPE_CHECKING:
    from collections.abc import Iterator


_RETRY_AFTER = Retry(retry_after_max=sys.maxsize)
"""urllib3 reads the header; to wait, it would sleep with the connection open and whatever comes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A place in a line before a host.

    Attributes:
        host: Who is asked.
        purpose: Requests with another one stand in another line.
        at_once: How many of a line are served at a time; the first of a line decides.
        interval_s: Least time from this one to the next of its line.
    """

    host: str
    purpose: str
    at_once: int = 1
    interval_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Line:
    places: BoundedSemaphore
    next_at: float = 0.0
    held_until: float = 0.0


def retry_after_s(value: str | None) -> float | None:
    """What a `Retry-After` header asks for, in seconds from now; None where it makes no sense.

    It may hold seconds or an HTTP date; one that is past makes 0.
    """
    if value is None:
        return None
    try:
        return _RETRY_AFTER.parse_retry_after(value)
    except (InvalidHeader, ValueError, OverflowError):
        return None


class Turns:
    """The lines before all hosts; safe to use from several threads."""

    def __init__(self, longest_wait_s: float) -> None:
        self._longest_wait_s = longest_wait_s
        self._stopped = Event()
        self._lock = Lock()
        self._lines: dict[tuple[str, str], _Line] = {}

    @contextmanager
    def taken(self, turn: Turn) -> Iterator[None]:
        """A block that is entered when it is one's turn.

        Raises:
            DeferredError: The host wants nobody for longer than `longest_wait_s`.
            Broken: `stopped`.
        """
        line = self._line(turn)
        with line.places:
            while True:
                wait_s = self._wait_s(line, turn)
                self.sleep(wait_s, turn.host)
                if not wait_s:
                    break
            yield

    def hold(self, host: str, purpose: str, seconds: float) -> None:
        """Let nobody of a line that was there before ask for so long."""
        with self._lock:
            line = self._lines[host, purpose]
            line.held_until = max(line.held_until, time.monotonic() + seconds)

    def sleep(self, seconds: float, host: str) -> None:
        """Wait.

        Raises:
            Broken: `stopped`, before or while it waited.
        """
        if self._stopped.wait(seconds):
            raise Broken("stopped", "the run ended before it came", host=host, is_transient=True)

    def stop(self) -> None:
        """Wake all who wait, and let nobody ask any more."""
        self._stopped.set()

    def _line(self, turn: Turn) -> _Line:
        with self._lock:
            key = (turn.host, turn.purpose)
            if key not in self._lines:
                self._lines[key] = _Line(BoundedSemaphore(turn.at_once))
            return self._lines[key]

    def _wait_s(self, line: _Line, turn: Turn) -> float:
        """How long to wait before asking again; 0 where it is one's turn, which then is taken."""
        with self._lock:
            now = time.monotonic()
            if line.held_until - now > self._longest_wait_s:
                raise deferred(turn.host, line.held_until - now)
            wait_s = max(line.next_at, line.held_until) - now
            if wait_s > 0:
                return wait_s
            line.next_at = now + turn.interval_s
            return 0.0
