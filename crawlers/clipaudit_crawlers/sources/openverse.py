"""Openverse: openly licensed pictures of Flickr, Wikimedia, museums and others; needs no key.

As of 2026-11; https://api.openverse.org/v1/ and the service's code, WordPress/openverse:
`api/api/serializers/{media,image}_serializers.py`, `api/conf/settings/{misc,rest_framework}.py`.
An answer's fields, 20 results a page without an account and 500 with one, at most 20 pages of a
query, and the limits of registered users stand there.

Second-hand: 20 requests a minute and 200 a day without an account, which others read from the
service's headers in 2026-10 (its code has lower defaults), and some 240 results a query then.

Not sent: `mature`, which is off where it is left out, while the code reads any text as a yes,
`false` too; and `category`, since many results have none and what the filter makes of those
stands nowhere. `indexed_on` is when Openverse met a picture, not when it was put online, so
there is no date of upload.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, OnErrorOmit

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import RefusedError
from clipaudit_crawlers.licenses import LICENSES, License, http_url, one_line, plain_text
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

logger = logging.getLogger(__name__)

KEYS = ("OPENVERSE_CLIENT_ID", "OPENVERSE_CLIENT_SECRET")
KEYS_FROM = "https://api.openverse.org/v1/#tag/auth/operation/register"

_TITLE = "Openverse"
_MOST_PAGES = 20
_PAGE_SIZES = (20, 50, 100, 200, 500)
"""Few sizes, so that a kept answer serves the next run too, whatever its limit; the first is the
only one without an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Openverse:
    """An `ImageSource` that needs no key, and is faster with one.

    Attributes:
        web: The way to the network.
        base_url: Address of the API, with its version, without a slash at its end.
        interval_s: Least time between two requests.
        token: The header of a registered user; None without an account.
    """

    name: ClassVar[str] = "openverse"

    web: Web
    base_url: str = "https://api.openverse.org/v1"
    interval_s: float = 3.0
    token: Mapping[str, str] | None = field(default=None, repr=False)

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        has_account = any(environ.get(key) for key in KEYS)
        return SourceFacts(
            title=_TITLE,
            page_size=500 if has_account else 20,
            requests_per_minute=100 if has_account else 20,
            requests_per_day=10_000 if has_account else 200,
            most_per_keyword=10_000 if has_account else 240,
            typical_bytes=500_000,
            keys=KEYS if has_account else (),
            keys_from=KEYS_FROM,
            takes_licenses=True,
            gives_licenses=True,
            notice=None
            if has_account
            else f"A free account ({' and '.join(KEYS)}) raises 200 requests a day to 10,000.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`.

        `CLIPAUDIT_OPENVERSE_URL` in `environ` names another server, which is asked without pause.
        """
        services.refuse_argument(cls.name, argument)
        given = [key for key in KEYS if environ.get(key)]
        if len(given) == 1:
            (missing,) = set(KEYS) - set(given)
            raise SourceError(
                f"{given[0]} is set, but {missing} is not",
                f"Set both, or neither: openverse works without. They come from {KEYS_FROM}.",
            )
        mirror = environ.get("CLIPAUDIT_OPENVERSE_URL", "").rstrip("/")
        base_url = mirror or "https://api.openverse.org/v1"
        per_minute = cls.facts(environ).requests_per_minute
        return cls(
            web=web,
            base_url=base_url,
            interval_s=60 / per_minute if per_minute and not mirror else 0.0,
            token=_Token(web, base_url, *(environ[key] for key in KEYS)) if given else None,
        )

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`."""
        services.refuse_unknown(self.facts({}), query)
        licenses = [name for name in map(str.lower, query.licenses) if name in LICENSES]
        if query.licenses and not licenses:
            raise SourceError(
                f"Openverse has no pictures under {', '.join(query.licenses)}",
                f"Choose among {', '.join(LICENSES)}.",
            )
        return islice(self._records(query, licenses), query.limit)

    def _records(self, query: Query, licenses: list[str]) -> Iterator[ImageRecord]:
        sizes = _PAGE_SIZES if self.token else _PAGE_SIZES[:1]
        size = next((size for size in sizes if size >= query.limit), sizes[-1])
        fixed = {"q": query.keyword, "page_size": str(size)}
        if licenses:
            fixed["license"] = ",".join(licenses)
        seen: set[str] = set()
        for number in range(1, _MOST_PAGES + 1):
            page = self._ask({**fixed, "page": str(number)})
            for result in page.results:
                if result.id in seen or result.mature:
                    continue
                seen.add(result.id)
                record = _record(result)
                if record and (not licenses or record.license in licenses):
                    yield record
            if not page.results or number >= page.page_count:
                return

    def _ask(self, params: Mapping[str, str]) -> _Page:
        page = services.ask(
            self,
            _TITLE,
            params,
            _page,
            path="/images/",
            explain=self._why,
            secret_headers=self.token,
            interval_s=self.interval_s,
        )
        if page.warnings:
            logger.warning("Openverse warns: %s", one_line(str(page.warnings)))
        return page

    def _why(self, refused: RefusedError) -> SourceError:
        """What a refusal means, and what to do."""
        if refused.status in {401, 403}:
            return _who_are_you(refused, has_account=self.token is not None)
        return refused


class _Token(Mapping[str, str]):
    """The header of a registered user; its token is asked for when a request is really sent.

    A kept answer needs none, so that a run goes on offline.
    """

    def __init__(self, web: Web, base_url: str, client_id: str, client_secret: str) -> None:
        self._web = web
        self._url = f"{base_url}/auth_tokens/token/"
        self._client_id = client_id
        self._client_secret = client_secret
        self._lock = Lock()
        self._value: str | None = None

    def __getitem__(self, name: str) -> str:
        if name != "Authorization":
            raise KeyError(name)
        with self._lock:
            if self._value is None:
                self._value = f"Bearer {self._ask()}"
            return self._value

    def __iter__(self) -> Iterator[str]:
        return iter(("Authorization",))

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "_Token(…)"

    def _ask(self) -> str:
        fields = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret,
        }
        try:
            answer = self._web.post_form(_TITLE, self._url, fields)
        except RefusedError as refused:
            if refused.status in {400, 401, 403}:
                raise _who_are_you(refused, has_account=True) from refused
            raise
        return services.validated(_Granted, answer, _TITLE).access_token


