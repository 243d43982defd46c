"""What the search services that want a key share: their answers, and words for what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from clipaudit.errors import SourceError
from clipaudit_crawlers import SOURCES, load
from clipaudit_crawlers.fetch import RefusedError
from clipaudit_crawlers.licenses import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipaudit_crawlers.base import Query, SourceFacts
    from clipaudit_crawlers.fetch import Web

Answer = TypeVar("Answer", bound=BaseModel)
Page = TypeVar("Page")


def positive(value: object) -> int | None:
    """A count, from 1, as a number or in digits; None for everything else.

    >>> positive("640"), positive(640.0), positive(0), positive(True), positive("wide")
    (640, 640, None, None, None)
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


Count = Annotated[int | None, BeforeValidator(positive)]
"""Pixels or bytes: what is none is as good as not said."""

Text = Annotated[str | None, BeforeValidator(_text)]
"""What is no text is as good as not said."""


def require_keys(facts: SourceFacts, environ: Mapping[str, str]) -> None:
    """See that every key is there.

    Raises:
        SourceError: One is not; the hint says where to get it, and which sources need none.
    """
    missing = [key for key in facts.keys if not environ.get(key)]
    if missing:
        raise SourceError(
            f"{facts.title} wants a key, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set",
            f"Get one at {facts.keys_from} and put it into the environment; or use a source that "
            f"needs none: {_names(lambda facts: not facts.keys)}, or folder:PATH with pictures of "
            "your own.",
        )


def refuse_argument(name: str, argument: str) -> None:
    """See that nothing stands behind the colon.

    Raises:
        SourceError: Something does.
    """
    if argument:
        raise SourceError(
            f"{name} takes nothing behind a colon, got {argument!r}",
            f"Write --source {name}, and what to look for in --keywords.",
        )


def refuse_unknown(facts: SourceFacts, query: Query) -> None:
    """See that a query asks for nothing that its source does not know.

    Raises:
        SourceError: It asks for a time or a licence; the hint names sources that know it.
    """
    if (query.uploaded_from or query.uploaded_before) and not facts.gives_upload_dates:
        raise SourceError(
            f"{facts.title} does not say when a picture was put online",
            f"Ask a source that does: {_names(lambda facts: facts.gives_upload_dates)}.",
        )
    if query.licenses and not facts.takes_licenses:
        raise SourceError(
            f"{facts.title} does not say under which licence a picture is",
            f"Ask a source that does: {_names(lambda facts: facts.gives_licenses)}.",
        )


def _names(fits: Callable[[SourceFacts], bool]) -> str:
    """How to choose one of our sources that fits, without a key set."""
    fitting = [name for name, value in SOURCES.items() if fits(load(value).facts({}))]
    return ", ".join(f"--source {name}" for name in fitting)


class Asker(Protocol):
    """A source that asks one service."""

    @property
    def web(self) -> Web:
        """The way to the network."""
        ...

    @property
    def base_url(self) -> str:
        """The endpoint."""
        ...


def ask(
    source: Asker,
    service: str,
    params: Mapping[str, str],
    read: Callable[[Any], Page],
    *,
    path: str = "",
    explain: Callable[[RefusedError], SourceError] = lambda refused: refused,
    secret_params: Mapping[str, str] | None = None,
    secret_headers: Mapping[str, str] | None = None,
    interval_s: float = 0.0,
) -> Page:
    """One page of a service's answers, read; all else as `Web.get_json`.

    Args:
        source: Who asks.
        service: Name of the service, for messages.
        params: The query.
        read: Turns the parsed JSON into the page; what it refuses is not kept.
        path: What is asked below the endpoint.
        explain: What a refusal means, and what to do about it.
        secret_params: Keys in the query.
        secret_headers: Keys in the headers.
        interval_s: Least time between two requests to this service.

    Raises:
        SourceError: As `explain` and `read` say, or as `Web.get_json`.
    """
    try:
        answer = source.web.get_json(
            service,
            f"{source.base_url}{path}",
            params,
            secret_params=secret_params,
            secret_headers=secret_headers,
            check=read,
            interval_s=interval_s,
        )
    except RefusedError as refused:
        raise explain(refused) from refused
    return read(answer)


def validated(kind: type[Answer], answer: Any, title: str) -> Answer:
    """An answer as it was promised.

    Raises:
        SourceError: It is something else.
    """
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "as a whole"
        raise SourceError(
            f"{title} answered what is not its format ({where}: {first['msg']})",
            "Try again later; if it stays, the service has changed: look for a newer clipaudit, or "
            "use another --source.",
        ) from None


def quoted(said: object) -> str:
    """What a service says of an error, in one line."""
    return one_line(said if isinstance(said, str) else None) or "no reason given"
