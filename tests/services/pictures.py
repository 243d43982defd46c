"""Sites with nothing but pictures, lists of their addresses, and folders of the same pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.services.server import Answer, Asked, Picture, Service, World, main


class PicturesService(Service):
    """A site whose pictures stand in a list.

    Attributes:
        robots: Its robots.txt.
    """

    api = "/robots.txt"
    title = "a site"

    def __init__(self, world: World = World(), port: int = 0) -> None:  # noqa: B008 - frozen
        super().__init__(world, port)
        self.robots = "User-agent: *\nAllow: /\n"

    @property
    def environ(self) -> dict[str, str]:
        return {}

    def answer(self, asked: Asked) -> Answer:
        is_known = asked.path == self.api
        return Answer(self.robots) if is_known else Answer("<h1>404 Not Found</h1>", 404)

    def rows(self, keywords: Iterable[str]) -> list[dict[str, Any]]:
        """What a list of its pictures says, with all that a list may say."""
        return [
            self._row(keyword, picture)
            for keyword in keywords
            for picture in self.world.pictures(keyword)
        ]

    def _row(self, keyword: str, picture: Picture) -> dict[str, Any]:
        data = picture.jpeg()
        return {
            "url": self.picture_url(picture),
            "keyword": keyword,
            "caption": f"<b>A {keyword}</b> &amp; more, no. {picture.rank}",
            "license": f"CC {picture.license.upper()} {picture.version}"
            if picture.license.startswith("by")
            else picture.license,
            "width": picture.width,
            "height": picture.height,
            "sha256": sha256(data).hexdigest(),
            "md5": md5(data).hexdigest(),
        }


def write_list(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A list in the format that the ending of its path names; text has the addresses alone."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=50)
    elif path.suffix == ".txt":
        path.write_text("".join(f"{row['url']}\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            delimiter = {".csv": ",", ".tsv": "\t"}[path.suffix]
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def write_folder(path: Path, world: World, keywords: Iterable[str]) -> Path:
    """A folder with a subfolder of pictures for each keyword."""
    for keyword in keywords:
        folder = path / keyword
        folder.mkdir(parents=True)
        for picture in world.pictures(keyword):
            (folder / f"{picture.rank:04}.jpg").write_bytes(picture.jpeg())
    return path


if __name__ == "__main__":
    main(PicturesService)
