"""Which rows of a list are about a picture: one way of comparing at a time."""

from __future__ import annotations

import re
from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from clipaudit.listings.rows import text_of
from clipaudit.listings.urls import flickr_id, normalise, path_of, spellings
from clipaudit.pictures.near_duplicates import MOST_BITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from clipaudit.listings.columns import Column
    from clipaudit.listings.engine import Engine
    from clipaudit.listings.files import Table

Way = Literal["url", "normalised_url", "flickr_id", "sha256", "md5", "phash", "key"]
WAYS: tuple[Way, ...] = get_args(Way)
"""From the plainest evidence to what needs most care; `key` serves comparing lists alone."""

MOST_ROWS = 20
"""Rows that are named for one picture and way in one file; more are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of one picture; any of it may be None.

    Attributes:
        url: Where it is on the web.
        sha256: Hash of its file, in hex, small letters.
        md5: The same with MD5.
        phash: 64 bits, as `near_duplicates.perceptual_hash` gives them.
        key: What one list calls it.
        flickr: Id of a photo at Flickr; where it is None, the one in `url` counts.
    """

    url: str | None = None
    sha256: str | None = None
    md5: str | None = None
    phash: int | None = None
    key: str | None = None
    flickr: str | None = None

    @property
    def photo(self) -> str | None:
        """Its id at Flickr, if any."""
        return self.flickr or (flickr_id(self.url) if self.url else None)


@dataclass(slots=True)
class Hit:
    """The rows of one file that are about one picture, found in one way.

    Attributes:
        n_rows: How many there are.
        rows: The bits that differ, for `phash`, else 0; and the row's number, from 0. The least
            `MOST_ROWS` of them.
    """

    n_rows: int = 0
    rows: list[tuple[int, int]] = field(default_factory=list)

    def add(self, n_rows: int, rows: Iterable[tuple[int, int]]) -> None:
        """Count some rows, and keep the least."""
        self.n_rows += n_rows
        for row in rows:
            if len(self.rows) < MOST_ROWS or row < self.rows[-1]:
                insort(self.rows, row)
                del self.rows[MOST_ROWS:]


Hits = dict[tuple[int, Way], Hit]
"""Place among those that were asked about, and way → rows."""


def ways_for(asked: Asked, table: Table) -> tuple[Way, ...]:
    """How a picture can be compared with the rows of a file."""
    has = table.columns.by_role
    possible: dict[Way, bool] = {
        "url": "url" in has and asked.url is not None,
        "normalised_url": "url" in has and asked.url is not None,
        "flickr_id": ("flickr" in has or "url" in has) and asked.photo is not None,
        "sha256": "sha256" in has and asked.sha256 is not None,
        "md5": "md5" in has and asked.md5 is not None,
        "phash": "phash" in has and asked.phash is not None,
        "key": table.columns.shared_key is not None and asked.key is not None,
    }
    return tuple(way for way in WAYS if possible[way])


def find(
    engine: Engine,
    table: Table,
    asked: Sequence[Asked],
    most_bits: int = MOST_BITS,
    ways: Iterable[Way] = WAYS,
) -> Hits:
    """The rows of a file that are about pictures; an address that is equal counts as `url` alone.

    Args:
        engine: May read the file.
        table: The file.
        asked: The pictures.
        most_bits: How many of the 64 bits of a perceptual hash may differ.
        ways: Those that are tried.

    Raises:
        InputError: The file is broken, or its rows are too large for the memory.
    """
    search = _Search(engine, table, asked)
    able = {way for picture in asked for way in ways_for(picture, table)} & set(ways)
    if able & {"url", "normalised_url"}:
        search.by_url()
    if "flickr_id" in able:
        search.by_photo()
    if "sha256" in able:
        search.by_digest("sha256", [picture.sha256 for picture in asked])
    if "md5" in able:
        search.by_digest("md5", [picture.md5 for picture in asked])
    if "phash" in able:
        search.by_phash(most_bits)
    if "key" in able:
        search.by_key()
    return search.hits


