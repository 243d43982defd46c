"""What rows of a list say, and how many of them come from one site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clipaudit.listings.columns import Column
    from clipaudit.listings.engine import Engine
    from clipaudit.listings.files import Table

_MOST_HOSTS = 1000


def text_of(column: Column) -> str:
    """The SQL of a column's value as text."""
    if column.type in {"FLOAT", "DOUBLE"}:  # whole numbers, in lists where some have none
        return f"CAST(TRY_CAST({column.sql} AS HUGEINT) AS VARCHAR)"
    return column.sql if column.type == "VARCHAR" else f"CAST({column.sql} AS VARCHAR)"


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
    query = f"""
        SELECT host, n, example, sum(n) OVER () FROM (
            SELECT host, count(*) AS n, min(url) AS example FROM (
                SELECT split_part(split_part(place, '@', -1), ':', 1) AS host, url FROM (
                    SELECT lower(split_part({url}, '/', 3)) AS place, {url} AS url
                    FROM {table.reader}
                ) WHERE contains(place, $domain)
            ) WHERE host = $domain OR ends_with(host, '.' || $domain) GROUP BY host
        ) ORDER BY n DESC, host LIMIT {_MOST_HOSTS}
    """  # noqa: S608 - quoted names
    found = engine.all(table.path, query, domain=domain)
    total = int(found[0][3]) if found else 0
    return total, [(host, n_rows, example) for host, n_rows, example, _ in found]
