"""The rows of a result: one a file, whatever became of it.

Few are a tuple; from some thousands on they lie in a temporary database, so that a million take no
more memory than a thousand. Either way they are counted, ranked and walked through alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import eq
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar, overload

from clipaudit import overflow

# Not for the type checker alone: a saved audit is read by these types.
from clipaudit.statistics.conformal import Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

T = TypeVar("T")

MOST_IN_MEMORY = 10_000
"""Rows that are a tuple; more lie on disk."""

Status = Literal["ok", "skipped"]
Prediction = Literal["member", "non-member"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one inferrer says of one image.

    Attributes:
        inferrer: Name of the inferrer.
        score: Higher is more like a member; not a probability.
        prediction: `member` where the score is at or above the inferrer's threshold, which is
            not calibrated for the encoder.
        p_value: How often a non-member scores as high or higher, by the calibration; None, as all
            that follows, where there is no calibration that fits.
        p_member: How often a member scores as low or lower; None too without known members.
        q_value: The p-value adjusted for all pictures of the run.
        verdict: Verdict on this picture, at the FPR and the miss rate of `Audit.levels`.
        reason: Why.
        picked: Whether it is among those that are picked out of all at the FDR.
    """

    inferrer: str
    score: float
    prediction: Prediction
    p_value: float | None = None
    p_member: float | None = None
    q_value: float | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    picked: bool | None = None


@dataclass(frozen=True, slots=True)
class ReferenceSignals:
    """What the reference encoder makes of one image; of several, the mean of what they make.

    Attributes:
        mean_similarity: Mean of the pairwise similarities of its views; None without views.
        norm: Length of its embedding of the image without augmentation.
    """

    mean_similarity: float | None
    norm: float


@dataclass(frozen=True, slots=True)
class Row:
    """One file, whatever became of it.

    Attributes:
        path: Path of the file, as it was given or found; undecodable bytes as surrogate escapes.
        sha256: Of the file's bytes, in hex; None where it could not be read.
        status: `ok` where it was scored, else `skipped`.
        error: None, or `reason: explanation` for a skipped file.
        mean_similarity: Mean of the pairwise similarities of its views; None where the run made
            none.
        findings: One an inferrer, in the order of `Run.inferrers`; none by an inferrer that reads
            captions where it has no caption, and none at all where skipped.
        notes: What decoding had to do that may surprise, such as `first of 12 frames`.
        reference: What the reference encoder makes of it; None where the run has none.
    """

    path: str
    sha256: str | None
    status: Status
    error: str | None = None
    mean_similarity: float | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    reference: ReferenceSignals | None = None

    def finding(self, inferrer: str) -> Finding | None:
        """What an inferrer says of it; None where it says nothing."""
        return next((found for found in self.findings if found.inferrer == inferrer), None)


DECIDED = ("p_value", "p_member", "q_value", "verdict", "reason", "picked")
"""Fields of `Finding` that a calibration fills."""


def ranking_key(row: Row, inferrer: str | None = None) -> tuple[float, str]:
    """What scored rows are ranked by; see `Audit.ranked`.

    Args:
        row: A scored one.
        inferrer: Name of the first inferrer; None takes the first that says something of the row.
    """
    found = row.finding(inferrer) if inferrer else next(iter(row.findings), None)
    if found is not None:
        score = found.score
    else:
        score = -math.inf if inferrer else row.mean_similarity or 0.0
    return -score, row.sha256 or ""


class Place(NamedTuple):
    """A picture in the ranking of different pictures.

    Attributes:
        rank: 1 for the one most like a member.
        row: Its first file in the order of `Audit.ranked`.
        n_copies: Further files with the same bytes.
    """

    rank: int
    row: Row
    n_copies: int


