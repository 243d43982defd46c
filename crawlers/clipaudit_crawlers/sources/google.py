"""Google's image search: by its own API until that ends, or by SerpApi.

As of 2026-11; https://developers.google.com/custom-search/v1/overview and the discovery document
`customsearch.v1.json`, revision 20240821: 10 results a request, none beyond `start + num` = 100,
no `items` where nothing is found, and no field for a licence, only the filter `rights`. The API
is closed to new customers, and ends on 2027-01-01. 100 requests a day are free, more are paid for.

Not confirmed: the bodies of its errors, of which we know what others quote: 429 with the reason
`rateLimitExceeded` and a message that names the quota, formerly 403 with `dailyLimitExceeded`;
that a day's quota starts anew at midnight Pacific time, as those of Google's other APIs do; how
`rights` combines terms, which the discovery document leaves to a page of Creative Commons
(https://wiki.creativecommons.org/wiki/CC_Search_integration); what the API answers once it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, OnErrorOmit, model_validator

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import DeferredError, RefusedError
from clipaudit_crawlers.licenses import http_url, plain_text
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.serpapi import KEY as SERPAPI_KEY
from clipaudit_crawlers.sources.serpapi import KEY_FROM as SERPAPI_KEY_FROM
from clipaudit_crawlers.sources.serpapi import SerpApi
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

API = "https://customsearch.googleapis.com/customsearch/v1"
KEYS = ("GOOGLE_API_KEY", "GOOGLE_CSE_ID")
END = date(2027, 1, 1)
"""The day on which Google's own API ends."""

_TITLE = "Google Programmable Search"
_PAGE_SIZE = 10
_DEEPEST = 100
_QUOTA_REASONS = frozenset(
    ("dailyLimitExceeded", "quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded")
)
_OTHERS = "--source openverse, which needs no key"

_TERMS = {
    "by": frozenset(("cc_attribute",)),
    "by-sa": frozenset(("cc_attribute", "cc_sharealike")),
    "by-nd": frozenset(("cc_attribute", "cc_nonderived")),
    "by-nc": frozenset(("cc_attribute", "cc_noncommercial")),
    "by-nc-sa": frozenset(("cc_attribute", "cc_noncommercial", "cc_sharealike")),
    "by-nc-nd": frozenset(("cc_attribute", "cc_noncommercial", "cc_nonderived")),
    "cc0": frozenset(("cc_publicdomain",)),
    "pdm": frozenset(("cc_publicdomain",)),
}
"""A licence → the terms of `rights` that hold for it."""