class _Search:
    """One file and what is looked for in it; a method a scan of one column."""

    def __init__(self, engine: Engine, table: Table, asked: Sequence[Asked]) -> None:
        self._engine = engine
        self._table = table
        self._asked = asked
        self.hits: Hits = {}

    def by_url(self) -> None:
        exact, normal = _Index(), _Index()
        wanted: set[str] = set()
        paths: set[str] = set()
        for place, picture in enumerate(self._asked):
            if picture.url is not None:
                exact.add(picture.url.strip(), place)
                normal.add(normalise(picture.url), place)
                wanted |= spellings(picture.url)
                path = path_of(picture.url)
                paths |= set() if path is None else {path}
        if not paths:
            return
        for row, url in self._sift(sieve(paths), wanted=[*wanted], paths=[*paths]):
            equal = exact[url.strip()]
            for place in equal:
                self._hit(place, "url", 1, [(0, row)])
            for place in normal[normalise(url)]:
                if place not in equal:
                    self._hit(place, "normalised_url", 1, [(0, row)])

    def by_photo(self) -> None:
        places = self._index(picture.photo for picture in self._asked)
        column = self._table.columns.by_role.get("flickr")
        if column is not None:
            self._equal("flickr_id", column, places)
            return

        sieve = f"""
            CASE WHEN contains(url, 'lickr.com/') AND ({_ODD}) THEN '*'
            WHEN contains(url, 'lickr.com/photos/')
            THEN regexp_extract(url, '/photos/[^/]+/([0-9]+)', 1)
            ELSE split_part(split_part(url, '/', -1), '_', 1) END
            IN (SELECT unnest($wanted) UNION ALL SELECT '*')
        """
        for row, url in self._sift(sieve, wanted=[*places]):
            for place in places[flickr_id(url)]:
                self._hit(place, "flickr_id", 1, [(0, row)])

    def by_digest(self, way: Literal["sha256", "md5"], digests: Sequence[str | None]) -> None:
        self._equal(way, self._table.columns.by_role[way], self._index(digests), is_hex=True)

    def by_key(self) -> None:
        places = self._index(picture.key for picture in self._asked)
        self._equal("key", self._table.columns.by_role["key"], places)

    def by_phash(self, most_bits: int) -> None:
        places = self._index(picture.phash for picture in self._asked)
        column = self._table.columns.by_role["phash"]
        # A row and its bits in one number: its least ones are kept, and memory stays small where
        # a hash is that of ten thousand white pictures.
        query = f"""
            SELECT wanted, count(*), min((bits::BIGINT << 48) | "row", {MOST_ROWS}) FROM (
                SELECT "row", wanted, bit_count(xor(phash, wanted)) AS bits
                FROM ({self._rows(_phash(column), "phash")})
                CROSS JOIN (SELECT unnest($wanted)::UBIGINT AS wanted)
            ) WHERE bits <= $most_bits GROUP BY wanted
        """  # noqa: S608 - quoted names
        found = self._engine.all(self._table.path, query, wanted=[*places], most_bits=most_bits)
        for value, n_rows, packed in found:
            rows = [(pair >> 48, pair & ((1 << 48) - 1)) for pair in packed]
            for place in places[value]:
                self._hit(place, "phash", n_rows, rows)

    def _equal(self, way: Way, column: Column, places: _Index, *, is_hex: bool = False) -> None:
        """Rows whose value is one of those wanted, whatever type the column has."""
        is_text = column.type in {"VARCHAR", "BLOB", "UUID", "FLOAT", "DOUBLE"}
        expression = text_of(column) if is_text else column.sql
        if is_hex and column.type == "BLOB":
            expression = f"lower(hex({column.sql}))"
        spelled: dict[Any, Any] = {}
        for value in places:
            if is_hex and column.type == "BLOB":  # raw bytes, or letters as bytes
                letters = (value, value.upper())
                spelled |= {value: value, **{letter.encode().hex(): value for letter in letters}}
            elif is_hex:
                spelled |= {value: value, value.upper(): value}
            elif is_text:
                spelled[value] = value
            elif value.lstrip("-").isdecimal() and len(value) < 30:
                spelled[int(value)] = value
        if not spelled:
            return
        query = f"""
            SELECT value, count(*), min("row", {MOST_ROWS})
            FROM ({self._rows(expression, "value")})
            WHERE value IN (SELECT unnest($wanted)) GROUP BY value
        """  # noqa: S608 - quoted names
        for value, n_rows, rows in self._engine.all(self._table.path, query, wanted=[*spelled]):
            for place in places[spelled[value]]:
                self._hit(place, way, n_rows, [(0, row) for row in rows])

    def _sift(self, sieve: str, **values: list[str]) -> Iterator[tuple[int, str]]:
        """Number and address of the rows whose address passes a sieve."""
        column = self._table.columns.by_role["url"]
        source = self._rows(text_of(column), "url")
        query = f'SELECT "row", url FROM ({source}) WHERE url IS NOT NULL AND ({sieve})'  # noqa: S608
        for rows in self._engine.stream(self._table.path, query, **values):
            yield from rows

    def _rows(self, expression: str, name: str) -> str:
        table = self._table
        return f'SELECT {table.row} AS "row", {expression} AS {name} FROM {table.reader}'  # noqa: S608

    def _hit(self, place: int, way: Way, n_rows: int, rows: Iterable[tuple[int, int]]) -> None:
        self.hits.setdefault((place, way), Hit()).add(n_rows, rows)

    @staticmethod
    def _index(values: Iterable[object]) -> _Index:
        index = _Index()
        for place, value in enumerate(values):
            index.add(value, place)
        return index


