"""Records → pictures: downloaded side by side, accepted one after the other, none twice.

Which pictures are accepted depends on the records, their order and their bytes alone, not on how
many downloads run at a time or which ends first: outcomes are looked at in the order of the
records. No more is in flight than could be accepted, so nothing is fetched in vain.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from clipaudit.errors import SourceError
from clipaudit.evaluation_sets.folder import Failed, Fetched
from clipaudit.pictures.near_duplicates import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from clipaudit_crawlers.base import ImageRecord

    from clipaudit.evaluation_sets.folder import Outcome

Role = Literal["crawled", "member", "non-member"]

MOST_NAMES = 20
"""Of so many pictures that were left out for one reason the names are kept; more are counted."""

_FAILURES_IN_A_ROW = 10
"""So many downloads that failed for a passing reason, one after the other, mean that the network
is gone, and not that a few pictures are."""


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """So many pictures for one keyword.

    Attributes:
        keyword: What was asked for.
        role: What its pictures are for.
        count: How many.
        records: Where they may come from, best first; read no further than needed.
        unfit: Says why a record is not to be downloaded at all, or None.
    """

    keyword: str
    role: Role
    count: int
    records: Iterator[ImageRecord]
    unfit: Callable[[ImageRecord], str | None] = lambda record: None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was accepted.

    Attributes:
        record: What the source says of it.
        file: What came.
        keyword: Keyword of its `Want`.
        rank: Its place among the records of its `Want`, from 1.
    """

    record: ImageRecord
    file: Fetched
    keyword: str
    rank: int


