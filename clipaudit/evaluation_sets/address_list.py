"""Pictures whose addresses a file lists: `urls:FILE`, as text, CSV, TSV or Parquet.

The file is read as any published list, see `clipaudit.listings`. Which rows a keyword gives, in
the order of the file:

- With a column `keyword`, those where it is the keyword; case, and whether a space, `_` or `-`
  stands between words, do not matter.
- Else with a column of captions, those whose caption holds the keyword as whole words.
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

from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.licenses import LICENSES, http_url, one_line, plain_text, read_license
from clipaudit_crawlers.sources.services import refuse_unknown

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.keywords import spelling
from clipaudit.evaluation_sets.sources import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web
    from clipaudit_crawlers.licenses import License

    from clipaudit.listings import Listed
    from clipaudit.listings.columns import Role
    from clipaudit.listings.files import Table

    Row = Mapping[Role, str]

logger = logging.getLogger(__name__)


class AddressList:
    """An `ImageSource` that reads a list."""

    name: ClassVar[str] = "urls"

    def __init__(self, path: Path) -> None:
        """The rows of a file that have an address.

        Raises:
            InputError: The file cannot be read, or no column holds addresses.
        """
        self._path = path
        self._table = _open(path)
        self._roles = self._table.columns.by_role
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
            asks_robots=True,
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`; the argument is the file."""
        return cls(local_path(cls.name, argument, "FILE"))

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`; where rows have no keyword, a search gives its share."""
        refuse_unknown(self.facts({}), query)
        if query.licenses and "license" not in self._roles:
            raise InputError(
                f"no column of {self._path.name!r} says under which licence a picture is",
                "Ask for none, or give such a column the name license.",
            )
        fits = self._choice(query.keyword)
        records = self._records(fits or (lambda row: True))
        if fits is None:
            records = islice(records, query.place, None, query.n_places)
        wanted = {name.lower() for name in query.licenses}
        if wanted:
            records = (record for record in records if (record.license or "").lower() in wanted)
        return self._watched(islice(records, query.limit))

    def _choice(self, keyword: str) -> Callable[[Row], bool] | None:
        """Whether a row is one of a keyword's; None where rows do not say."""
        wanted = spelling(keyword)
        if "keyword" in self._roles:
            return lambda row: spelling(row["keyword"]) == wanted
        if "text" in self._roles:
            words = r"[\s_-]+".join(map(re.escape, wanted.split()))
            pattern = re.compile(rf"(?<!\w){words}(?!\w)")
            return lambda row: bool(pattern.search(_folded(row["text"])))
        return None

    def _records(self, fits: Callable[[Row], bool]) -> Iterator[ImageRecord]:
        from clipaudit.listings.rows import listed

        known: set[str] = set()
        for place, row in enumerate(self._rows(), 1):
            is_new = place > self._n_read  # no earlier keyword has been here
            if not is_new and not fits(row):
                continue
            url = http_url(row["url"])
            if is_new:
                self._n_read = place
                self._n_bad += url is None
                if url is None:
                    self._first_bad = self._first_bad or place
            if url is not None and url not in known and fits(row):
                known.add(url)
                yield _record(url, listed(row))

    def _rows(self) -> Iterator[Row]:
        """The rows of the file; in plain text, those that begin with # are none."""
        from clipaudit.listings.engine import Engine
        from clipaudit.listings.rows import all_rows

        with Engine([self._path]) as engine:
            for row in all_rows(engine, self._table):
                if not (self._table.kind == "txt" and row["url"].lstrip().startswith("#")):
                    yield row

    def _watched(self, records: Iterator[ImageRecord]) -> Iterator[ImageRecord]:
        try:
            yield from records
        finally:
            if self._n_bad and not self._is_warned:
                self._is_warned = True
                logger.warning(
                    "%s: %d of the %d rows read so far hold no http or https address, the first "
                    "of them row %d; they are passed over",
                    self._path.name,
                    self._n_bad,
                    self._n_read,
                    self._first_bad,
                )


def _open(path: Path) -> Table:
    from clipaudit.listings.engine import Engine
    from clipaudit.listings.files import find_lists, open_tables

    if path.is_dir():
        raise InputError(f"{str(path)!r} is no file", "Name a file; a folder is folder:PATH.")
    paths = find_lists([path])
    with Engine(paths) as engine:
        (table,) = open_tables(engine, paths, {}, needs_text=True)
    for fault in table.faults:
        logger.warning("%s: %s", path.name, fault)
    if "url" not in table.columns.by_role:
        names = ", ".join(repr(one_line(name, 40) or "") for name in table.names[:20])
        raise InputError(
            f"no column of {path.name!r} holds addresses; there are: {names}",
            "Give the column with the addresses the name url, in the first line of a text file; "
            "tabs part the columns of a .tsv.",
        )
    return table


def _record(url: str, row: Listed) -> ImageRecord:
    title, author = plain_text(row.text), plain_text(row.author)
    page_url = http_url(row.page_url)
    terms = _license(row.license, row.license_url)
    return ImageRecord(
        source=AddressList.name,
        source_id=url,  # rows may move, addresses do not
        image_url=url,
        page_url=page_url,
        title=title,
        author=author,
        license=terms.id,
        license_version=terms.version,
        license_url=terms.url,
        credit=terms.credit(title, author, page_url) if terms.id or author else None,
        width_px=row.width,
        height_px=row.height,
        sha256=row.sha256,
        md5=row.md5,
        sha1=row.sha1,
    )


def _license(name: str | None, url: str | None) -> License:
    name = plain_text(name)
    if name is None or not any(char.isalnum() for char in name):  # LAION writes "?"
        return read_license(None, url)
    if name.lower() in LICENSES:
        name = name.lower()
    return read_license(name, url or http_url(name))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
