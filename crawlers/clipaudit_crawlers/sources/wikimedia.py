"""Wikimedia Commons: freely licensed pictures with dates; needs no key, but a way to reach you.

As of 2026-11; https://commons.wikimedia.org/w/api.php (help of `query+search`, `query+imageinfo`),
https://www.mediawiki.org/wiki/API:Etiquette, …/Help:CirrusSearch, …/Common_thumbnail_sizes, and
https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy: one request at
a time, `maxlag`, `Retry-After`, and a User-Agent with an e-mail address or page.

Second-hand, from https://www.mediawiki.org/wiki/Wikimedia_APIs/Rate_limits as others quote it
(2026-06): 200 requests a minute for a client that says who it is, 10 for one that does not.
Originals answer 429 to plain clients, and thumbnails exist at a few widths only (Phabricator
T413570): so we take those of 960 px, and originals only where they are no wider. A search that
goes deeper than 10,000 hits is refused, by general knowledge of its engine.

An upload date is that of the newest version of a file, which may be older than that. So a query
with dates also asks the search for pages that were made then (`creationdate:`, since 2025,
Phabricator T403593): what comes was put online after the one and before the other date, for sure.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, Field, OnErrorOmit

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import TryAgain
from clipaudit_crawlers.licenses import first_link, http_url, one_line, plain_text, read_license
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

logger = logging.getLogger(__name__)

_TITLE = "Wikimedia Commons"
_WIDTH_PX = 960
_PAGE_SIZE = 50
"""More results have no thumbnails: the API makes so many in one answer."""
_DEEPEST = 10_000
_MOST_ANSWERS = 1000
"""One page of results may come in several answers; so many for one query are no more of use."""
_FIXED = {
    "action": "query",
    "format": "json",
    "formatversion": "2",
    "generator": "search",
    "gsrnamespace": "6",  # files
    "gsrlimit": str(_PAGE_SIZE),
    "prop": "imageinfo",
    "iiprop": "url|size|sha1|timestamp|extmetadata",
    "iiurlwidth": str(_WIDTH_PX),
    "iiextmetadatafilter": "ObjectName|Artist|Attribution|LicenseShortName|License|LicenseUrl"
    "|DateTimeOriginal",
    "maxlag": "5",
}
_BUSY = frozenset(("maxlag", "ratelimited", "readonly"))
_CONTACT = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+\.\S+")
_DAY = re.compile(r"(\d{4})[-:](\d\d)[-:](\d\d)(?:[ T](\d\d:\d\d:\d\d))?(?!\d)")
_TIME_TAG = re.compile(r'\bdatetime="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Wikimedia:
    """An `ImageSource` of files on Wikimedia Commons, as thumbnails where they are large.

    Attributes:
        web: The way to the network.
        base_url: The endpoint.
        interval_s: Least time between two requests; one at a time is what is asked for.
        busy_s: How long to wait when the service lags behind; five seconds are asked for.
    """

    name: ClassVar[str] = "wikimedia"

    web: Web
    base_url: str = "https://commons.wikimedia.org/w/api.php"
    interval_s: float = 0.5
    busy_s: float = 5.0

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title=_TITLE,
            page_size=_PAGE_SIZE,
            requests_per_minute=200,
            most_per_keyword=_DEEPEST,
            typical_bytes=200_000,
            takes_licenses=True,
            gives_licenses=True,
            gives_upload_dates=True,
            notice="Wikimedia wants to know whom to write to: set CLIPAUDIT_CONTACT to an e-mail "
            "address or a page of yours; it is sent to every server that is asked.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`.

        `CLIPAUDIT_WIKIMEDIA_URL` in `environ` names another server, which is asked without pause.
        `CLIPAUDIT_CONTACT` has to be there; whoever made `web` has put it into its User-Agent.
        """
        services.refuse_argument(cls.name, argument)
        contact = environ.get("CLIPAUDIT_CONTACT", "").strip()
        if not _CONTACT.fullmatch(contact):
            wrong = f"CLIPAUDIT_CONTACT is {contact!r}" if contact else "CLIPAUDIT_CONTACT is empty"
            raise SourceError(
                f"Wikimedia turns clients away that do not say whom to write to; {wrong}",
                "Set it to an e-mail address or a page of yours, such as "
                "CLIPAUDIT_CONTACT=you@example.org, or use --source openverse.",
            )
        mirror = environ.get("CLIPAUDIT_WIKIMEDIA_URL", "")
        if mirror:
            return cls(web=web, base_url=mirror, interval_s=0.0, busy_s=0.0)
        return cls(web=web)

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        return islice(self._records(query), query.limit)

    def _records(self, query: Query) -> Iterator[ImageRecord]:
        fixed = {**_FIXED, "gsrsearch": _search_words(query)}
        wanted = {name.lower() for name in query.licenses}
        seen: set[int] = set()
        go_on: dict[str, str] = {}
        for _ in range(_MOST_ANSWERS):
            answer = self._ask({**fixed, **go_on})
            for page in answer.pages:
                # Without `imageinfo`, it is in one of the next answers, for the same page.
                if page.pageid in seen or not page.imageinfo:
                    continue
                seen.add(page.pageid)
                record = _record(page, page.imageinfo[0])
                if (
                    record
                    and (not wanted or (record.license or "").lower() in wanted)
                    and _was_put_online_then(record, query)
                ):
                    yield record
            before, go_on = go_on, {key: str(value) for key, value in answer.go_on.items()}
            if not go_on or go_on == before or _offset(go_on) >= _DEEPEST:
                return

    def _ask(self, params: Mapping[str, str]) -> _Answer:
        answer = services.ask(
            self, _TITLE, params, partial(_answer, busy_s=self.busy_s), interval_s=self.interval_s
        )
        if answer.warnings:
            logger.warning("Wikimedia Commons warns: %s", one_line(str(answer.warnings)))
        return answer


