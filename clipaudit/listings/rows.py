"""What rows of a list say, all in their order, or how many of them come from one site."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.listings.columns import ROLES
from clipaudit.listings.delimited import unquoted
from clipaudit.listings.urls import complete, host_of, unicode_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from clipaudit.listings.columns import Column, Role
    from clipaudit.listings.engine import Engine
    from clipaudit.listings.files import Table

_MOST_HOSTS = 1000


def text_of(column: Column) -> str:
    """The SQL of a column's value as text."""
    if column.type in {"FLOAT", "DOUBLE"}:  # whole numbers, in lists where some have none
        return f"CAST(TRY_CAST({column.sql} AS HUGEINT) AS VARCHAR)"
    return column.sql if column.type == "VARCHAR" else f"CAST({column.sql} AS VARCHAR)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of a list; what the list does not say is None.

    Attributes:
        url: Where the picture is, or was: http or https.
        key: What the list calls it.
        text: Its caption.
        sha256: Hash of its file, in hex, small letters.
        md5: The same with MD5.
        width: In pixels, of the original.
        height: The same.
        license: In the words of the list.
        license_url: Where the text of the licence is.
        photo: Its id at Flickr.
        keyword: What the picture was found for.
        author: In the words of the list.
        page_url: The page that shows the picture.
        sha1: As `sha256`, with SHA-1.
    """

    url: str
    key: str | None = None
    text: str | None = None
    sha256: str | None = None
    md5: str | None = None
    width: int | None = None
    height: int | None = None
    license: str | None = None
    license_url: str | None = None
    photo: str | None = None
    keyword: str | None = None
    author: str | None = None
    page_url: str | None = None
    sha1: str | None = None


def listed(cells: Mapping[Role, str]) -> Listed:
    """One row of a list, from the text of its cells; empty ones say nothing."""
    return Listed(
        url=complete(cells["url"]),
        key=cells["key"] or None,
        text=cells["text"] or None,
        sha256=_digest(cells["sha256"], 64),
        md5=_digest(cells["md5"], 32),
        width=_pixels(cells["width"]),
        height=_pixels(cells["height"]),
        license=None if cells["license"] in {"", "?"} else cells["license"],
        license_url=cells["license_url"] or None,
        photo=cells["flickr"] or None,
        keyword=cells["keyword"] or None,
        author=cells["author"] or None,
        page_url=cells["page_url"] or None,
        sha1=_digest(cells["sha1"], 40),
    )


def all_rows(engine: Engine, table: Table) -> Iterator[dict[Role, str]]:
    """The cells of every row that holds anything, in the order of the file; lazy.

    Raises:
        InputError: The file is broken.
    """
    by_role = table.columns.by_role
    columns = (text_of(by_role[role]) if role in by_role else "''" for role in ROLES)
    query = f"SELECT {', '.join(columns)} FROM {table.reader}"  # noqa: S608 - quoted names
    for rows in engine.stream(table.path, query):
        for row in rows:
            if any(row) or table.kind == "parquet":  # an empty line is no row
                cells = {role: text or "" for role, text in zip(ROLES, row, strict=True)}
                if table.kind == "tsv":
                    cells = {role: unquoted(text) for role, text in cells.items()}
                yield cells


def _digest(text: str, length: int) -> str | None:
    found = text.strip().lower()
    return found if re.fullmatch(f"[0-9a-f]{{{length}}}", found) else None


def _pixels(text: str) -> int | None:
    whole = text.partition(".")[0]
    return int(whole) or None if whole.isdecimal() and len(whole) < 10 else None


@dataclass(frozen=True, slots=True)
class Details:
    """What a row says of itself; what its file does not have is None."""

    key: str | None
    url: str | None
    text: str | None


def details(engine: Engine, table: Table, rows: Iterable[int]) -> dict[int, Details]:
    """Row's number → what the row says.

    Raises:
        InputError: The file is broken.
    """
    wanted = sorted(set(rows))
    if not wanted:
        return {}
    by_role = table.columns.by_role
    cells = (
        text_of(by_role[role]) if role in by_role else "NULL" for role in ("key", "url", "text")
    )
    query = f"""
        SELECT * FROM (SELECT {table.row} AS "row", {", ".join(cells)} FROM {table.reader})
        WHERE "row" IN (SELECT unnest($wanted))
    """  # noqa: S608 - quoted names
    found = engine.all(table.path, query, wanted=wanted)
    return {row: Details(key, url, text) for row, key, url, text in found}


def hosts_of(engine: Engine, table: Table, domain: str) -> tuple[int, list[tuple[str, int, str]]]:
    """How many rows have an address at a domain or below it, and at which hosts.

    Args:
        engine: May read the file.
        table: A file with addresses.
        domain: In small letters and ASCII.

    Returns:
        The count; and for hosts with many rows, most first: name, count, one of the addresses.

    Raises:
        InputError: The file is broken.
    """
    url = text_of(table.columns.by_role["url"])
    name = unicode_host(domain)
    within = ("contains(place, {})", "host = {0} OR ends_with(host, '.' || {0})")
    names = ["$domain"] if name == domain else ["$domain", "$name"]
    may_be, is_host = (" OR ".join(test.format(name) for name in names) for test in within)
    query = f"""
        SELECT host, n, example, sum(n) OVER () FROM (
            SELECT host, count(*) AS n, min(url) AS example FROM (
                SELECT CASE WHEN regexp_full_match(place, '[a-z0-9.-]*[a-z0-9]') THEN place
                ELSE regexp_extract(place, '^([^?#@]*@)?([^?#:]*?)[.\\pZ\\pC]*([?#:]|$)', 2) END
                AS host, url FROM (
                    SELECT lower(split_part({url}, '/', 3)) AS place, {url} AS url
                    FROM {table.reader}
                ) WHERE {may_be}
            ) WHERE {is_host} GROUP BY host
        ) ORDER BY n DESC, host LIMIT {_MOST_HOSTS}
    """  # noqa: S608 - quoted names
    values = {"domain": domain} if name == domain else {"domain": domain, "name": name}
    found = engine.all(table.path, query, **values)
    total = int(found[0][3]) if found else 0
    return total, [(host_of(host) or host, n_rows, example) for host, n_rows, example, _ in found]
