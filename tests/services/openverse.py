"""Openverse's API, as far as a search uses it.

Without an account, 20 results a page at most (401 for more); with the token of the account that
`OpenverseService.environ_of_account` names, 500; 20 pages of a query at most (400 beyond). Every
fifth result or so has no title, size or attribution, and some have no author.
"""

from __future__ import annotations

import math
import uuid
from typing import Any

from tests.services.server import Answer, Asked, Picture, Service, World, main

CLIENT_ID, CLIENT_SECRET, TOKEN = "good-client", "good-secret", "good-token"
KNOWN = (
    *("by", "by-nc", "by-nc-nd", "by-nc-sa", "by-nd", "by-sa", "cc0", "pdm"),
    *("sampling+", "nc-sampling+"),
)


class OpenverseService(Service):
    """Openverse's search for pictures.

    Attributes:
        most_anonymous: Results a page without an account.
        warnings: What each answer warns of.
        repeats: Whether a page starts with the last result of the page before.
        mature: Share of ranks (every so many) whose result is marked as mature; 0 for none.
    """

    api = "/v1"
    title = "Openverse"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.most_anonymous = 20
        self.warnings: list[dict[str, Any]] = []
        self.repeats = False
        self.mature = 0

    @property
    def environ(self) -> dict[str, str]:
        return {"CLIPAUDIT_OPENVERSE_URL": self.api_url}

    @property
    def environ_of_account(self) -> dict[str, str]:
        account = {"OPENVERSE_CLIENT_ID": CLIENT_ID, "OPENVERSE_CLIENT_SECRET": CLIENT_SECRET}
        return {**self.environ, **account}

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v1/auth_tokens/token/":
            return self._token(asked.form)
        if asked.path != "/v1/images/":
            return Answer({"detail": "Not found."}, 404)
        bearer = asked.headers.get("authorization")
        if bearer not in {None, f"Bearer {TOKEN}"}:
            return Answer({"detail": "The access token is invalid or has expired."}, 401)
        scope = "anon" if bearer is None else "oauth2_client_credentials"
        headers = {
            f"X-RateLimit-Limit-{scope}_burst": "20/min" if bearer is None else "100/min",
            f"X-RateLimit-Available-{scope}_burst": "19",
        }
        refusal = self._refusal(asked.query, is_anonymous=bearer is None)
        return refusal or Answer(self._page(asked.query), headers=headers)

    def _token(self, form: dict[str, str]) -> Answer:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return Answer({"error": "invalid_client"}, 401)
        if form.get("grant_type") != "client_credentials":
            return Answer({"error": "unsupported_grant_type"}, 400)
        granted = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 43_200}
        return Answer({**granted, "scope": "read write"})

    def _refusal(self, query: dict[str, str], *, is_anonymous: bool) -> Answer | None:
        most = self.most_anonymous if is_anonymous else 500
        if int(query.get("page_size", 20)) > most:
            if is_anonymous:
                said = f"page_size may not exceed {most} for anonymous requests"
                return Answer({"detail": said}, 401)
            said = f"Ensure this value is less than or equal to {most}."
            return Answer({"detail": {"page_size": [said]}}, 400)
        if int(query.get("page", 1)) > 20:
            said = "Ensure this value is less than or equal to 20."
            return Answer({"detail": {"page": [said]}}, 400)
        for name in filter(None, query.get("license", "").split(",")):
            if name not in KNOWN:
                return Answer({"detail": {"license": [f"License '{name}' does not exist."]}}, 400)
        return None

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        licenses = set(filter(None, query.get("license", "").split(",")))
        found = [
            picture
            for picture in self.world.pictures(query["q"])
            if not licenses or picture.license in licenses
        ]
        number, size = int(query.get("page", 1)), int(query.get("page_size", 20))
        start = (number - 1) * size
        shown = found[start : start + size]
        if self.repeats and start and shown:
            shown = [found[start - 1], *shown[:-1]]
        page: dict[str, Any] = {
            "result_count": len(found),
            "page_count": min(20, math.ceil(len(found) / size)),
            "page_size": size,
            "page": number,
            "results": [self._result(picture) for picture in shown],
        }
        return {"warnings": self.warnings, **page} if self.warnings else page

    def _result(self, picture: Picture) -> dict[str, Any]:
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.world.seed}/{picture.key}"))
        here = f"{self.api_url}/images/{identifier}"
        has_nulls = picture.number % 5 == 0
        author = picture.author
        text_url = _text_url(picture)
        credit = f'"{picture.title}" by {author} is licensed under {picture.license.upper()}.'
        return {
            "id": identifier,
            "title": None if has_nulls else picture.title,
            "indexed_on": "2024-01-02T03:04:05.678901Z",
            "foreign_landing_url": f"{self.url}/pages/{picture.number}",
            "url": self.picture_url(picture),
            "creator": author,
            "creator_url": f"{self.url}/people/{picture.number % 97}" if author else None,
            "license": picture.license,
            "license_version": picture.version,
            "license_url": text_url,
            "provider": "flickr",
            "source": "flickr",
            "category": None if has_nulls else "photograph",
            "filesize": None if has_nulls else len(picture.jpeg()),
            "filetype": None if has_nulls else "jpg",
            "tags": [{"name": picture.keyword, "accuracy": None}],
            "attribution": None if has_nulls else credit,
            "fields_matched": ["title"],
            "mature": bool(self.mature) and picture.rank % self.mature == 0,
            "height": None if has_nulls else picture.height,
            "width": None if has_nulls else picture.width,
            "thumbnail": f"{here}/thumb/",
            "detail_url": f"{here}/",
            "related_url": f"{here}/related/",
        }


def _text_url(picture: Picture) -> str:
    part = {"cc0": "publicdomain/zero", "pdm": "publicdomain/mark"}
    path = part.get(picture.license, f"licenses/{picture.license}")
    return f"https://creativecommons.org/{path}/{picture.version}/"


if __name__ == "__main__":
    main(OpenverseService)
