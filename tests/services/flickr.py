"""Flickr's API, as far as a search uses it.

The key is `good-key`. After 4,000 hits a query repeats some of them, while `total` and `pages`
still count all. Both ends of a range of upload dates belong to it. Only the extras that were asked
for come; some photographs have no 1024 px, some have no size that may be taken at all.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from tests.services.server import Answer, Asked, Picture, Service, World, main

KEY = "good-key"
MOST_HITS = 4000

LICENSES = {
    "0": ("All Rights Reserved", "https://www.flickrhelp.com/hc/en-us/articles/10710266545556"),
    "4": ("CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/"),
    "6": ("CC BY-ND 2.0", "https://creativecommons.org/licenses/by-nd/2.0/"),
    "3": ("CC BY-NC-ND 2.0", "https://creativecommons.org/licenses/by-nc-nd/2.0/"),
    "2": ("CC BY-NC 2.0", "https://creativecommons.org/licenses/by-nc/2.0/"),
    "1": ("CC BY-NC-SA 2.0", "https://creativecommons.org/licenses/by-nc-sa/2.0/"),
    "5": ("CC BY-SA 2.0", "https://creativecommons.org/licenses/by-sa/2.0/"),
    "7": ("No known copyright restrictions", "https://www.flickr.com/commons/usage/"),
    "8": ("United States Government Work", "https://www.usa.gov/government-copyright"),
    "9": (
        "Public Domain Dedication (CC0)",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ),
    "10": ("Public Domain Mark", "https://creativecommons.org/publicdomain/mark/1.0/"),
    "11": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "12": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "13": ("CC BY-ND 4.0", "https://creativecommons.org/licenses/by-nd/4.0/"),
    "14": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "15": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "16": ("CC BY-NC-ND 4.0", "https://creativecommons.org/licenses/by-nc-nd/4.0/"),
}
NUMBERS = {("by", "2.0"): "4", ("by-sa", "4.0"): "12", ("cc0", "1.0"): "9", ("pdm", "1.0"): "10"}
"""Flickr's number of what a world's pictures are under; others are 14."""

SIZES = {"l": 1024, "c": 800, "z": 640}


class FlickrService(Service):
    """Flickr's search for photographs.

    Attributes:
        total_is_text: Whether `total` comes as text, as it did for years.
        ignores_dates: Whether ranges of time are ignored, as no good service does.
    """

    api = "/services/rest/"
    title = "Flickr"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.total_is_text = False
        self.ignores_dates = False

    @property
    def environ(self) -> dict[str, str]:
        return {"CLIPAUDIT_FLICKR_URL": self.api_url, "FLICKR_API_KEY": KEY}

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        if query.get("api_key") != KEY:
            return fails(100, "Invalid API Key (Key has invalid format)")
        if query.get("format") != "json" or query.get("nojsoncallback") != "1":
            return Answer("jsonFlickrApi({})")
        if query.get("method") == "flickr.photos.licenses.getInfo":
            known = [
                {"id": int(number), "name": name, "url": url}
                for number, (name, url) in LICENSES.items()
            ]
            return Answer({"licenses": {"license": known}, "stat": "ok"})
        if query.get("method") != "flickr.photos.search":
            return fails(112, f'Method "{query.get("method")}" not found')
        if not query.get("text"):
            return fails(3, "Parameterless searches have been disabled.")
        return Answer({"photos": self._page(query), "stat": "ok"})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        any_time = ("0", str(2**40))
        times = (
            any_time
            if self.ignores_dates
            else (
                query.get("min_upload_date", any_time[0]),
                query.get("max_upload_date", any_time[1]),
            )
        )
        since, until = map(int, times)
        found = _hits(self.world, query["text"], query.get("license", ""), since, until)
        number, size = int(query.get("page", 1)), min(500, int(query.get("per_page", 100)))
        places = range((number - 1) * size, min(number * size, len(found)))
        extras = set(query.get("extras", "").split(","))
        shown = [found[place % MOST_HITS] for place in places]
        return {
            "page": number,
            "pages": math.ceil(len(found) / size),
            "perpage": size,
            "total": str(len(found)) if self.total_is_text else len(found),
            "photo": [self._photo(picture, extras) for picture in shown],
        }

    def _photo(self, picture: Picture, extras: set[str]) -> dict[str, Any]:
        photo: dict[str, Any] = {
            "id": str(picture.number),
            "owner": f"{picture.number % 10**8}@N0{picture.number % 9}",
            "secret": f"{picture.number:x}"[:10],
            "server": "65535",
            "farm": 66,
            "title": "" if picture.number % 13 == 0 else picture.title,
            "ispublic": 1,
            "isfriend": 0,
            "isfamily": 0,
        }
        if "license" in extras:
            photo["license"] = number_of(picture)
        if "owner_name" in extras:
            photo["ownername"] = picture.author or ""
        if "date_upload" in extras:
            photo["dateupload"] = str(int(picture.uploaded.timestamp()))
        if "date_taken" in extras:
            taken = picture.taken or picture.uploaded
            photo["datetaken"] = f"{taken:%Y-%m-%d %H:%M:%S}"
            photo["datetakengranularity"] = 0
            photo["datetakenunknown"] = "0" if picture.taken else "1"
        kind = picture.number % 40
        for letter, most in SIZES.items():
            if f"url_{letter}" in extras and kind != 0 and not (kind == 1 and letter == "l"):
                photo |= self._size(picture, letter, most)
        if "url_o" in extras and kind != 0 and picture.number % 2:
            photo |= self._size(picture, "o", picture.width)
        return photo

    def _size(self, picture: Picture, letter: str, most: int) -> dict[str, Any]:
        width = min(most, picture.width)
        return {
            f"url_{letter}": self.picture_url(picture, width),
            f"width_{letter}": width,
            f"height_{letter}": max(1, round(picture.height * width / picture.width)),
        }


@lru_cache(maxsize=64)
def _hits(world: World, text: str, licenses: str, since: int, until: int) -> tuple[Picture, ...]:
    """All that a query finds; kept, since each of its pages asks anew."""
    wanted = set(filter(None, licenses.split(",")))
    return tuple(
        picture
        for picture in world.pictures(text)
        if (not wanted or number_of(picture) in wanted)
        and since <= picture.uploaded.timestamp() < until + 1
    )


def number_of(picture: Picture) -> str:
    """Flickr's number of a picture's licence."""
    return NUMBERS.get((picture.license, picture.version), "14")


def has_url(picture: Picture) -> bool:
    """Whether its owner lets anybody have it in any size."""
    return picture.number % 40 != 0


def fails(code: int, message: str) -> Answer:
    """How Flickr says that something is wrong: with status 200."""
    return Answer({"stat": "fail", "code": code, "message": message})


if __name__ == "__main__":
    main(FlickrService)