class _Index:
    """Value → the places of all who have it; None has none."""

    def __init__(self) -> None:
        self._places: defaultdict[Any, list[int]] = defaultdict(list)

    def add(self, value: object, place: int) -> None:
        if value is not None:
            self._places[value].append(place)

    def __getitem__(self, value: object) -> list[int]:
        return self._places.get(value, [])

    def __iter__(self) -> Iterator[Any]:
        return iter(self._places)


# --- the sieve for addresses ---------------------------------------------------------------------
#
# Ten million rows go through it, so a plain row is taken apart once and looked for among the plain
# spellings of what is wanted, without a regular expression: see benchmarks. A row that may be in
# another spelling is looked for by the plain letters in the name of its file, which are the same in
# all of them. What passes is normalised and compared in Python.

_HEAD = "split_part(split_part(url, '#', 1), '?', 1)"

_ODD = " OR ".join(
    (
        "NOT starts_with(url, 'http')",
        "strlen(url) <> length(url)",  # bytes and characters: not ASCII
        *(f"contains(url, '{text}')" for text in ("%", "#", "@", "/.", "&amp;", "&#")),
        *(f"contains(url, chr({code}))" for code in (9, 10, 13, 32)),
    )
)
"""The SQL of whether an address may be in another spelling than a plain one."""

_IN_ENTITIES = {ord(char) for char in "\"&'<>"}
_DELIMITERS = {ord(char) for char in "#%/?"}


def _letters(path: str) -> str:
    """The SQL of the plain letters and digits behind the last slash, the same in all spellings."""
    odd = "[^a-zA-Z0-9%]+|%[0-9a-fA-F]{2}|%"
    return f"regexp_replace(split_part({path}, '/', -1), '{odd}', '', 'g')"


_BY_HAND = (
    (
        f"contains(url, '&') AND contains({_HEAD}, '&') "
        f"AND (contains({_HEAD}, ';') OR ends_with({_HEAD}, '&'))"
    ),
    "contains(url, '%') AND regexp_matches(url, '%(3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])')",
)
"""The SQL of what may hide letters: the entities of HTML, and letters that are encoded."""


def sieve(paths: Collection[str]) -> str:
    """The SQL of which rows may have one of some addresses; `$wanted` are their plain spellings.

    Args:
        paths: Those of the addresses as they are normalised, which are `$paths`.
    """
    codes = {ord("'")} if any("'" in path for path in paths) else set()
    codes |= {int(code, 16) for path in paths for code in re.findall("%([0-7][0-9A-F])", path)}
    odd = [_ODD, *(f"contains(url, chr({code}))" for code in sorted(codes - _DELIMITERS))]
    if codes & _IN_ENTITIES:
        odd.append("contains(url, '&')")
    by_hand = [*_BY_HAND, *([f"split_part({_HEAD}, '/', 4) = ''"] if "/" in paths else [])]
    return f"""
        CASE WHEN NOT ({" OR ".join(odd)}) THEN lower(split_part(url, '?', 1))
        WHEN ({") OR (".join(by_hand)}) THEN '?*'
        ELSE '?' || {_letters(_HEAD)} END
        IN (
            SELECT lower(unnest($wanted)) UNION ALL SELECT '?*' UNION ALL
            SELECT '?' || {_letters("path")} FROM (SELECT unnest($paths) AS path)
        )
    """  # noqa: S608 - fixed text


def _phash(column: Column) -> str:
    """The SQL of a 64-bit hash as a UBIGINT; NULL for what is none."""
    name = column.sql
    match column.type:
        case "UBIGINT":
            return name
        case "BIGINT":  # the same 64 bits, read with a sign
            return f"(({name}::HUGEINT + (1::HUGEINT << 64)) % (1::HUGEINT << 64))::UBIGINT"
        case "BLOB":  # raw bytes, or letters as bytes
            return (
                f"CASE octet_length({name}) WHEN 8 THEN TRY_CAST('0x' || hex({name}) AS UBIGINT) "
                f"WHEN 16 THEN TRY_CAST('0x' || {name}::VARCHAR AS UBIGINT) END"
            )
        case _:
            return f"CASE length({name}) WHEN 16 THEN TRY_CAST('0x' || {name} AS UBIGINT) END"