def _array_or_object(value: Any) -> Any:
    return {} if value == [] else value  # what PHP makes of an empty one


class _Said(BaseModel):
    value: Text = None


class _Info(BaseModel):
    url: Text = None
    thumburl: Text = None
    thumbwidth: Count = None
    thumbheight: Count = None
    descriptionurl: Text = None
    timestamp: Text = None
    size: Count = None
    sha1: Text = None
    extmetadata: Annotated[dict[str, OnErrorOmit[_Said]], BeforeValidator(_array_or_object)] = (
        Field(default_factory=dict)
    )

    def said(self, name: str) -> str | None:
        """What the page of the file says, as HTML."""
        return self.extmetadata[name].value if name in self.extmetadata else None


class _FilePage(BaseModel):
    pageid: int
    title: str = ""
    index: int = 0
    imageinfo: list[_Info] = Field(default_factory=list)


class _Found(BaseModel):
    pages: list[OnErrorOmit[_FilePage]]


class _Error(BaseModel):
    code: Text = None
    info: Text = None


class _Nothing(BaseModel):
    """What is left of an answer when nothing was found."""

    batchcomplete: Any


class _Answer(BaseModel):
    query: Annotated[_Found | None, BeforeValidator(lambda value: value or None)] = None
    go_on: Annotated[dict[str, str | int], BeforeValidator(_array_or_object)] = Field(
        default_factory=dict, alias="continue"
    )
    error: _Error | None = None
    warnings: Any = None

    @property
    def pages(self) -> list[_FilePage]:
        """Best first; an answer has them in no order."""
        return sorted(self.query.pages, key=lambda page: page.index) if self.query else []


def _answer(answer: Any, busy_s: float) -> _Answer:
    """An answer as it was promised; files that are not are left out, unless all are.

    Raises:
        TryAgain: The service is busy.
        SourceError: It says that something is wrong, or the answer is something else.
    """
    read = services.validated(_Answer, answer, _TITLE)
    if not answer.keys() & {"query", "continue", "error"}:
        services.validated(_Nothing, answer, _TITLE)
    if read.query and len(answer["query"]["pages"]) > 1 and not read.query.pages:
        services.validated(_FilePage, answer["query"]["pages"][0], _TITLE)
    if read.error is not None:
        said = services.quoted(plain_text(read.error.info))
        if read.error.code in _BUSY:
            raise TryAgain(said, busy_s)
        raise SourceError(
            f"Wikimedia Commons: {said} ({one_line(read.error.code) or 'no code'})",
            "Try other keywords, without the search's own operators, or another --source.",
        )
    return read


def _search_words(query: Query) -> str:
    words = ["filetype:bitmap", query.keyword]
    if query.uploaded_from:
        words.append(f"creationdate:>={query.uploaded_from}")
    if query.uploaded_before:
        words.append(f"creationdate:<{query.uploaded_before}")
    return " ".join(words)


def _offset(go_on: Mapping[str, str]) -> int:
    offset = go_on.get("gsroffset", "")
    return int(offset) if offset.isascii() and offset.isdigit() else 0


def _was_put_online_then(record: ImageRecord, query: Query) -> bool:
    if not (query.uploaded_from or query.uploaded_before):
        return True
    if record.uploaded is None:
        return False
    day = datetime.fromisoformat(record.uploaded).date()
    is_late = query.uploaded_from is None or day >= query.uploaded_from
    return is_late and (query.uploaded_before is None or day < query.uploaded_before)


def _record(page: _FilePage, info: _Info) -> ImageRecord | None:
    image_url = _file_url(info.thumburl)
    if image_url is None:
        return None
    is_original = image_url == _file_url(info.url)
    file_name = page.title.removeprefix("File:").rpartition(".")[0]
    title = plain_text(info.said("ObjectName")) or one_line(file_name)
    author = plain_text(info.said("Artist"))
    page_url = http_url(info.descriptionurl)
    terms = read_license(
        plain_text(info.said("LicenseShortName")) or info.said("License"), info.said("LicenseUrl")
    )
    return ImageRecord(
        source=Wikimedia.name,
        source_id=str(page.pageid),
        image_url=image_url,
        page_url=page_url,
        title=title,
        author=author,
        author_url=first_link(info.said("Artist")),
        license=terms.id,
        license_version=terms.version,
        license_url=terms.url,
        credit=terms.credit(title, plain_text(info.said("Attribution")) or author, page_url),
        uploaded=_time(info.timestamp),
        taken=_taken(info.said("DateTimeOriginal")),
        width_px=info.thumbwidth,
        height_px=info.thumbheight,
        size_bytes=info.size if is_original else None,
        sha1=one_line(info.sha1) if is_original else None,
    )


def _file_url(text: str | None) -> str | None:
    """The address of a file, without what the API adds to it to count where visitors come from."""
    return http_url(text.partition("?utm_")[0]) if text else None


def _time(text: str | None) -> str | None:
    """A time as the API writes it, if it is one."""
    try:
        return datetime.fromisoformat(text).isoformat() if text else None
    except ValueError:
        return None


def _taken(markup: str | None) -> str | None:
    """The day, with the time where it is there, that a date in free text starts with."""
    if markup is None:
        return None
    tag = _TIME_TAG.search(markup)
    match = _DAY.match(tag[1] if tag else plain_text(markup) or "")
    if match is None:
        return None
    year, month, day, clock = match.groups()
    text = f"{year}-{month}-{day}" + (f"T{clock}" if clock else "")
    return text if _time(text) else None