@dataclass(slots=True, eq=False)
class Tally:
    """How one `Want` went.

    Attributes:
        keyword: Keyword of the `Want`.
        role: Role of the `Want`.
        wanted: How many pictures were asked for.
        pictures: Those that were accepted.
        dropped: Why the others were not: reason → how many.
        left_out: Names of some of those, the first of each reason.
        is_cut_short: Whether the budget of bytes ended it.
    """

    keyword: str
    role: Role
    wanted: int
    pictures: list[Picture] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    left_out: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    is_cut_short: bool = False

    def drop(self, reason: str, record: ImageRecord) -> None:
        """Count a picture that was not accepted."""
        self.dropped[reason] += 1
        if len(self.left_out[reason]) < MOST_NAMES:
            self.left_out[reason].append(_name(record))

    @property
    def missing(self) -> int:
        """How many pictures it fell short."""
        return self.wanted - len(self.pictures)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Pictures that were not accepted for one reason.

    Attributes:
        reason: A word for tables.
        count: How many.
        names: Files or addresses of the first of them, `MOST_NAMES` at most.
    """

    reason: str
    count: int
    names: tuple[str, ...]

    def name_some(self, n_most: int) -> str:
        """The names of the first, and how many more there are.

        >>> Dropped("truncated", 3, ("a.png", "b.png", "c.png")).name_some(2)
        'a.png, b.png and 1 more'
        """
        named = self.names[:n_most]
        n_more = self.count - len(named)
        return ", ".join(named) + (f" and {n_more:,} more" if named and n_more else "")


def all_dropped(tallies: Iterable[Tally]) -> list[Dropped]:
    """What was not accepted over all keywords, the most frequent reason first."""
    counts: Counter[str] = Counter()
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tally in tallies:
        counts.update(tally.dropped)
        for reason, more in tally.left_out.items():
            names[reason] += more
    return [
        Dropped(reason, n, tuple(names[reason][:MOST_NAMES]))
        for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _name(record: ImageRecord) -> str:
    """What a person finds a picture by: its address, or the path of its file within its folder."""
    is_file = record.image_url.startswith("file:")
    return unquote(record.source_id) if is_file else record.image_url


@dataclass(frozen=True, slots=True)
class Step:
    """How far a collection is.

    Attributes:
        tally: Tally of the keyword at work.
        n_done: Keywords that are done.
        n_bytes: Size of all pictures that came.
    """

    tally: Tally
    n_done: int
    n_bytes: int


@dataclass(slots=True, eq=False)
class _Search:
    """A `Want` at work, with the downloads that it waits for."""

    want: Want
    tally: Tally
    waiting: deque[tuple[ImageRecord, int, Future[Outcome]]] = field(default_factory=deque)
    rank: int = 0
    is_exhausted: bool = False

    @property
    def may_take(self) -> bool:
        """Whether one more could be accepted if all that is in flight comes well."""
        return not self.is_exhausted and self.tally.missing > len(self.waiting)


class Collector:
    """Works through wants in their order.

    Args:
        executor: Runs the downloads.
        fetch: The outcome for a record; called in the executor, once a URL.
        n_ahead: Downloads in flight.
        most_bytes: A budget for all pictures; where it is spent, the collection ends.
        on_step: Called after every outcome, from the calling thread.
    """

    def __init__(
        self,
        executor: Executor,
        fetch: Callable[[ImageRecord], Outcome],
        n_ahead: int,
        most_bytes: int | None = None,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self._executor = executor
        self._fetch = fetch
        self._n_ahead = n_ahead
        self._most_bytes = most_bytes
        self._on_step = on_step
        self._futures: dict[str, Future[Outcome]] = {}
        self._files: set[str] = set()
        self._near = Seen()
        self._counted: set[str] = set()
        self._n_bytes = 0
        self._failures_in_a_row = 0

    def collect(self, wants: Iterable[Want]) -> list[Tally]:
        """What came of each want, in their order.

        Raises:
            SourceError: A source refuses, or the network went away in the midst.
        """
        coming = iter(wants)
        searches: deque[_Search] = deque()
        tallies: list[Tally] = []
        while True:
            self._fill(searches, coming, tallies)
            if not searches:
                return tallies
            first = searches[0]
            if not first.waiting:
                searches.popleft()
                self._on_step(Step(first.tally, len(tallies) - len(searches), self._n_bytes))
                continue
            record, rank, future = first.waiting.popleft()
            outcome = future.result()
            self._look_at(first.tally, record, rank, outcome)
            self._on_step(Step(first.tally, len(tallies) - len(searches), self._n_bytes))
            if self._most_bytes is not None and self._n_bytes >= self._most_bytes:
                for search in searches:
                    self._stop(search)
                tallies += [
                    Tally(want.keyword, want.role, want.count, is_cut_short=True) for want in coming
                ]

    def _fill(self, searches: deque[_Search], coming: Iterator[Want], tallies: list[Tally]) -> None:
        """Send downloads off until enough are in flight, those of the first keyword first."""
        while sum(len(search.waiting) for search in searches) < self._n_ahead:
            taker = next((search for search in searches if search.may_take), None)
            if taker is not None:
                self._send_next(taker)
            elif (want := next(coming, None)) is not None:
                tallies.append(Tally(want.keyword, want.role, want.count))
                searches.append(_Search(want, tallies[-1]))
            else:
                return

    def _send_next(self, search: _Search) -> None:
        record = next(search.want.records, None)
        if record is None:
            search.is_exhausted = True
            return
        search.rank += 1
        if why := search.want.unfit(record):
            search.tally.drop(why, record)
            return
        future = self._futures.get(record.image_url)
        if future is None:
            future = self._executor.submit(self._fetch, record)
            self._futures[record.image_url] = future
        search.waiting.append((record, search.rank, future))

    def _stop(self, search: _Search) -> None:
        for _, _, future in search.waiting:
            future.cancel()
        search.waiting.clear()
        search.tally.is_cut_short = not search.is_exhausted and search.tally.missing > 0
        search.is_exhausted = True

    def _look_at(self, tally: Tally, record: ImageRecord, rank: int, outcome: Outcome) -> None:
        if outcome.url not in self._counted:
            self._counted.add(outcome.url)
            self._n_bytes += outcome.n_bytes
        if isinstance(outcome, Failed):
            tally.drop(outcome.reason, record)
            self._note_failure(outcome)
            return
        self._failures_in_a_row = 0
        if reason := self._refusal(record, outcome):
            tally.drop(reason, record)
        else:
            tally.pictures.append(Picture(record, outcome, tally.keyword, rank))

    def _refusal(self, record: ImageRecord, file: Fetched) -> str | None:
        if record.sha256 and record.sha256.lower() != file.sha256:
            return "changed"
        if record.md5 and record.md5.lower() != file.md5:
            return "changed"
        if file.sha256 in self._files:
            return "duplicate"
        if not self._near.add(int(file.phash, 16)):
            return "near-duplicate"
        self._files.add(file.sha256)
        return None

    def _note_failure(self, failed: Failed) -> None:
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed.is_transient else 0
        if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
            raise SourceError(
                f"the last {_FAILURES_IN_A_ROW} downloads all failed; the last one, of "
                f"{failed.url}: {failed.explanation}",
                "Look at the network, and run the same command again: what came is kept.",
            )