@dataclass(slots=True)
class Tally:
    """What a reader counts first, added up row by row.

    Attributes:
        n_scored: Files that carry a score.
        skip_reasons: How many files were skipped, by the part of `Row.error` before its colon.
        predictions: How many findings there are, by inferrer and prediction.
        verdicts: How many, by inferrer and verdict.
        picked: How many are picked out of all, by inferrer.
    """

    n_scored: int = 0
    skip_reasons: Counter[str] = field(default_factory=Counter)
    predictions: Counter[tuple[str, Prediction]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    picked: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count one more row."""
        if row.status == "ok":
            self.n_scored += 1
        else:
            self.skip_reasons[(row.error or "unknown").partition(":")[0]] += 1
        for finding in row.findings:
            self.predictions[finding.inferrer, finding.prediction] += 1
            if finding.verdict is not None:
                self.verdicts[finding.inferrer, finding.verdict] += 1
            self.picked[finding.inferrer] += finding.picked is True


class RowsInMemory(tuple[Row, ...]):
    """Rows as a tuple."""

    @cached_property
    def tally(self) -> Tally:
        """Counts of the rows."""
        tally = Tally()
        for row in self:
            tally.add(row)
        return tally

    @property
    def scored(self) -> Sequence[Row]:
        """Those that carry a score."""
        return tuple(row for row in self if row.status == "ok")

    @property
    def skipped(self) -> Sequence[Row]:
        """Those that do not."""
        return tuple(row for row in self if row.status == "skipped")

    def ranked(self, first: str | None) -> Sequence[Row]:
        """Those that carry a score, most like a member first; see `Audit.ranked`."""
        return tuple(sorted(self.scored, key=lambda row: (*ranking_key(row, first), row.path)))

    def places(self, first: str | None) -> Sequence[Place]:
        """The ranking of different pictures; see `Audit.places`."""
        n_files = Counter(row.sha256 or row.path for row in self.scored)
        best: dict[str, Row] = {}
        for row in self.ranked(first):
            best.setdefault(row.sha256 or row.path, row)
        return tuple(
            Place(rank, row, n_files[key] - 1) for rank, (key, row) in enumerate(best.items(), 1)
        )


_TABLES = """
    CREATE TABLE rows (number INTEGER PRIMARY KEY, is_scored INTEGER, row BLOB);
    CREATE TABLE keys (number INTEGER PRIMARY KEY, score REAL, sha256 TEXT, path BLOB);
    CREATE TABLE ranks (rank INTEGER PRIMARY KEY, number INTEGER, copy INTEGER, n_copies INTEGER);
    CREATE TABLE places (rank INTEGER PRIMARY KEY, number INTEGER, n_copies INTEGER)
"""
_RANK = """
    INSERT INTO ranks (number, copy, n_copies)
    SELECT number, ROW_NUMBER() OVER (content ORDER BY score, path) - 1, COUNT(*) OVER content - 1
    FROM keys
    WINDOW content AS (PARTITION BY sha256, CASE sha256 WHEN '' THEN path END)
    ORDER BY score, sha256, path
"""
_PLACE = """
    INSERT INTO places (number, n_copies)
    SELECT number, n_copies FROM ranks WHERE copy = 0 ORDER BY rank
"""


class _Selected(Sequence[T], Generic[T]):
    """What a query gives, as a sequence that is read as far as it is wanted."""

    def __init__(self, tables: Connection, query: str, make: Callable[..., T], n: int) -> None:
        self._tables = tables
        self._query = query
        self._make = make
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[T]:
        with overflow.on_disk():
            cursor = self._tables.execute(self._query)
        while True:
            with overflow.on_disk():
                values = cursor.fetchmany(256)
            if not values:
                return
            for value in values:
                yield self._make(*value)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        wanted = range(len(self))[index]
        if isinstance(wanted, int):
            return self._between(wanted, wanted + 1)[0]
        if not wanted:
            return ()
        low, high = min(wanted), max(wanted) + 1
        part = self._between(low, high)
        return (
            part[wanted[0] - low :: wanted.step] if wanted.step > 0 else part[::-1][:: -wanted.step]
        )

    def _between(self, low: int, high: int) -> tuple[T, ...]:
        with overflow.on_disk():
            cursor = self._tables.execute(f"{self._query} LIMIT ? OFFSET ?", (high - low, low))
            return tuple(self._make(*value) for value in cursor)


class RowsOnDisk(_Selected[Row]):
    """Rows in a temporary database, which is gone when they are; pickled, they are a tuple."""

    def __init__(self, tables: Connection, tally: Tally, n_rows: int) -> None:
        query = "SELECT row FROM rows ORDER BY number"
        super().__init__(tables, query, overflow.unpacked, n_rows)
        self.tally = tally
        self._ranked_by: tuple[str | None] | None = None
        self._n_places = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowsInMemory | RowsOnDisk):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[type[RowsInMemory], tuple[tuple[Row, ...]]]:
        return RowsInMemory, (tuple(self),)

    def __deepcopy__(self, memo: object) -> RowsOnDisk:
        return self  # it does not change

    @property
    def scored(self) -> Sequence[Row]:
        """See `RowsInMemory.scored`."""
        return self._where("is_scored", self.tally.n_scored)

    @property
    def skipped(self) -> Sequence[Row]:
        """See `RowsInMemory.skipped`."""
        return self._where("NOT is_scored", len(self) - self.tally.n_scored)

    def ranked(self, first: str | None) -> Sequence[Row]:
        """See `RowsInMemory.ranked`."""
        self._rank(first)
        query = "SELECT row FROM ranks JOIN rows USING (number) ORDER BY rank"
        return _Selected(self._tables, query, overflow.unpacked, self.tally.n_scored)

    def places(self, first: str | None) -> Sequence[Place]:
        """See `RowsInMemory.places`."""
        self._rank(first)
        query = "SELECT rank, row, n_copies FROM places JOIN rows USING (number) ORDER BY rank"
        return _Selected(self._tables, query, _place, self._n_places)

    def _where(self, condition: str, n: int) -> Sequence[Row]:
        query = f"SELECT row FROM rows WHERE {condition} ORDER BY number"  # noqa: S608 - ours
        return _Selected(self._tables, query, overflow.unpacked, n)

    def _rank(self, first: str | None) -> None:
        """Fill the tables of the ranking, unless it is there."""
        if self._ranked_by == (first,):
            return
        self._ranked_by = None
        with overflow.on_disk():
            for table in ("keys", "ranks", "places"):
                self._tables.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
            keys = (
                (number, *ranking_key(row, first), row.path.encode("utf-8", "surrogatepass"))
                for number, row in enumerate(self, 1)
                if row.status == "ok"
            )
            self._tables.executemany("INSERT INTO keys VALUES (?, ?, ?, ?)", keys)
            self._tables.execute(_RANK)
            self._n_places = self._tables.execute(_PLACE).rowcount
        self._ranked_by = (first,)


def _place(rank: int, row: bytes, n_copies: int) -> Place:
    return Place(rank, overflow.unpacked(row), n_copies)


class RowKeeper:
    """Takes rows one by one; a tuple of them turns into a database where they become many.

    Args:
        most_in_memory: Rows that are a tuple.
    """

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most = most_in_memory
        self._first: list[Row] = []
        self._tally = Tally()
        self._tables: Connection | None = None
        self._n_rows = 0

    def add(self, row: Row) -> None:
        """Keep one more row.

        Raises:
            FileError: The disk is full.
        """
        self._n_rows += 1
        if self._tables is None and self._n_rows <= self._most:
            self._first.append(row)
            return
        if self._tables is None:
            with overflow.on_disk():
                self._tables = overflow.open_tables(_TABLES)
            for earlier in self._first:
                self._write(earlier, self._tables)
            self._first.clear()
        self._write(row, self._tables)

    def rows(self) -> RowsInMemory | RowsOnDisk:
        """All that were kept, in their order; none can be added after that."""
        if self._tables is None:
            return RowsInMemory(self._first)
        return RowsOnDisk(self._tables, self._tally, self._n_rows)

    def _write(self, row: Row, tables: Connection) -> None:
        self._tally.add(row)
        with overflow.on_disk():
            values = row.status == "ok", overflow.packed(row)
            tables.execute("INSERT INTO rows (is_scored, row) VALUES (?, ?)", values)


def keep(rows: Iterable[Row], most_in_memory: int = MOST_IN_MEMORY) -> RowsInMemory | RowsOnDisk:
    """Rows, in memory where they are few and on disk where they are many.

    Raises:
        FileError: The disk is full.
    """
    keeper = RowKeeper(most_in_memory)
    for row in rows:
        keeper.add(row)
    return keeper.rows()
