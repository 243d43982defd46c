"""Flickr: photographs with licences and upload dates; needs a free key.

As of 2026-11; https://www.flickr.com/services/api/flickr.photos.search.html, …/flickr.photos.
licenses.getInfo.html, and …/services/developer/api/ for 3,600 requests an hour a key. A query has
4,000 hits at most, then repeats some, as Openverse's catalogue of Flickr describes it
(WordPress/openverse, `catalog/dags/providers/provider_api_scripts/flickr.py`).

Licences have numbers, which the service explains; since 2025-06-18 new uploads are under 4.0 of
Creative Commons' licences, 11 to 16 (an answer that Flickr-Foundation/flickr-photos-api recorded).

Not confirmed: that error 10 means a search that is out of order, and that a date in the future is
taken for `max_upload_date`, as it is where the hits after 2021 are cut in halves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from urllib.parse import quote

from pydantic import (
    BaseModel,
    ConfigDict,
    OnErrorOmit,
    model_validator,
)

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.fetch import TryAgain
from clipaudit_crawlers.licenses import FREE, License, http_url, one_line, plain_text, read_license
from clipaudit_crawlers.sources import services
from clipaudit_crawlers.sources.services import Count, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

KEY = "FLICKR_API_KEY"
KEY_FROM = "https://www.flickr.com/services/apps/create/"

_TITLE = "Flickr"
_MOST_HITS = 4000
_PAGE_SIZES = (100, 250, 500)
"""Each divides the 4,000; few, so that a kept answer serves the next run too."""
_FIRST_S = int(datetime(2004, 1, 1, tzinfo=UTC).timestamp())  # Flickr opened in February
_LAST_S = 2**31 - 1  # in 2038; no clock is read, so a query repeats itself another day

_SIZES = ("l", "c", "z", "o")
"""1024, 800, 640 px, and only then the original: whoever asks resizes to a few hundred anyway."""
_FORMAT = {"format": "json", "nojsoncallback": "1"}
_FIXED = {
    **_FORMAT,
    "method": "flickr.photos.search",
    "sort": "relevance",
    "media": "photos",
    "content_type": "1",  # no screenshots, no drawings
    "safe_search": "1",
    "extras": "license,owner_name,date_upload,date_taken,url_l,url_c,url_z,url_o",
}
_BUSY = frozenset((10, 105, 106))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flickr:
    """An `ImageSource` that needs an API key.

    Attributes:
        web: The way to the network.
        api_key: Key of an account at Flickr.
        base_url: The endpoint.
        interval_s: Least time between two requests.
    """

    name: ClassVar[str] = "flickr"

    web: Web
    api_key: str = field(repr=False)
    base_url: str = "https://api.flickr.com/services/rest/"
    interval_s: float = 1.0
    _licenses: dict[str, License] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title=_TITLE,
            page_size=500,
            requests_per_minute=60,
            typical_bytes=250_000,
            keys=(KEY,),
            keys_from=KEY_FROM,
            takes_licenses=True,
            gives_licenses=True,
            gives_upload_dates=True,
            extra_requests=1,
            notice="Flickr's keys are for non-commercial use, and wherever a picture is shown, "
            "it has to link to its page there.",
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`.

        `CLIPAUDIT_FLICKR_URL` in `environ` names another server, which is asked without pause.
        """
        services.refuse_argument(cls.name, argument)
        services.require_keys(cls.facts(environ), environ)
        key = environ[KEY].strip()
        mirror = environ.get("CLIPAUDIT_FLICKR_URL", "")
        if mirror:
            return cls(web=web, api_key=key, base_url=mirror, interval_s=0.0)
        return cls(web=web, api_key=key)

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`.

        Best first up to 4,000 hits; those beyond follow by the time of their upload.
        """
        return islice(self._records(query), query.limit)

    def _records(self, query: Query) -> Iterator[ImageRecord]:
        licenses = self._known_licenses()
        wanted = {name.lower() for name in query.licenses or FREE}
        ids = [id_ for id_, known in licenses.items() if (known.id or "").lower() in wanted]
        if not ids:
            names = sorted({known.id for known in licenses.values() if known.id})
            raise SourceError(
                f"Flickr has no pictures under {', '.join(sorted(wanted))}",
                f"Choose among {', '.join(names)}.",
            )
        size = next((size for size in _PAGE_SIZES if size >= query.limit), _PAGE_SIZES[-1])
        words = {"text": query.keyword, "license": ",".join(ids), "per_page": str(size)}
        # Both ends belong to a range of Flickr's; the end of ours does not.
        since = _seconds(query.uploaded_from) if query.uploaded_from else None
        until = _seconds(query.uploaded_before) - 1 if query.uploaded_before else None
        seen: set[str] = set()
        for photo in self._hits({**_FIXED, **words}, since, until):
            if photo.id in seen or not _is_within(photo.dateupload, since, until):
                continue
            seen.add(photo.id)
            if record := _record(photo, licenses):
                yield record

    def _hits(
        self,
        fixed: Mapping[str, str],
        since: int | None,
        until: int | None,
        *,
        is_slice: bool = False,
    ) -> Iterator[_Photo]:
        """What was uploaded in a range of time: what one query gives, then, in halves, the rest.

        A slice that is too large for one query is not read, since its halves hold the same.
        """
        start = _FIRST_S if since is None else since
        end = _LAST_S if until is None else until
        page, number = self._page(fixed, since, until, 1), 1
        if is_slice and not all(start <= (photo.dateupload or 0) <= end for photo in page.photo):
            return  # it does not keep to the time, so that no half would ever be small enough
        is_cut_off = page.total > _MOST_HITS and start < end and bool(page.photo)
        if not (is_slice and is_cut_off):
            yield from page.photo
            while page.photo and number * int(fixed["per_page"]) < min(page.total, _MOST_HITS):
                number += 1
                page = self._page(fixed, since, until, number)
                yield from page.photo
        if is_cut_off:
            middle = (start + end) // 2
            yield from self._hits(fixed, start, middle, is_slice=True)
            yield from self._hits(fixed, middle + 1, end, is_slice=True)

    def _page(
        self, fixed: Mapping[str, str], since: int | None, until: int | None, number: int
    ) -> _Photos:
        params = {**fixed, "page": str(number)}
        if since is not None:
            params["min_upload_date"] = str(since)
        if until is not None:
            params["max_upload_date"] = str(until)
        return self._ask(_Search, params).photos

    def _known_licenses(self) -> dict[str, License]:
        """What Flickr's numbers of licences mean; asked once a run."""
        if not self._licenses:
            answer = self._ask(_Licenses, {**_FORMAT, "method": "flickr.photos.licenses.getInfo"})
            for terms in answer.licenses.license:
                self._licenses[terms.id] = read_license(terms.name, terms.url)
        return self._licenses

    def _ask(self, model: type[_Answer], params: Mapping[str, str]) -> _Answer:
        return services.ask(
            self,
            _TITLE,
            params,
            partial(_read, model),
            secret_params={"api_key": self.api_key},
            interval_s=self.interval_s,
        )


class _Model(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)  # ids come as either


class _Told(_Model):
    id: str
    name: str | None = None
    url: str | None = None


class _ToldAll(_Model):
    license: list[OnErrorOmit[_Told]]


class _Licenses(_Model):
    licenses: _ToldAll


class _Photo(_Model):
    id: str
    owner: str
    title: Text = None
    ownername: Text = None
    license: str | None = None
    dateupload: int | None = None
    datetaken: Text = None
    datetakenunknown: str | None = None
    datetakengranularity: str | None = None
    url: Text = None
    width: Count = None
    height: Count = None

    @model_validator(mode="before")
    @classmethod
    def _with_one_size(cls, raw: Any) -> Any:
        """The size that we take, without the letter that its fields end in."""
        if not isinstance(raw, dict):
            return raw
        size = next((size for size in _SIZES if raw.get(f"url_{size}")), _SIZES[0])
        return {**raw, **{part: raw.get(f"{part}_{size}") for part in ("url", "width", "height")}}


class _Photos(_Model):
    total: int
    photo: list[OnErrorOmit[_Photo]]


class _Search(_Model):
    photos: _Photos


class _Status(_Model):
    stat: str
    code: int = 0
    message: Text = None


_Answer = TypeVar("_Answer", _Search, _Licenses)


def _read(model: type[_Answer], answer: Any) -> _Answer:
    """An answer as it was promised; photographs that are not are left out, unless all are.

    Raises:
        TryAgain: The service is busy.
        SourceError: It says that something is wrong, or the answer is something else.
    """
    status = services.validated(_Status, answer, _TITLE)
    if status.stat == "ok":
        read = services.validated(model, answer, _TITLE)
        if isinstance(read, _Search) and not read.photos.photo:
            odd = answer["photos"]["photo"]
            if len(odd) > 1:
                services.validated(_Photo, odd[0], _TITLE)
        return read
    said = services.quoted(plain_text(status.message))
    if status.code in _BUSY or "not currently available" in said:
        raise TryAgain(said)
    if status.code == 100:
        raise SourceError(
            f"Flickr does not accept the key in {KEY}: {said}",
            f"Look at your keys, or get a new one, at {KEY_FROM}.",
        )
    raise SourceError(
        f"Flickr: {said} (code {status.code})", "Try other keywords, or another --source."
    )


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), tzinfo=UTC).timestamp())


def _is_within(moment: int | None, since: int | None, until: int | None) -> bool:
    if since is None and until is None:
        return True
    return (
        moment is not None
        and (since is None or moment >= since)
        and (until is None or moment <= until)
    )


def _record(photo: _Photo, licenses: Mapping[str, License]) -> ImageRecord | None:
    image_url = http_url(photo.url)
    owner, photo_id = quote(photo.owner, safe="@"), quote(photo.id, safe="")
    if not (image_url and owner and photo_id):
        return None
    page_url = f"https://www.flickr.com/photos/{owner}/{photo_id}"
    title, author = one_line(photo.title), one_line(photo.ownername)
    terms = licenses.get(photo.license or "") or License(one_line(photo.license))
    return ImageRecord(
        source=Flickr.name,
        source_id=photo_id,
        image_url=image_url,
        page_url=page_url,
        title=title,
        author=author,
        author_url=f"https://www.flickr.com/photos/{owner}",
        license=terms.id,
        license_version=terms.version,
        license_url=terms.url,
        credit=terms.credit(title, author, page_url),
        uploaded=_time(photo.dateupload),
        taken=_taken(photo),
        width_px=photo.width,
        height_px=photo.height,
    )


def _time(seconds: int | None) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _taken(photo: _Photo) -> str | None:
    """When it was taken, where Flickr knows it to the second; by the clock of the camera."""
    if photo.datetaken is None or photo.datetakenunknown == "1":
        return None
    if photo.datetakengranularity not in {None, "0"}:  # 4, 6, 8: month, year, "circa"
        return None
    try:
        return datetime.fromisoformat(photo.datetaken).isoformat()
    except ValueError:
        return None