@dataclass(frozen=True, slots=True)
class Google:
    """An `ImageSource` that asks Google itself, or SerpApi where only its key is there."""

    name: ClassVar[str] = "google"

    engine: ProgrammableSearch | SerpApi

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return _engine(environ).facts(environ)

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`.

        `CLIPAUDIT_GOOGLE_URL` and `CLIPAUDIT_SERPAPI_URL` in `environ` name other servers.
        """
        services.refuse_argument(cls.name, argument)
        return cls(_engine(environ).open(web, environ))

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        return self.engine.search(query)


def _engine(environ: Mapping[str, str]) -> type[ProgrammableSearch | SerpApi]:
    has_google = all(environ.get(key) for key in KEYS)
    return SerpApi if environ.get(SERPAPI_KEY) and not has_google else ProgrammableSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammableSearch:
    """Google's own API.

    Attributes:
        web: The way to the network.
        api_key: Key of a project of Google Cloud.
        engine_id: Id of a search engine, with search for images turned on.
        base_url: The endpoint.
        today: The day, which says whether the API has ended.
    """

    name: ClassVar[str] = "google"

    web: Web
    api_key: str = field(repr=False)
    engine_id: str = field(repr=False)
    base_url: str = API
    today: Callable[[], date] = field(default=lambda: datetime.now(UTC).date(), repr=False)

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title=_TITLE,
            page_size=_PAGE_SIZE,
            requests_per_day=100,
            most_per_keyword=_DEEPEST - 1,
            keys=KEYS,
            keys_from="https://developers.google.com/custom-search/v1/overview",
            takes_licenses=True,
            notice=f"Google has closed this API to new customers and ends it on {END}, and it "
            "does not say under which licence a picture is.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str]) -> Self:
        """An engine that is ready to be asked.

        Raises:
            SourceError: A key is missing.
        """
        try:
            services.require_keys(cls.facts(environ), environ)
        except SourceError as error:
            raise SourceError(
                str(error),
                f"{error.hint} Google gives none to new customers; SerpApi, which is paid for, has "
                f"its results too: set {SERPAPI_KEY}, which comes from {SERPAPI_KEY_FROM}.",
            ) from None
        api_key, engine_id = (environ[key].strip() for key in KEYS)
        base_url = environ.get("CLIPAUDIT_GOOGLE_URL") or API
        return cls(web=web, api_key=api_key, engine_id=engine_id, base_url=base_url)

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        services.refuse_unknown(self.facts({}), query)
        rights = rights_filter(query.licenses) if query.licenses else None
        return islice(self._records(query, rights), query.limit)

    def _records(self, query: Query, rights: str | None) -> Iterator[ImageRecord]:
        fixed = {"q": query.keyword, "searchType": "image", "safe": "active"}
        if rights:
            fixed["rights"] = rights
        seen: set[str] = set()
        for start in range(1, _DEEPEST, _PAGE_SIZE):
            n_results = min(_PAGE_SIZE, _DEEPEST - start)
            params = {**fixed, "start": str(start), "num": str(n_results)}
            page = services.ask(
                self,
                _TITLE,
                params,
                _page,
                explain=self._why,
                secret_params={"key": self.api_key, "cx": self.engine_id},
            )
            for item in page.items:
                if (record := _record(item)) and record.source_id not in seen:
                    seen.add(record.source_id)
                    yield record
            if not page.has_next:
                return

    def _why(self, refused: RefusedError) -> SourceError:
        """What a refusal means, and what to do."""
        said, reasons = _error_of(refused.answer)
        if refused.status == 429 or (refused.status == 403 and reasons & _QUOTA_REASONS):
            return DeferredError(
                f"Google's quota is used up: {said}",
                "100 requests a day are free, and the day starts at midnight Pacific time (07:00 "
                "or 08:00 UTC): run the same command again then, what came is kept. Or take "
                f"{_OTHERS}.",
                urlsplit(self.base_url).hostname or "",
                None,
            )
        if refused.status == 410 or (refused.status < 500 and self.today() >= END):
            return SourceError(
                f"Google retired this API on {END} (it answered {refused.status}: {said})",
                f"Use {_OTHERS}; {SERPAPI_KEY} still leads to Google's results, and is paid for.",
            )
        if refused.status in {400, 401, 403}:
            return SourceError(
                f"Google refuses: {said}",
                f"Look at {KEYS[0]} and {KEYS[1]}, and whether the project may use the Custom "
                f"Search API, which Google has closed to new customers. Or take {_OTHERS}.",
            )
        return refused


def rights_filter(licenses: tuple[str, ...]) -> str:
    """The filter that lets pictures under these licences through, and no others.

    >>> rights_filter(("by", "by-sa", "cc0", "pdm"))
    '(cc_attribute|cc_publicdomain|cc_sharealike).-(cc_noncommercial|cc_nonderived)'

    Raises:
        SourceError: There is none: Google knows the terms of licences, not the licences.
    """
    wanted = {name.lower() for name in licenses}
    every = frozenset().union(*_TERMS.values())
    holding = frozenset().union(*(_TERMS.get(name, frozenset()) for name in wanted))
    barred = every - holding
    # A term may be asked for if no licence has it that is neither wanted nor barred anyway.
    asked = {
        term
        for term in holding
        if all(name in wanted or terms & barred for name, terms in _TERMS.items() if term in terms)
    }
    if not wanted <= {name for name, terms in _TERMS.items() if terms & asked}:
        raise SourceError(
            f"Google cannot be asked for pictures under just {', '.join(licenses)}",
            "It tells terms of licences apart, so cc0 and pdm only go together; or ask a source "
            "that says each picture's licence: --source openverse, wikimedia or flickr.",
        )
    without = f".-({'|'.join(sorted(barred))})" if barred else ""
    return f"({'|'.join(sorted(asked))}){without}"


class _Image(BaseModel):
    contextLink: Text = None  # noqa: N815 - as the API spells it
    width: Count = None
    height: Count = None
    byteSize: Count = None  # noqa: N815


class _Item(BaseModel):
    link: str
    title: Text = None
    image: _Image = Field(default_factory=_Image)


class _Queries(BaseModel):
    nextPage: list[Any] = Field(default_factory=list)  # noqa: N815


class _Page(BaseModel):
    items: list[OnErrorOmit[_Item]] = Field(default_factory=list)
    queries: _Queries | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_page(cls, answer: Any) -> Any:
        if not isinstance(answer, dict) or not answer.keys() & {"items", "queries"}:
            raise ValueError("neither items nor queries")
        return answer

    @property
    def has_next(self) -> bool:
        return bool(self.items) and (self.queries is None or bool(self.queries.nextPage))


def _page(answer: Any) -> _Page:
    """An answer as it was promised; items that are not are left out, unless all are.

    Raises:
        SourceError: It is an error, or something else.
    """
    if isinstance(answer, dict) and "error" in answer:
        raise SourceError(f"Google refuses: {_error_of(answer)[0]}", f"Take {_OTHERS}.")
    page = services.validated(_Page, answer, _TITLE)
    if answer.get("items") and not page.items:
        services.validated(_Item, answer["items"][0], _TITLE)
    return page


def _error_of(answer: object) -> tuple[str, frozenset[str]]:
    """What an error says, and its reasons."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return services.quoted(answer), frozenset()
    listed = error.get("errors")
    listed = listed if isinstance(listed, list) else []
    reasons = [entry.get("reason") for entry in listed if isinstance(entry, dict)]
    if error.get("status") == "RESOURCE_EXHAUSTED":
        reasons.append("quotaExceeded")
    return services.quoted(error.get("message")), frozenset(map(str, reasons))


def _record(item: _Item) -> ImageRecord | None:
    image_url = http_url(item.link)
    if image_url is None:  # `x-raw-image:` and the like
        return None
    return ImageRecord(
        source=Google.name,
        source_id=image_url,  # Google gives a picture no other name
        image_url=image_url,
        page_url=http_url(item.image.contextLink),
        title=plain_text(item.title),
        width_px=item.image.width,
        height_px=item.image.height,
        size_bytes=item.image.byteSize,
    )
