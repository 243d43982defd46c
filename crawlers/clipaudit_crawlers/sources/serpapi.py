"""Google's image search through SerpApi, which is paid for; it goes by the name `google`.

As of 2026-11; https://serpapi.com/google-images-api, https://serpapi.com/search-errors and
https://serpapi.com/api-status-and-error-codes: pages of 100 results by `ijn` from 0, a body with
`error` and the status 200 where nothing was found, 429 both for too many requests an hour and for
a plan that is used up.

Not confirmed: fields beyond the common ones, and whether they are all there on every page (users
often find some missing, see serpapi/public-roadmap on GitHub). Another vendor says that Google
gives no addresses of pictures any more since 2026-08. A result without `original` is passed over:
its `thumbnail` is a small copy that Google made, and no encoder was trained on that. Where no
result of a page has one, that is an error, lest page after page is paid for in vain.

Not sent: `ijn` for the first page, where users find fields missing with it, and `tbs=sur:cl`, which
lets every licence of Creative Commons through, so that no query for certain ones can use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, OnErrorOmit, model_validator

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import DeferredError, RefusedError, TryAgain
from clipaudit_crawlers.licenses import http_url, plain_text
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

API = "https://serpapi.com/search.json"
KEY = "SERPAPI_API_KEY"
KEY_FROM = "https://serpapi.com/manage-api-key"

_TITLE = "SerpApi"
_NOTHING = "hasn't returned any results"


@dataclass(frozen=True, slots=True, kw_only=True)
class SerpApi:
    """Google's results, read by somebody else.

    Attributes:
        web: The way to the network.
        api_key: Key of an account at SerpApi.
        base_url: The endpoint.
    """

    name: ClassVar[str] = "google"

    web: Web
    api_key: str = field(repr=False)
    base_url: str = API

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title="Google, through SerpApi",
            page_size=100,
            keys=(KEY,),
            keys_from=KEY_FROM,
            notice="SerpApi counts every page of 100 results against a plan that is paid for, and "
            "does not say under which licence a picture is.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str]) -> Self:
        """An engine that is ready to be asked.

        Raises:
            SourceError: The key is missing.
        """
        services.require_keys(cls.facts(environ), environ)
        base_url = environ.get("CLIPAUDIT_SERPAPI_URL") or API
        return cls(web=web, api_key=environ[KEY].strip(), base_url=base_url)

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        services.refuse_unknown(self.facts({}), query)
        return islice(self._records(query), query.limit)

    def _records(self, query: Query) -> Iterator[ImageRecord]:
        fixed = {"engine": "google_images", "q": query.keyword, "safe": "active"}
        seen: set[str] = set()
        for number in count():
            params = fixed if number == 0 else {**fixed, "ijn": str(number)}
            page = services.ask(
                self,
                _TITLE,
                params,
                _page,
                explain=self._why,
                secret_params={"api_key": self.api_key},
            )
            records = [record for result in page.images_results if (record := _record(result))]
            if page.images_results and not records:
                raise SourceError(
                    f"none of the {len(page.images_results)} results for {query.keyword!r} that "
                    "SerpApi gives says where the picture itself is; there are only small copies",
                    "Take another source: openverse, wikimedia, flickr or brave.",
                )
            new = {record.source_id: record for record in records if record.source_id not in seen}
            if not new:  # nobody says how many pages there are
                return
            seen.update(new)
            yield from new.values()

    def _why(self, refused: RefusedError) -> SourceError:
        """What a refusal means, and what to do."""
        said = services.quoted(
            refused.answer.get("error") if isinstance(refused.answer, dict) else None
        )
        if refused.status == 429:
            return DeferredError(
                f"SerpApi takes no more searches for now: {said}",
                "Searches are limited by hour and by plan: https://serpapi.com/dashboard shows "
                "what is left. Run the same command again later, what came is kept.",
                urlsplit(self.base_url).hostname or "",
                None,
            )
        if refused.status in {401, 403}:
            return SourceError(
                f"SerpApi refuses: {said}",
                f"Look at {KEY}: it has to be the one at {KEY_FROM}.",
            )
        return refused


class _Result(BaseModel):
    original: Text = None
    original_width: Count = None
    original_height: Count = None
    title: Text = None
    link: Text = None


class _Metadata(BaseModel):
    status: Text = None


class _Page(BaseModel):
    images_results: list[OnErrorOmit[_Result]] = Field(default_factory=list)
    search_metadata: _Metadata | None = None
    error: Text = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_page(cls, answer: Any) -> Any:
        known = {"images_results", "search_metadata", "error"}
        if not isinstance(answer, dict) or not answer.keys() & known:
            raise ValueError("none of images_results, search_metadata and error")
        return answer


def _page(answer: Any) -> _Page:
    """An answer as it was promised; results that are not are left out.

    Raises:
        TryAgain: SerpApi did not get through to Google.
        SourceError: It is an error, or something else.
    """
    page = services.validated(_Page, answer, _TITLE)
    if page.error is None or _NOTHING in page.error:
        return page
    if page.search_metadata and page.search_metadata.status == "Error":
        raise TryAgain(services.quoted(page.error))
    raise SourceError(
        f"SerpApi: {services.quoted(page.error)}",
        f"Look at {KEY} and the keyword, or try another --source.",
    )


def _record(result: _Result) -> ImageRecord | None:
    image_url = http_url(result.original)
    if image_url is None:
        return None
    return ImageRecord(
        source=SerpApi.name,
        source_id=image_url,  # Google gives a picture no other name
        image_url=image_url,
        page_url=http_url(result.link),
        title=plain_text(result.title),
        width_px=result.original_width,
        height_px=result.original_height,
    )
