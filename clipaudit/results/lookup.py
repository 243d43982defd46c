"""What a lookup found: plain data, from which every table and file is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clipaudit.listings.matching import WAYS, Way
from clipaudit.results.showable import Showable

if TYPE_CHECKING:
    from collections.abc import Iterator

Status = Literal[
    "listed",  # at least one row is about it
    "not_listed",  # it was compared, and no row is about it; it may still have been used
    "not_compared",  # the lists have no column that it could be found by
    "skipped",  # it could not be read, or is no address
]
STATUSES: tuple[Status, ...] = ("listed", "not_listed", "not_compared", "skipped")

IN_WORDS: dict[Way, str] = {
    "url": "same address",
    "normalised_url": "same address but for what does not matter",
    "flickr_id": "same photo at Flickr",
    "sha256": "same file (SHA-256)",
    "md5": "same file (MD5)",
    "phash": "looks the same (pHash)",
}

MEANING = (
    "Listed means that a row of the published metadata names this address, or a file or picture "
    "like this one. It does not mean that the picture was downloaded, kept by later filters, or "
    "trained on: links die, and what stands behind them changes. Not listed proves nothing "
    "either: other addresses and other copies of a picture are other rows, and lists leave out "
    "rows that were taken down."
)


@dataclass(frozen=True, slots=True)
class Match:
    """A row that is about what was asked for.

    Attributes:
        way: How it was found.
        file: Path of the file that it is in.
        row: Number of the row in that file, from 0; a header does not count.
        key: What the list calls it.
        url: Address that the row names.
        text: Caption that the row holds.
        bits: For `phash`: how many of 64 bits differ.
    """

    way: Way
    file: str
    row: int
    key: str | None = None
    url: str | None = None
    text: str | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for, and what the lists have on it.

    Attributes:
        asked: Path or address, as it was given or found.
        kind: Which of the two.
        status: What the lists say of it; see `Status`.
        error: `reason: explanation` where it was skipped, or could be compared as a file but not
            as a picture.
        sha256: Of the file's bytes, in hex.
        md5: The same with MD5.
        phash: 16 hex digits, of the pixels.
        compared: The ways in which it was compared with at least one file.
        n_matches: Way → rows found, in all files; ways without any are left out.
        matches: The first rows of each way, the plainest way first.
    """

    asked: str
    kind: Literal["file", "url"]
    status: Status
    error: str | None = None
    sha256: str | None = None
    md5: str | None = None
    phash: str | None = None
    compared: tuple[Way, ...] = ()
    n_matches: dict[Way, int] = field(default_factory=dict)
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class ListFile:
    """One file of the lists.

    Attributes:
        path: Path of the file, as it was given or found.
        format: `parquet`, `tsv` or `csv`.
        n_rows: How many rows it has.
        columns: Role → the column that holds it, as it is called there.
        notes: What is not compared, and why.
    """

    path: str
    format: str
    n_rows: int
    columns: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a site.

    Attributes:
        name: Name of the host, in small letters.
        n_rows: Rows with an address there.
        example: One of them.
    """

    name: str
    n_rows: int
    example: str


@dataclass(frozen=True, slots=True)
class Site:
    """How many rows are from a site: a domain and all below it.

    Attributes:
        domain: Domain in small letters, without `www.`.
        n_rows: Rows with an address there.
        hosts: Those with most rows, most first.
    """

    domain: str
    n_rows: int
    hosts: tuple[Host, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """The facts of a run.

    Attributes:
        command: The command line, or the Python call.
        versions: clipaudit, Python, duckdb, … → version.
        phash_bits: How many of the 64 bits of a perceptual hash might differ.
        started_at: UTC, ISO 8601.
        seconds: Wall time.
    """

    command: str
    versions: dict[str, str]
    phash_bits: int
    started_at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Lookup(Showable):
    """Everything that a lookup found; `len()`, iteration and indexing go over its answers.

    Attributes:
        run: The facts of the run.
        lists: The files that were searched.
        sites: Sites in the order asked for.
        notes: What could not be compared at all, and what to do about it.
        answers: Answers in the order asked for.
    """

    run: Run
    lists: tuple[ListFile, ...]
    sites: tuple[Site, ...]
    notes: tuple[str, ...]
    answers: tuple[Answer, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __getitem__(self, index: int) -> Answer:
        return self.answers[index]

    @property
    def n_rows(self) -> int:
        """Rows in all files."""
        return sum(file.n_rows for file in self.lists)

    def with_status(self, status: Status) -> tuple[Answer, ...]:
        """The answers of one status."""
        return tuple(answer for answer in self.answers if answer.status == status)

    def n_by_way(self) -> dict[Way, int]:
        """Way → how many of what was asked for were found in it; only ways that were tried."""
        tried = {way for answer in self.answers for way in answer.compared}
        found = Counter(way for answer in self.answers for way in answer.n_matches)
        return {way: found[way] for way in WAYS if way in tried}

    def skip_reasons(self) -> dict[str, int]:
        """How many were skipped for each reason, the most frequent first."""
        reasons = Counter(
            (answer.error or "").partition(":")[0] for answer in self.with_status("skipped")
        )
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def summary(self) -> dict[str, Any]:
        """The counts that a reader would make first."""
        return {
            "n_asked": len(self),
            **{f"n_{status}": len(self.with_status(status)) for status in STATUSES},
            "n_by_way": dict(self.n_by_way()),
            "skip_reasons": self.skip_reasons(),
            "n_lists": len(self.lists),
            "n_rows": self.n_rows,
        }
