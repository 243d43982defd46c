"""Answers of services: parsed, without the keys that they echo, or why there is none."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from clipaudit.errors import SourceError
from clipaudit_crawlers.web.failures import (
    Broken,
    DeferredError,
    RefusedError,
    TryAgain,
    is_passing,
)
from clipaudit_crawlers.web.patience import bad_status, status_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipaudit_crawlers.web.client import Ask, Client
    from clipaudit_crawlers.web.config import WebConfig
    from clipaudit_crawlers.web.patience import Patience
    from clipaudit_crawlers.web.redaction import Keys
    from clipaudit_crawlers.web.wire import Clock

    Check = Callable[[Any], object]

ANSWERS = "answers"
"""The purpose of the lines that these requests stand in."""

_MOST_ERROR_BYTES = 65_536
_LATER = "What came so far is kept: look at the network, and run the same command again later."


class Answers:
    """Asks services; safe to use from several threads."""

    def __init__(self, config: WebConfig, client: Client, patience: Patience, keys: Keys) -> None:
        self._config = config
        self._client = client
        self._patience = patience
        self._keys = keys

    def ask(self, service: str, ask: Ask, check: Check | None = None) -> Any:
        """The answer, parsed; to a GET request, without any key that is known.

        Raises:
            SourceError: As `Web.get_json`.
        """
        try:
            return self._patience.over(ANSWERS, partial(self._attempt, ask, check))
        except Broken as broken:
            error = self._explained(service, broken)
        raise error  # out here, without what a server sent

    def _attempt(self, ask: Ask, check: Check | None, clock: Clock) -> Any:
        with self._client.opened(ask, clock) as came:
            if came.status >= HTTPStatus.MULTIPLE_CHOICES:
                body = b""
                with suppress(Broken):  # the status says more than why its page did not come
                    body = came.read(_MOST_ERROR_BYTES, rest_is_dropped=True)
                raise bad_status(came, body, may_repeat=ask.form is None)
            body = came.read(self._config.most_answer_bytes)
        try:
            answer = parsed(body)
            if ask.form is not None:
                return answer  # a token is what it was asked for
            answer = self._keys.hidden_in(answer)
        except (ValueError, RecursionError):
            broken = Broken("protocol", f"{came.host} answers what is no JSON", host=came.host)
        else:
            try:
                if check is not None:
                    check(answer)
            except TryAgain as again:
                broken = _busy(again, came.host)
            else:
                return answer
        raise broken

    def _explained(self, service: str, broken: Broken) -> SourceError:
        said = self._keys.hidden(broken.explanation)
        if broken.reason == "busy":
            return DeferredError(
                f"{service} is busy, and says: {said}", _LATER, broken.host, broken.wait_s
            )
        if broken.status is not None:
            return self._refused(service, broken.status, broken.body)
        if broken.reason == "unknown-host":
            return SourceError(f"no network: cannot reach {broken.host}", _LATER)
        if broken.reason == "address-refused":
            hint = "Pass --allow-private if it is a mirror in your own network."
            return SourceError(f"{service}: {said}", hint)
        return SourceError(f"{service}: {said}", _LATER)

    def _refused(self, service: str, status: int, body: bytes) -> RefusedError:
        detail = ""
        try:
            answer = self._keys.hidden_in(parsed(body))
            detail = f": {json.dumps(answer)[:200]}"
        except (ValueError, RecursionError):
            answer = self._keys.hidden(body.decode("utf-8", "replace"))
        if is_passing(status):
            hint = _LATER
        elif status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            hint = f"Look at the key for {service}: it may be wrong, or used up for today."
        else:
            hint = f"Look at what was asked for; {service} may have changed its address or rules."
        said = f"{service} answers {status_words(status)}{detail}"
        return RefusedError(said, hint, status, answer)


def _busy(again: TryAgain, host: str) -> Broken:
    return Broken(
        "busy",
        again.said,
        host=host,
        is_transient=True,
        is_worth_repeating=True,
        wait_s=again.wait_s,
    )


def parsed(body: bytes) -> Any:
    """The body as JSON, with halves of characters replaced, which no file and no URL can hold.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return _whole(json.loads(body, parse_constant=refuse))


def _whole(answer: Any) -> Any:
    if isinstance(answer, str):
        return answer.encode("utf-8", "replace").decode()
    if isinstance(answer, list):
        return [_whole(item) for item in answer]
    if isinstance(answer, dict):
        return {_whole(name): _whole(item) for name, item in answer.items()}
    return answer
