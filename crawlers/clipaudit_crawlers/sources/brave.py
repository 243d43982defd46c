"""Brave's image search, which is paid for beyond a monthly allowance.

As of 2026-11; https://api-dashboard.search.brave.com/app/documentation/image-search: at most 200
results of one request, no pages, no licences. The plan for it costs 5 dollars for 1,000 requests,
5 dollars a month are free, and it allows 50 requests a second; older plans allow one.

Not confirmed: the codes of its errors, of which others quote `VALIDATION` and
`SUBSCRIPTION_TOKEN_INVALID`, both with the status 422; that a result's `properties.url` may be
missing. Where it is, its `thumbnail` is taken: a copy of Brave's, some 500 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, OnErrorOmit

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import DeferredError, RefusedError
from clipaudit_crawlers.licenses import http_url, plain_text
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

KEY = "BRAVE_API_KEY"

_TITLE = "Brave Search"
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Brave:
    """An `ImageSource` with an index of its own.

    Attributes:
        web: The way to the network.
        api_key: Key of an account at Brave's dashboard.
        base_url: The endpoint.
        interval_s: Least time between two requests.
    """

    name: ClassVar[str] = "brave"

    web: Web
    api_key: str = field(repr=False)
    base_url: str = "https://api.search.brave.com/res/v1/images/search"
    interval_s: float = 1.0

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title=_TITLE,
            page_size=_MOST,
            requests_per_minute=60,  # of the slowest plan
            most_per_keyword=_MOST,
            keys=(KEY,),
            keys_from="https://api-dashboard.search.brave.com",
            notice="Brave's requests are paid for beyond a monthly allowance, and do not say "
            "under which licence a picture is.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`.

        `CLIPAUDIT_BRAVE_URL` in `environ` names another server, which is asked without pause.
        """
        services.refuse_argument(cls.name, argument)
        services.require_keys(cls.facts(environ), environ)
        mirror = environ.get("CLIPAUDIT_BRAVE_URL")
        key = environ[KEY].strip()
        if mirror:
            return cls(web=web, api_key=key, base_url=mirror, interval_s=0.0)
        return cls(web=web, api_key=key)

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        services.refuse_unknown(self.facts({}), query)
        return islice(self._records(query), query.limit)

    def _records(self, query: Query) -> Iterator[ImageRecord]:
        # Always the most there is, so that a kept answer serves the next run, whatever its limit.
        fixed = {"count": str(_MOST), "safesearch": "strict", "spellcheck": "0"}
        params = {"q": query.keyword, **fixed}
        results = services.ask(
            self,
            _TITLE,
            params,
            _page,
            explain=self._why,
            secret_headers={"X-Subscription-Token": self.api_key},
            interval_s=self.interval_s,
        ).results
        records = [record for result in results if (record := _record(result))]
        if results and not records:
            raise SourceError(
                f"none of the {len(results)} results for {query.keyword!r} that Brave gives says "
                "where the picture is",
                "Look for a newer clipaudit, or use another --source.",
            )
        seen: set[str] = set()
        for record in records:
            if record.source_id not in seen:
                seen.add(record.source_id)
                yield record

    def _why(self, refused: RefusedError) -> SourceError:
        """What a refusal means, and what to do."""
        said, code = _error_of(refused.answer)
        if refused.status == 429:
            return DeferredError(
                f"Brave takes no more requests for now: {said}",
                "Requests are limited by second and by month: the dashboard, "
                "https://api-dashboard.search.brave.com, shows what is left. Run the same command "
                "again later, what came is kept.",
                urlsplit(self.base_url).hostname or "",
                None,
            )
        if refused.status in {401, 402, 403} or "TOKEN" in code:
            return SourceError(
                f"Brave refuses: {said}",
                f"Look at {KEY}, and whether its plan holds image search: "
                "https://api-dashboard.search.brave.com.",
            )
        return refused


class _Thumbnail(BaseModel):
    src: Text = None
    width: Count = None
    height: Count = None


class _Properties(BaseModel):
    url: Text = None
    width: Count = None
    height: Count = None


class _Result(BaseModel):
    title: Text = None
    url: Text = None
    thumbnail: _Thumbnail | None = None
    properties: _Properties | None = None


class _Page(BaseModel):
    type: Literal["images"]
    results: list[OnErrorOmit[_Result]] = Field(default_factory=list)


def _page(answer: Any) -> _Page:
    """An answer as it was promised; results that are not are left out.

    Raises:
        SourceError: It is an error, or something else.
    """
    if isinstance(answer, dict) and answer.get("type") == "ErrorResponse":
        raise SourceError(
            f"Brave refuses: {_error_of(answer)[0]}",
            f"Look at {KEY} and the keyword, or try another --source.",
        )
    return services.validated(_Page, answer, _TITLE)


def _error_of(answer: object) -> tuple[str, str]:
    """What an error says, and its code."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return services.quoted(answer), ""
    return services.quoted(error.get("detail")), str(error.get("code"))


def _record(result: _Result) -> ImageRecord | None:
    picture = result.properties or _Properties()
    image_url, width, height = http_url(picture.url), picture.width, picture.height
    if image_url is None:
        copy = result.thumbnail or _Thumbnail()
        image_url, width, height = http_url(copy.src), copy.width, copy.height
    if image_url is None:
        return None
    return ImageRecord(
        source=Brave.name,
        source_id=image_url,  # Brave gives a picture no other name
        image_url=image_url,
        page_url=http_url(result.url),
        title=plain_text(result.title),
        width_px=width,
        height_px=height,
    )
