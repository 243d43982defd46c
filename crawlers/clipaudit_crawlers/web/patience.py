"""Asking again: when that may help, after how long, and when it is enough."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from clipaudit_crawlers.web.failures import Broken, deferred, is_passing
from clipaudit_crawlers.web.hosts import retry_after_s
from clipaudit_crawlers.web.wire import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipaudit_crawlers.web.client import Came
    from clipaudit_crawlers.web.config import WebConfig
    from clipaudit_crawlers.web.hosts import Turns

T = TypeVar("T")


class Patience:
    """Repeats what came to nothing; safe to use from several threads."""

    def __init__(self, config: WebConfig, turns: Turns) -> None:
        self._config = config
        self._turns = turns

    def over(self, purpose: str, attempt: Callable[[Clock], T]) -> T:
        """What an attempt gives in the end; all attempts go by one clock.

        Args:
            purpose: Names the queue, one for each host: a wait that a host asks for holds for all
                who stand in it.
            attempt: Asks once.

        Raises:
            Broken: As the last attempt.
            DeferredError: The host asks to wait longer than a run should.
        """
        clock = Clock(self._config.total_timeout_s)
        backoff_s = self._config.backoff_s
        tries_left = self._config.tries
        while True:
            try:
                return attempt(clock)
            except Broken as broken:
                failed = broken
            tries_left -= 1
            asked_s = failed.wait_s or 0.0
            wait_s = max(asked_s, backoff_s)
            if failed.wait_s is not None or failed.status == HTTPStatus.TOO_MANY_REQUESTS:
                self._turns.hold(failed.host, purpose, wait_s)
            if asked_s > self._config.longest_wait_s:
                raise deferred(failed.host, asked_s)
            if not (failed.is_worth_repeating and tries_left > 0 and clock.left_s > 0):
                raise failed
            with clock.paused():
                self._turns.sleep(wait_s, failed.host)
            backoff_s *= 2


def bad_status(came: Came, body: bytes = b"", *, may_repeat: bool = True) -> Broken:
    """What a status means that is not the one that was hoped for.

    Args:
        came: The head of the answer.
        body: What came of the rest, where anybody wants it.
        may_repeat: Whether the request may be sent twice.
    """
    passing = is_passing(came.status)
    return Broken(
        f"http-{came.status}",
        f"{came.host} answers {status_words(came.status)}",
        host=came.host,
        is_transient=passing,
        is_worth_repeating=passing and may_repeat,
        wait_s=retry_after_s(came.headers.get("Retry-After")) if passing else None,
        status=came.status,
        body=body,
    )


def status_words(status: int) -> str:
    """A status for people: `404 (Not Found)`."""
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)
