"""Pictures whose addresses a file lists: `urls:FILE`, as text, CSV, TSV or Parquet.

Columns go by the names that img2dataset, LAION, DataComp and CC12M give them, in capitals or not;
`COLUMNS` has them all. Which rows a keyword gives, in the order of the file:

- With a column `keyword`, those where it is the keyword; case, and whether a space, `_` or `-`
  stands between words, do not matter.
- Else with a column `caption` or `text`, those whose caption holds the keyword as whole words.
- Else the rows are dealt out: of three keywords the first has the first, the fourth, the seventh
  address, and so on.

Rows that hold no `http` or `https` address are passed over, and counted in a warning.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.licenses import LICENSES, http_url, one_line, plain_text, read_license
from clipaudit_crawlers.sources.local import existing_path, spelling
from clipaudit_crawlers.sources.services import positive, refuse_dates
from clipaudit_crawlers.sources.tables import open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web
    from clipaudit_crawlers.licenses import License
    from clipaudit_crawlers.sources.tables import Table

logger = logging.getLogger(__name__)

COLUMNS = {
    "url": ("url", "image_url"),
    "keyword": ("keyword",),
    "caption": ("caption", "text", "title"),
    "author": ("author", "creator"),
    "page_url": ("page_url", "landing_url"),
    "license": ("license", "licence"),
    "license_url": ("license_url",),
    "width": ("original_width", "width"),
    "height": ("original_height", "height"),
    "sha256": ("sha256",),
    "md5": ("md5",),
    "sha1": ("sha1",),
}
"""What is read → the names of a column that holds it; the first that is there counts."""

_N_DIGITS = {"sha256": 64, "md5": 32, "sha1": 40}


class Urls:
    """An `ImageSource` that reads a list."""

    name: ClassVar[str] = "urls"

    def __init__(self, path: Path, table: Table) -> None:
        """Of the rows of a file, those that have an address.

        Raises:
            SourceError: No column holds addresses.
        """
        self._path = path
        self._table = table
        self._columns = _known_columns(table.columns)
        if "url" not in self._columns:
            there = ", ".join(repr(one_line(name, 40) or "") for name in table.columns[:20])
            raise SourceError(
                f"no column of {path.name!r} is called url; there are: {there}",
                "Give the column with the addresses the name url; commas part the columns of a "
                ".csv, tabs those of a .tsv.",
            )
        self._n_read = self._n_bad = self._first_bad = 0
        self._is_warned = False

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`; whether it gives licences depends on the file."""
        return SourceFacts(
            title="a list of addresses",
            page_size=1_000_000,
            takes_licenses=True,
            gives_licenses=True,
            is_local=True,
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`; the argument is the file."""
        path = existing_path(cls.name, argument, "FILE")
        return cls(path, open_table(path))

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`; where rows have no keyword, a search gives its share."""
        refuse_dates("a list of addresses", query)
        if query.licenses and "license" not in self._columns:
            raise SourceError(
                f"no column of {self._path.name!r} says under which licence a picture is",
                "Ask for none, or give such a column the name license.",
            )
        fits = self._choice(query.keyword)
        records = self._records(fits or (lambda row: True))
        if fits is None:
            records = islice(records, query.place, None, query.n_places)
        wanted = {name.lower() for name in query.licenses}
        if wanted:
            records = (one for one in records if (one.license or "").lower() in wanted)
        return self._watched(islice(records, query.limit))

    def _choice(self, keyword: str) -> Callable[[Mapping[str, object]], bool] | None:
        """Whether a row is one of a keyword's; None where rows do not say."""
        wanted = spelling(keyword)
        if "keyword" in self._columns:
            return lambda row: spelling(_text(row["keyword"]) or "") == wanted
        if "caption" in self._columns:
            words = r"[\s_-]+".join(map(re.escape, wanted.split()))
            pattern = re.compile(rf"(?<!\w){words}(?!\w)")
            return lambda row: bool(pattern.search(_folded(_text(row["caption"]) or "")))
        return None

    def _records(self, fits: Callable[[Mapping[str, object]], bool]) -> Iterator[ImageRecord]:
        seen: set[str] = set()
        for place, cells in self._table.rows([*dict.fromkeys(self._columns.values())]):
            row = {what: cells.get(column) for what, column in self._columns.items()}
            is_new = place > self._n_read  # no earlier keyword has been here
            if not is_new and not fits(row):
                continue
            url = http_url(_text(row["url"]))
            if is_new:
                self._n_read = place
                self._n_bad += url is None
                if url is None:
                    self._first_bad = self._first_bad or place
            if url is not None and url not in seen and fits(row):
                seen.add(url)
                yield _record(url, row)

    def _watched(self, records: Iterator[ImageRecord]) -> Iterator[ImageRecord]:
        try:
            yield from records
        finally:
            if self._n_bad and not self._is_warned:
                self._is_warned = True
                unit = self._table.unit
                logger.warning(
                    "%s: %d of the %d %ss read so far hold no http or https address, the first "
                    "of them %s %d; they are passed over",
                    self._path.name,
                    self._n_bad,
                    self._n_read,
                    unit,
                    unit,
                    self._first_bad,
                )


def _known_columns(names: tuple[str, ...]) -> dict[str, str]:
    """What is read → the column that holds it, as the file spells it."""
    by_small = {name.strip().lower(): name for name in reversed(names)}
    return {
        what: by_small[known[0]]
        for what, aliases in COLUMNS.items()
        if (known := [alias for alias in aliases if alias in by_small])
    }


def _record(url: str, row: Mapping[str, object]) -> ImageRecord:
    title = plain_text(_text(row.get("caption")))
    author = plain_text(_text(row.get("author")))
    page_url = http_url(_text(row.get("page_url")))
    terms = _license(_text(row.get("license")), _text(row.get("license_url")))
    return ImageRecord(
        source=Urls.name,
        source_id=url,  # rows may move, addresses do not
        image_url=url,
        page_url=page_url,
        title=title,
        author=author,
        license=terms.id,
        license_version=terms.version,
        license_url=terms.url,
        credit=terms.credit(title, author, page_url) if terms.id or author else None,
        width_px=positive(row.get("width")),
        height_px=positive(row.get("height")),
        sha256=_digest(row, "sha256"),
        md5=_digest(row, "md5"),
        sha1=_digest(row, "sha1"),
    )


def _license(name: str | None, url: str | None) -> License:
    name = plain_text(name)
    if name is None or not any(char.isalnum() for char in name):  # LAION writes "?"
        return read_license(None, url)
    if name.lower() in LICENSES:
        name = name.lower()
    return read_license(name, url or http_url(name))


def _digest(row: Mapping[str, object], kind: str) -> str | None:
    """A hash in hex, where it is one: else every picture would seem to have changed."""
    text = (_text(row.get(kind)) or "").strip().lower()
    return text if re.fullmatch(f"[0-9a-f]{{{_N_DIGITS[kind]}}}", text) else None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _text(value: object) -> str | None:
    if isinstance(value, bytes):  # some writers of Parquet do not mark text as such
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
