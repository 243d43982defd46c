"""Brave's search for images: one answer of at most 200, for the token in the header.

Every tenth result or so has no `properties.url`, but a thumbnail, and every eleventh neither.
"""

from __future__ import annotations

from typing import Any

from tests.services.server import Answer, Asked, Picture, Service, World, main

API_KEY = "good-brave-key"
THUMBNAIL_PX = 200


class BraveService(Service):
    """Brave's search.

    Attributes:
        requests_left: Requests that the plan has; None for no end.
        has_addresses: Whether results say where their picture is.
    """

    api = "/res/v1/images/search"
    title = "Brave"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.requests_left: int | None = None
        self.has_addresses = True

    @property
    def environ(self) -> dict[str, str]:
        return {"BRAVE_API_KEY": API_KEY, "CLIPAUDIT_BRAVE_URL": self.api_url}

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("x-subscription-token") != API_KEY:
            said = "The provided subscription token is invalid."
            return error(422, "SUBSCRIPTION_TOKEN_INVALID", said)
        if self.requests_left is not None and len(self.asked) > self.requests_left:
            return error(429, "RATE_LIMITED", "Request rate limit exceeded for plan")
        query = asked.query
        count = int(query.get("count", 50))
        if not query.get("q") or not 1 <= count <= 200 or "offset" in query:
            return error(422, "VALIDATION", "Unable to validate request parameter(s)")
        results = [self._result(picture) for picture in self.world.pictures(query["q"])[:count]]
        body = {
            "type": "images",
            "query": {"original": query["q"], "spellcheck_off": query.get("spellcheck") == "0"},
            "results": results,
            "extra": {"might_be_offensive": False},
        }
        headers = {"X-RateLimit-Limit": "50, 1000", "X-RateLimit-Remaining": "49, 998"}
        return Answer(body, headers=headers)

    def _result(self, picture: Picture) -> dict[str, Any]:
        result: dict[str, Any] = {
            "type": "image_result",
            "title": f"<strong>{picture.title}</strong> &amp; more",
            "url": f"{self.url}/pages/{picture.number}",
            "source": "127.0.0.1",
            "page_fetched": "2026-09-14T07:50:27Z",
            "meta_url": {"scheme": "http", "netloc": "127.0.0.1"},
            "confidence": "high",
        }
        if self.has_addresses and picture.number % 11 != 0:
            width = min(picture.width, THUMBNAIL_PX)
            result["thumbnail"] = {
                "src": self.picture_url(picture, width),
                "width": width,
                "height": max(1, round(picture.height * width / picture.width)),
            }
            result["properties"] = {"placeholder": self.picture_url(picture, 8)}
            if picture.number % 10 != 0:
                result["properties"] |= {
                    "url": self.picture_url(picture),
                    "width": picture.width,
                    "height": picture.height,
                }
        return result


def error(status: int, code: str, detail: str) -> Answer:
    """As others quote it."""
    said = {"id": "ade84851", "status": status, "code": code, "detail": detail, "meta": {}}
    return Answer({"type": "ErrorResponse", "error": said, "time": 1754364294}, status)


if __name__ == "__main__":
    main(BraveService)
