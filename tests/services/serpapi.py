"""SerpApi's search for Google's images.

Pages of 100 by `ijn`, and an `error` where nothing is found. Every eighth result or so has no
`original`; those of a first page that was asked for with `ijn=0` have little but a thumbnail, as
users report it. Thumbnails are addresses or `data:` URLs.
"""

from __future__ import annotations

from typing import Any

from tests.services.server import Answer, Asked, Picture, Service, World, main

API_KEY = "good-serpapi-key"
NOTHING = "Google hasn't returned any results for this query."


class SerpApiService(Service):
    """SerpApi's search.

    Attributes:
        searches_left: Searches that the plan has; None for no end.
        has_originals: Whether Google gives addresses of pictures at all.
        repeats_for_ever: Whether every page after the last is the last one again.
    """

    api = "/search.json"
    title = "SerpApi"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.searches_left: int | None = None
        self.has_originals = True
        self.repeats_for_ever = False

    @property
    def environ(self) -> dict[str, str]:
        return {"SERPAPI_API_KEY": API_KEY, "CLIPAUDIT_SERPAPI_URL": self.api_url}

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        if query.get("api_key") != API_KEY:
            said = (
                "Invalid API key. Your API key should be here: https://serpapi.com/manage-api-key"
            )
            return Answer({"error": said}, 401)
        if self.searches_left is not None and len(self.asked) > self.searches_left:
            return Answer({"error": "Your account has run out of searches."}, 429)
        if query.get("engine") != "google_images" or not query.get("q"):
            return Answer({"error": "Missing query `q` parameter."}, 400)
        return Answer(self._page(query))

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        found = self.world.pictures(query["q"])
        number = int(query.get("ijn", 0))
        if self.repeats_for_ever:
            number = min(number, (len(found) - 1) // 100)
        shown = found[number * 100 : number * 100 + 100]
        echoed = {name: value for name, value in query.items() if name != "api_key"}
        page: dict[str, Any] = {
            "search_metadata": {
                "id": "6540ac26b68f8b2910019dd5",
                "status": "Success",
                "google_images_url": "https://www.google.com/search?udm=2",
                "total_time_taken": 1.2,
            },
            "search_parameters": echoed,
            "search_information": {"image_results_state": "Results for exact spelling"},
        }
        if not shown:
            return {**page, "error": NOTHING}
        start = number * 100 + 1
        is_bare = "ijn" in query and number == 0
        page["images_results"] = [
            self._result(picture, place, is_bare=is_bare)
            for place, picture in enumerate(shown, start)
        ]
        return page

    def _result(self, picture: Picture, position: int, *, is_bare: bool) -> dict[str, Any]:
        is_inline = picture.number % 3 == 0
        thumbnail = (
            "data:image/jpeg;base64,/9j/4A==" if is_inline else self.picture_url(picture, 120)
        )
        result: dict[str, Any] = {"position": position, "thumbnail": thumbnail, "is_product": False}
        if is_bare:
            return result
        result |= {
            "source": "127.0.0.1",
            "title": f"{picture.title} &amp; more",
            "link": f"{self.url}/pages/{picture.number}",
        }
        if self.has_originals and picture.number % 8 != 0:
            result["original"] = self.picture_url(picture)
            if picture.number % 5 != 0:
                result |= {"original_width": picture.width, "original_height": picture.height}
        return result


if __name__ == "__main__":
    main(SerpApiService)
