"""What may come of a request besides its answer, and what each finding means."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from clipaudit.errors import SourceError


class RefusedError(SourceError):
    """A service answered with a status of 400 or above.

    Attributes:
        status: The HTTP status.
        answer: The body as parsed JSON, or as text where it is none; keys are struck out.
    """

    def __init__(self, message: str, hint: str, status: int, answer: object) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, status, answer)
        self.status = status
        self.answer = answer


class DeferredError(SourceError):
    """A service asks to wait longer than a run should; what was fetched is kept.

    Attributes:
        host: Who asks.
        wait_s: How long, in seconds; None where it does not say.
    """

    def __init__(self, message: str, hint: str, host: str, wait_s: float | None) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, host, wait_s)
        self.host = host
        self.wait_s = wait_s


class TryAgain(Exception):  # noqa: N818 - an answer, not an error
    """Raised by a `check` of an answer: the service says that it is busy; ask again later.

    Attributes:
        said: What it says.
        wait_s: How long the service asks to wait; None where it does not say.
    """

    def __init__(self, said: str, wait_s: float | None = None) -> None:
        super().__init__(said, wait_s)
        self.said = said
        self.wait_s = wait_s


class DownloadFailed(Exception):  # noqa: N818 - a finding about a picture, not an error of the run
    """A picture did not come.

    Attributes:
        reason: A word for tables; `REASONS` explains each.
        explanation: A sentence for people.
        is_transient: Whether the same request may work later.
        status: The HTTP status, where there was one.
    """

    def __init__(
        self, reason: str, explanation: str, *, is_transient: bool, status: int | None = None
    ) -> None:
        super().__init__(reason, explanation)
        self.reason = reason
        self.explanation = explanation
        self.is_transient = is_transient
        self.status = status

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"

    def __reduce__(self) -> tuple[object, ...]:  # survives pickling from a worker
        return partial(
            DownloadFailed, is_transient=self.is_transient, status=self.status
        ), self.args


class Broken(Exception):  # noqa: N818 - becomes one of the above, as the caller sees fit
    """One request came to nothing; only the modules of `Web` see this.

    Attributes:
        reason: A word out of `REASONS`.
        explanation: What happened, without keys.
        is_transient: Whether the same request may work later.
        is_worth_repeating: Whether it may work within this run.
        host: Who was asked.
        wait_s: How long the host asks to wait; None where it does not say.
        status: The HTTP status, where there was one.
        body: What came with a status of 300 or above, where anybody wanted it.
    """

    def __init__(
        self,
        reason: str,
        explanation: str,
        *,
        host: str,
        is_transient: bool = False,
        is_worth_repeating: bool = False,
        wait_s: float | None = None,
        status: int | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(reason, explanation)
        self.reason = reason
        self.explanation = explanation
        self.is_transient = is_transient
        self.is_worth_repeating = is_worth_repeating
        self.host = host
        self.wait_s = wait_s
        self.status = status
        self.body = body


def is_passing(status: int) -> bool:
    """Whether a status speaks of the moment rather than of what was asked for."""
    return status in {408, 425, 429} or status >= 500


def deferred(host: str, wait_s: float | None) -> DeferredError:
    """The error of a host that asks to wait too long."""
    how_long = "later" if wait_s is None else f"in {duration(wait_s)}"
    return DeferredError(
        f"{host} asks to be left alone for now, and to come back {how_long}",
        f"What came so far is kept: run the same command again {how_long}.",
        host,
        wait_s,
    )


def duration(seconds: float) -> str:
    """A length of time for people: `45 seconds`, `20 minutes`, `28 hours`, `5 days`."""
    for unit, length_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:,.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"


def _meaning(status: HTTPStatus) -> str:
    if is_passing(status):
        return "its host has trouble, or enough of us for now; may work later"
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return "it is no longer there"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "its host gives it to people who sign in, or to browsers alone"
    if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
        return "its host may not show it"
    return f"its host answers “{status.phrase}” instead of a picture"


REASONS: dict[str, str] = {
    "address-refused": "its host is a machine of a private network, which only "
    "--allow-private asks",
    "bad-url": "its address cannot be used: not http or https, another port, or a name and "
    "password in it",
    "offline": "it was not kept by an earlier run, and this one is offline",
    "opted-out": "its host says that it is not for machine learning, or not for search engines",
    "protocol": "its host answers in a way that is not HTTP, or packed as nobody asked",
    "redirects": "its host sends on and on, from https to http, or nowhere",
    "robots": "robots.txt of its host does not let programs fetch it, or could not be read",
    "stopped": "the run ended before it came; run it again",
    "timeout": "its host was silent for too long; may work later",
    "tls": "its host cannot prove that it is who it says",
    "too-large": "larger than a picture has to be, or unpacks to more",
    "too-slow": "it came too slowly; may work later",
    "unknown-host": "its host does not exist any more, or there was no network; may work later",
    "unreachable": "its host refuses connections or drops them; may work later",
    **{f"http-{status.value}": _meaning(status) for status in HTTPStatus if status.value > 200},
}
"""Reason of a `DownloadFailed` → what it means; a status that HTTP does not know has no entry."""