class _Granted(BaseModel):
    access_token: str


class _Result(BaseModel):
    id: str
    url: str
    title: Text = None
    creator: Text = None
    creator_url: Text = None
    foreign_landing_url: Text = None
    license: Text = None
    license_version: Text = None
    license_url: Text = None
    attribution: Text = None
    width: Count = None
    height: Count = None
    filesize: Count = None
    mature: Any = None


class _Page(BaseModel):
    page_count: int
    results: list[OnErrorOmit[_Result]]
    warnings: Any = None


def _page(answer: Any) -> _Page:
    """An answer as it was promised; results that are not are left out, unless all are.

    Raises:
        SourceError: The answer is something else.
    """
    page = services.validated(_Page, answer, _TITLE)
    if len(answer["results"]) > 1 and not page.results:
        services.validated(_Result, answer["results"][0], _TITLE)
    return page


def _who_are_you(refused: RefusedError, *, has_account: bool) -> SourceError:
    answer = refused.answer
    said = answer.get("detail") or answer.get("error") if isinstance(answer, dict) else answer
    reason = services.quoted(plain_text(str(said)))
    if has_account:
        return SourceError(
            f"Openverse does not accept {' with '.join(KEYS)}: {reason}",
            "Check both, or unset them to go on with fewer requests a day. After half a day, a "
            "token is too old: the same command gets a new one.",
        )
    return SourceError(
        f"Openverse wants an account for this: {reason}",
        f"Get one from {KEYS_FROM} and set {' and '.join(KEYS)}, or use another --source.",
    )


def _record(result: _Result) -> ImageRecord | None:
    image_url = http_url(result.url)
    source_id = one_line(result.id)
    if image_url is None or source_id is None:
        return None
    title, author = plain_text(result.title), plain_text(result.creator)
    page_url = http_url(result.foreign_landing_url)
    license_url = http_url(result.license_url)
    terms = License(
        (one_line(result.license) or "").lower() or None,
        one_line(result.license_version),
        license_url,
    )
    return ImageRecord(
        source=Openverse.name,
        source_id=source_id,
        image_url=image_url,
        page_url=page_url,
        title=title,
        author=author,
        author_url=http_url(result.creator_url),
        license=terms.id,
        license_version=terms.version,
        license_url=license_url,
        credit=plain_text(result.attribution, 1000) or terms.credit(title, author, page_url),
        width_px=result.width,
        height_px=result.height,
        size_bytes=result.filesize,
    )
