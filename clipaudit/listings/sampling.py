"""Rows drawn from a list by a seed: the same ones in whatever order, files or batches they come.

A row's place in the draw is a hash of the seed and its address. So a sample is read as windows
of that hash, each a scan that keeps the few rows in the window: memory does not grow with the
list, and who needs fewer rows than asked for causes fewer scans.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING, Self

from clipaudit.errors import InputError
from clipaudit.listings.columns import ROLES, Role, check_roles
from clipaudit.listings.engine import Engine
from clipaudit.listings.files import Table, find_lists, open_tables
from clipaudit.listings.matching import Asked, Way, find
from clipaudit.listings.rows import Listed, listed, text_of
from clipaudit.listings.urls import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

_PLACES = 1 << 64
_MOST_AT_ONCE = 20_000
_HOPELESS = 50_000
_LEAST_SHARE = 0.05
_IN_SURPLUS = 1.2
"""A window is made a little wider than what is still needed, so that one scan mostly suffices."""

_WAYS: tuple[Way, ...] = ("key", "sha256", "md5", "url", "normalised_url", "flickr_id")
"""What tells that a row is in another list; a perceptual hash may be that of another picture."""


class Sample:
    """An iterator over drawn rows, in the order of the draw; lazy. See `sample`.

    Attributes:
        compared_by: What told that a row is not in the other list: `key`, `sha256`, `md5`, `url`
            (normalised), `photo id`; empty where there is no other.
        n_rows: Rows of the list.
        n_without_url: Rows left out because they have no http(s) address: all of the list's as
            soon as the first row is drawn, and malformed ones as they are met.
        n_excluded: Rows left out because they are in the other list, so far.
    """

    def __init__(
        self,
        files: Sequence[Path],
        n: int,
        seed: int,
        without: Sequence[Path],
        columns: Mapping[Role, str],
    ) -> None:
        paths, others = find_lists(files), find_lists(without) if without else []
        self._engine = Engine([*paths, *others])
        try:
            tables = open_tables(self._engine, [*paths, *others], columns)
            ours, theirs = tables[: len(paths)], tables[len(paths) :]
            self._tables = [table for table in ours if table.n_rows]
            self._others = [table for table in theirs if table.n_rows]
            for table in self._tables:
                _require_address(table)
            for table in tables:
                for fault in table.faults:
                    logger.warning("%s: %s", table.path.name, fault)
            self._shares_key = _shares_key(self._tables, self._others)
            self.compared_by = self._compared_by()
        except BaseException:
            self._engine.close()
            raise
        self.n_rows = sum(table.n_rows for table in self._tables)
        self.n_without_url = 0
        self.n_excluded = 0
        self._seed = seed
        self._drawn = self._draw(n)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Listed:
        return next(self._drawn)

    def _compared_by(self) -> tuple[str, ...]:
        """What every file of the other list has in common with every one of this.

        Raises:
            InputError: Two of them have nothing in common.
        """
        found: dict[str, None] = {}
        for ours, theirs in product(self._tables, self._others):
            has, other = ours.columns.by_role, theirs.columns.by_role
            common = {
                "key": self._shares_key,
                "sha256": "sha256" in has and "sha256" in other,
                "md5": "md5" in has and "md5" in other,
                "url": "url" in other,
                "photo id": "flickr" in other or ("flickr" in has and "url" in other),
            }
            if not any(common.values()):
                raise InputError(
                    f"{str(ours.path)!r} and {str(theirs.path)!r} have no column in common that "
                    "tells whether a picture is in both",
                    "Name lists that both have addresses, hashes of the files or the same uid; "
                    "or say what the columns hold: --columns url=NAME,sha256=NAME.",
                )
            found |= dict.fromkeys(name for name, is_common in common.items() if is_common)
        return tuple(found)

    def _draw(self, n: int) -> Iterator[Listed]:
        seen: set[str] = set()
        first, n_given, n_met = 0, 0, 0
        with self._engine:
            self.n_without_url = sum(map(self._count_without_url, self._tables))
            while first < _PLACES and n_given < n:
                share_left = max(n_given / n_met if n_met else 1.0, _LEAST_SHARE)
                aim = min((n - n_given) * _IN_SURPLUS / share_left + 50, _MOST_AT_ONCE)
                end = first + int(_PLACES * min(1.0, aim / max(self.n_rows, 1))) + 1
                fresh = self._window(first, end, seen)
                n_met += len(fresh)
                for row in self._not_in_others(fresh):
                    if n_given < n:
                        n_given += 1
                        yield row
                if n_met >= _HOPELESS and not n_given:
                    raise InputError(
                        f"all of {n_met:,} rows that were drawn are in the other list too",
                        "Name a list that has rows of its own: this one seems to be part of it.",
                    )
                first = end

    def _window(self, first: int, end: int, seen: set[str]) -> list[Listed]:
        """The rows whose hash is in a range, in its order; none whose address came before."""
        best: dict[str, tuple[str, list[str]]] = {}
        for table in self._tables:
            for place, url, cells in self._scan(table, first, end):
                if url not in best or (place, cells) < best[url]:
                    best[url] = (place, cells)
        fresh = []
        for url, (_, cells) in sorted(best.items(), key=lambda item: (item[1][0], item[0])):
            normal = normalise(url)
            if normal is None:
                self.n_without_url += 1
            elif normal not in seen:
                seen.add(normal)
                fresh.append(listed(dict(zip(ROLES, cells, strict=True))))
        return fresh

    def _scan(self, table: Table, first: int, end: int) -> list[tuple[str, str, list[str]]]:
        """Hash, address and all else of the rows in a range.

        Of rows with one address it takes the least by what they hold, wherever they stand.
        """
        by_role = table.columns.by_role
        url = text_of(by_role["url"])
        place = f"md5($seed || {url})"
        cells = (
            f"coalesce({text_of(by_role[role])}, '')" if role in by_role else "''" for role in ROLES
        )
        query = f"""
            SELECT {place}, {url}, min([{", ".join(cells)}]) FROM {table.reader}
            WHERE {place} >= $first AND {place} < $end AND {_is_web(url)} GROUP BY 1, 2
        """  # noqa: S608 - quoted names
        bounds = {"first": f"{first:016x}", "end": f"{end:016x}" if end < _PLACES else "g"}
        return self._engine.all(table.path, query, seed=f"{self._seed}/", **bounds)

    def _count_without_url(self, table: Table) -> int:
        url = text_of(table.columns.by_role["url"])
        query = f"SELECT count(*) FROM {table.reader} WHERE {_is_web(url)}"  # noqa: S608
        (n_with_url,) = self._engine.row(table.path, query)
        return table.n_rows - int(n_with_url)

    def _not_in_others(self, fresh: list[Listed]) -> list[Listed]:
        asked = [
            Asked(
                url=row.url,
                sha256=row.sha256,
                md5=row.md5,
                key=row.key if self._shares_key else None,
                flickr=row.photo,
            )
            for row in fresh
        ]
        inside: set[int] = set()
        for table in self._others:
            inside |= {place for place, _ in find(self._engine, table, asked, ways=_WAYS)}
        self.n_excluded += len(inside)
        return [row for place, row in enumerate(fresh) if place not in inside]


def sample(
    files: Sequence[Path],
    n: int,
    seed: int,
    *,
    without: Sequence[Path] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Sample:
    """Rows of a list, drawn at random by the seed; no two with the same address.

    Which rows come, and in which order, depends on the seed and on the addresses in the list
    alone: a longer sample starts with the shorter one, and the order of rows and files does not
    matter.

    Args:
        files: Parquet, TSV or CSV files, or folders of them, which together are the list.
        n: How many rows at most.
        seed: Seed of the draw.
        without: Files of another list, whose rows are left out.
        columns: Role → name of a column, where it cannot be told; see `columns.ROLES`.

    Raises:
        InputError: A file is missing or broken, has no addresses, or shares no column with one of
            the other list by which rows could be compared. While rows are drawn, too.
        UsageError: `columns` names a role that there is not.
    """
    return Sample(files, n, seed, without or (), check_roles(columns or {}))


def _require_address(table: Table) -> None:
    if "url" in table.columns.by_role:
        return
    photos = "flickr" in table.columns.by_role
    raise InputError(
        f"{str(table.path)!r} has no addresses of pictures that could be drawn",
        "It lists photo ids alone: take the rows of YFCC100M's own metadata that it names."
        if photos
        else "Say which column holds them: --columns url=NAME.",
    )


def _shares_key(tables: Sequence[Table], others: Sequence[Table]) -> bool:
    """Whether all files have a key that means the same in each of them."""
    keys = {table.columns.shared_key for table in (*tables, *others)}
    return len(keys) == 1 and None not in keys


def _is_web(url: str) -> str:
    """The SQL of what `urls.is_web` says, and of a little more."""
    start = f"lower(left({url}, 8))"
    is_plain = f"starts_with({start}, 'http://') OR {start} = 'https://'"
    return f"({is_plain} OR regexp_matches({url}, '(?i)^[\\s\\pC\\pZ\"<]*(https?:)?//'))"
