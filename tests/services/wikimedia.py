"""Wikimedia Commons' API, as far as a search for files uses it.

It knows `filetype:bitmap` and `creationdate:` in a search, answers only the properties that were
asked for, in an order of its own, and wants a User-Agent with an address (403 without). Pictures
that are wider than 960 px come as thumbnails; other widths, and originals that have a thumbnail,
answer 429, as they do there. A fifth of all files had a new version a year after they were put
online: such a file is older than its timestamp.
"""

from __future__ import annotations

import operator
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from tests.services.server import Answer, Asked, Picture, Service, World, main, sha1_of

WIDTHS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)
NAMES = {"cc0": "CC0", "pdm": "Public domain"}
COMPARE = {">=": operator.ge, "<": operator.lt, ">": operator.gt, "<=": operator.le}


class WikimediaService(Service):
    """Wikimedia Commons' search for files.

    Attributes:
        infos_per_answer: After so many files, an answer leaves the rest without `imageinfo`, and
            gives it in the next one; None for never.
        warnings: What each answer warns of.
    """

    api = "/w/api.php"
    title = "Wikimedia Commons"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.infos_per_answer: int | None = None
        self.warnings: dict[str, Any] = {}

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CLIPAUDIT_WIKIMEDIA_URL": self.api_url,
            "CLIPAUDIT_CONTACT": "someone@example.org",
        }

    def answer(self, asked: Asked) -> Answer:
        if not re.search(r"@|https?://", asked.headers.get("user-agent", "")):
            return Answer("Please set a user-agent and respect our robot policy.", 403)
        query = asked.query
        if query.get("action") != "query" or query.get("generator") != "search":
            return _error("badvalue", "Unrecognized value for parameter")
        if query.get("formatversion") != "2" or query.get("format") != "json":
            return _error("badversion", "This test service speaks formatversion 2 only")
        if query.get("gsrnamespace") != "6":
            return Answer({"batchcomplete": True})
        return Answer(self._found(query))

    def _found(self, query: dict[str, str]) -> dict[str, Any]:
        files = self._search(query["gsrsearch"])
        offset, limit = int(query.get("gsroffset", 0)), int(query.get("gsrlimit", 10))
        shown = list(enumerate(files))[offset : offset + limit]
        answer: dict[str, Any] = {"warnings": self.warnings} if self.warnings else {}
        if not shown:
            return {**answer, "batchcomplete": True}
        start = int(query.get("iicontinue", 0))
        end = len(shown) if self.infos_per_answer is None else start + self.infos_per_answer
        pages: list[dict[str, Any]] = []
        for place, (index, picture) in enumerate(shown):
            page: dict[str, Any] = {
                "pageid": picture.number,
                "ns": 6,
                "title": f"File:{picture.title} {picture.number}.jpg",
                "index": index + 1,
            }
            if start <= place < end:
                page["imagerepository"] = "local"
                page["imageinfo"] = [self._info(picture, query)]
            pages.append(page)
        pages.sort(key=lambda page: page["pageid"])
        if end < len(shown):
            answer["continue"] = {"iicontinue": str(end), "gsroffset": offset, "continue": "||"}
        else:
            answer["batchcomplete"] = True
            if offset + limit < len(files):
                go_on = {"gsroffset": offset + limit, "continue": "gsroffset||"}
                answer["continue"] = go_on
        return {**answer, "query": {"pages": pages}}

    def _search(self, text: str) -> list[Picture]:
        words, checks = [], []
        for word in text.split():
            if word == "filetype:bitmap":
                continue
            if match := re.fullmatch(r"creationdate:(>=|<=|<|>)(\d{4}-\d\d-\d\d)", word):
                checks.append((COMPARE[match[1]], match[2]))
                continue
            words.append(word)
        return [
            picture
            for picture in self.world.pictures(" ".join(words))
            if all(compare(f"{picture.uploaded:%Y-%m-%d}", day) for compare, day in checks)
        ]

    def _info(self, picture: Picture, query: dict[str, str]) -> dict[str, Any]:
        asked = set(query.get("iiprop", "timestamp|user").split("|"))
        info: dict[str, Any] = {}
        if "timestamp" in asked:
            info["timestamp"] = f"{newest_version(picture):%Y-%m-%dT%H:%M:%SZ}"
        if "user" in asked:
            info["user"] = f"Uploader {picture.number % 13}"
        if "size" in asked:
            size = len(picture.jpeg())
            info |= {"size": size, "width": picture.width, "height": picture.height}
        if "url" in asked:
            width = min(int(query.get("iiurlwidth", picture.width)), picture.width)
            page = quote(f"File:{picture.title} {picture.number}.jpg".replace(" ", "_"))
            info |= {
                "thumburl": self.picture_url(picture, width)
                + told("thumbnail_unscaled" if width == picture.width else "thumbnail"),
                "thumbwidth": width,
                "thumbheight": max(1, round(picture.height * width / picture.width)),
                "url": self.picture_url(picture) + told("original"),
                "descriptionurl": f"{self.url}/wiki/{page}",
                "descriptionshorturl": f"{self.url}/w/index.php?curid={picture.number}",
            }
        if "sha1" in asked:
            info["sha1"] = sha1_of(picture)
        if "mime" in asked:
            info["mime"] = "image/jpeg"
        if "extmetadata" in asked:
            names = set(filter(None, query.get("iiextmetadatafilter", "").split("|")))
            said = _said(picture)
            info["extmetadata"] = {
                name: {"value": value, "source": "commons-desc-page"}
                for name, value in said.items()
                if not names or name in names
            }
        return info

    def sends_picture(self, asked: Asked, picture: Picture, width: int) -> Answer:
        is_original = width == picture.width
        if (is_original and width > 960) or (not is_original and width not in WIDTHS):
            return Answer("<h1>429 Too Many Requests</h1>", 429)
        return super().sends_picture(asked, picture, width)


