"""Google's Programmable Search, as far as a search for images uses it.

Ten results a request, none beyond `start + num` = 100 (400 for more), no `items` where nothing is
found. `rights` is understood as Creative Commons describes it. Every ninth result or so is a raw
image, which has no address, and every seventh has no `image`.
"""

from __future__ import annotations

from typing import Any

from tests.services.server import Answer, Asked, Picture, Service, World, main

API_KEY, ENGINE_ID = "good-google-key", "good-engine-id"
TERMS = ("attribute", "sharealike", "noncommercial", "nonderived", "publicdomain")


class GoogleService(Service):
    """Google's search for images.

    Attributes:
        quota: Requests that are answered before all others get 429; None for no end.
        has_ended: Whether the API is gone.
    """

    api = "/customsearch/v1"
    title = "Google"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.quota: int | None = None
        self.has_ended = False

    @property
    def environ(self) -> dict[str, str]:
        keys = {"GOOGLE_API_KEY": API_KEY, "GOOGLE_CSE_ID": ENGINE_ID}
        return {**keys, "CLIPAUDIT_GOOGLE_URL": self.api_url}

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        if self.has_ended:
            return error(410, "The API has been shut down.", "FAILED_PRECONDITION", "gone")
        if query.get("key") != API_KEY:
            said = "API key not valid. Please pass a valid API key."
            return error(400, said, "INVALID_ARGUMENT", "badRequest")
        if self.quota is not None and len(self.asked) > self.quota:
            return quota_error()
        start, num = int(query.get("start", 1)), int(query.get("num", 10))
        if query.get("cx") != ENGINE_ID or not 1 <= num <= 10 or not 1 <= start <= 100 - num:
            said = "Request contains an invalid argument."
            return error(400, said, "INVALID_ARGUMENT", "badRequest")
        if query.get("searchType") != "image":
            raise AssertionError("this service searches for images alone")
        return Answer(self._page(query, start, num))

    def _page(self, query: dict[str, str], start: int, num: int) -> dict[str, Any]:
        found = [
            picture
            for picture in self.world.pictures(query["q"])
            if allows(query.get("rights"), picture.license)
        ]
        request = {
            "title": f"Google Custom Search - {query['q']}",
            "totalResults": str(len(found)),
            "searchTerms": query["q"],
            "count": num,
            "startIndex": start,
            "inputEncoding": "utf8",
            "outputEncoding": "utf8",
            "safe": query.get("safe", "off"),
            "cx": query["cx"],  # Google sends it back
            "searchType": "image",
        }
        page: dict[str, Any] = {
            "kind": "customsearch#search",
            "url": {"type": "application/json", "template": "https://…?q={searchTerms}&num=…"},
            "queries": {"request": [request]},
            "searchInformation": {"searchTime": 0.31, "totalResults": str(len(found))},
        }
        if len(found) >= start + num:
            page["queries"]["nextPage"] = [{**request, "startIndex": start + num}]
        shown = found[start - 1 : start - 1 + num]
        if shown:
            page["items"] = [self._item(picture) for picture in shown]
        return page

    def _item(self, picture: Picture) -> dict[str, Any]:
        is_raw = picture.number % 9 == 0
        item: dict[str, Any] = {
            "kind": "customsearch#result",
            "title": f"{picture.title} - some site",
            "htmlTitle": f"<b>{picture.title}</b> - some site",
            "link": f"x-raw-image:///{picture.number}" if is_raw else self.picture_url(picture),
            "displayLink": "127.0.0.1",
            "snippet": picture.title,
            "mime": "image/jpeg",
            "fileFormat": "image/jpeg",
        }
        if picture.number % 7 != 0:
            item["image"] = {
                "contextLink": f"{self.url}/pages/{picture.number}",
                "height": picture.height,
                "width": picture.width,
                "byteSize": len(picture.jpeg()),
                "thumbnailLink": self.picture_url(picture, 120),
                "thumbnailHeight": 90,
                "thumbnailWidth": 120,
            }
        return item


def terms_of(license_id: str) -> set[str]:
    """Which of Google's terms hold for a licence, by the letters of its name."""
    if license_id in {"cc0", "pdm"}:
        return {"publicdomain"}
    letters = {"by": "attribute", "sa": "sharealike", "nc": "noncommercial", "nd": "nonderived"}
    return {letters[part] for part in license_id.split("-")}


def allows(rights: str | None, license_id: str) -> bool:
    """Whether `(cc_one|cc_other).-(cc_third)` lets a licence through."""
    if not rights:
        return True
    asked, _, barred = rights.partition(".-")
    held = terms_of(license_id)
    return bool(held & _terms(asked)) and not held & _terms(barred)


def _terms(group: str) -> set[str]:
    named = {name.removeprefix("cc_") for name in group.strip("()").split("|") if name}
    assert named <= set(TERMS), group
    return named


def error(code: int, message: str, status: str, reason: str) -> Answer:
    listed = [{"message": message, "domain": "global", "reason": reason}]
    body = {"error": {"code": code, "message": message, "errors": listed, "status": status}}
    return Answer(body, code)


def quota_error() -> Answer:
    """As others quote it."""
    said = (
        "Quota exceeded for quota metric 'Queries' and limit 'Queries per day' of service "
        "'customsearch.googleapis.com' for consumer 'project_number:451270028559'."
    )
    return error(429, said, "RESOURCE_EXHAUSTED", "rateLimitExceeded")


if __name__ == "__main__":
    main(GoogleService)