def told(content: str) -> str:
    """What the API adds to the address of a file, to learn where its visitors come from."""
    return f"?utm_source=commons.wikimedia.org&utm_campaign=imageinfo&utm_content={content}"


def newest_version(picture: Picture) -> datetime:
    """When what the file shows now was put online; the file itself may be older."""
    is_again = picture.number % 5 == 3
    return picture.uploaded + timedelta(days=365) if is_again else picture.uploaded


def _said(picture: Picture) -> dict[str, Any]:
    name = NAMES.get(picture.license, f"CC {picture.license.upper()} {picture.version}")
    said: dict[str, Any] = {
        "ObjectName": picture.title,
        "ImageDescription": f"<p>A <b>{picture.keyword}</b></p>",
        "LicenseShortName": name,
        "UsageTerms": name,
        "AttributionRequired": "true" if picture.license.startswith("by") else "false",
        "Copyrighted": "False" if picture.license == "pdm" else "True",
    }
    if picture.author:
        user = quote(picture.author.replace(" ", "_"))
        said["Artist"] = (
            f'<a href="//commons.wikimedia.org/wiki/User:{user}" title="User:{user}">'
            f'{picture.author}</a><span style="display: none;">hidden</span>'
        )
    if picture.license != "pdm":
        path = {"cc0": "publicdomain/zero"}.get(picture.license, f"licenses/{picture.license}")
        said["LicenseUrl"] = f"https://creativecommons.org/{path}/{picture.version}"
    if picture.taken:
        style = picture.number % 3
        said["DateTimeOriginal"] = (
            f"{picture.taken:%Y-%m-%d %H:%M:%S}",
            f'<time class="dtstart" datetime="{picture.taken:%Y-%m-%d}">some day</time>',
            f"{picture.taken:%Y}",
        )[style]
    return said


def _error(code: str, info: str, **more: object) -> Answer:
    body = {"error": {"code": code, "info": info, **more}, "servedby": "mw-test"}
    return Answer(body, headers={"MediaWiki-API-Error": code})


if __name__ == "__main__":
    main(WikimediaService)
