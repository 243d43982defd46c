"""Pictures, addresses and published lists → a `Lookup`: what is in the lists, and how it shows.

No socket is opened: lists are files, and an address is compared, never visited.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from clipaudit._version import __version__
from clipaudit.errors import InputError, UsageError
from clipaudit.listings.columns import COMPARABLE, check_roles
from clipaudit.listings.engine import MEMORY_MB, Engine
from clipaudit.listings.files import find_lists, open_tables
from clipaudit.listings.matching import (
    MOST_ROWS,
    WAYS,
    Asked,
    Hits,
    Way,
    find,
    ways_for,
)
from clipaudit.listings.rows import details, hosts_of
from clipaudit.listings.urls import host_of, normalise
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.near_duplicates import MOST_BITS
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.results.lookup import Answer, Host, ListFile, Lookup, Match, Run, Site, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from clipaudit.listings.files import Table
    from clipaudit.pictures.finding import FoundFile
    from clipaudit.pictures.preparing import Prepared

_AHEAD = 64
_HOSTS_SHOWN = 20
_LIBRARIES = ("duckdb", "pyarrow", "Pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupConfig:
    """What to search, and how.

    Attributes:
        metadata: Files of the lists, and folders of them.
        urls: More addresses, whatever they look like.
        domains: Sites whose rows are counted.
        columns: Role → name of a column, where it cannot be told.
        phash_bits: Of 64, how many bits of a perceptual hash may differ.
        memory_mb: What the search may take; Python and decoders come on top.
        include_hidden: Look at hidden files in folders of pictures too.
        limits: How much one picture may cost.
        command: Goes into the run's facts.
    """

    metadata: tuple[Path, ...]
    urls: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    phash_bits: int = MOST_BITS
    memory_mb: int = MEMORY_MB
    include_hidden: bool = False
    limits: Limits = Limits()
    command: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.phash_bits <= 16:
            raise UsageError(
                f"--phash-bits {self.phash_bits} does not work",
                f"Pass 0 to 16; those that differ in more than {MOST_BITS} are mostly strangers.",
            )
        if self.memory_mb < 100:
            raise UsageError(f"--memory {self.memory_mb} is too little", "Pass 100 or more.")


@dataclass(frozen=True, slots=True)
class Step:
    """How far a lookup is.

    Attributes:
        stage: Reading what was asked for, or searching the lists.
        done: Pictures that are read, or files of the lists that are searched.
        total: How many there are; None while nobody knows.
    """

    stage: Literal["reading", "searching"]
    done: int
    total: int | None = None


@dataclass(slots=True)
class _Subject:
    """One answer in the making."""

    asked: str
    kind: Literal["file", "url"]
    error: BadImage | str | None = None
    is_skipped: bool = False
    known: Asked = field(default_factory=Asked)
    compared: set[Way] = field(default_factory=set)
    n_matches: Counter[Way] = field(default_factory=Counter)
    matches: list[Match] = field(default_factory=list)


def lookup(
    asked: Sequence[str | os.PathLike[str]],
    config: LookupConfig,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Lookup:
    """Say which pictures and addresses are in published lists, and which rows name them.

    Args:
        asked: Files and folders of pictures, and http(s) addresses.
        config: Where to search, and more addresses.
        on_step: Called as the work goes on, from the calling thread.

    Raises:
        InputError: A list is missing, broken, or has no column that a picture can be found by.
        UsageError: A domain that is none, a column for which there is no role.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    domains = [_domain(text) for text in config.domains]
    files = find_lists(config.metadata)
    with Engine(files, config.memory_mb) as engine:
        tables = open_tables(engine, files, check_roles(config.columns))
        _require_comparable(tables)
        subjects = list(_read(asked, config, on_step))
        sites = [_SiteCount(domain) for domain in domains]
        for done, table in enumerate(tables):
            on_step(Step("searching", done, len(tables)))
            _search(engine, table, subjects, config.phash_bits)
            if "url" in table.columns.by_role:
                for site in sites:
                    site.add(*hosts_of(engine, table, site.domain))
    return Lookup(
        run=Run(
            command=config.command,
            versions=_versions(),
            phash_bits=config.phash_bits,
            started_at=started.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - clock,
        ),
        lists=tuple(map(_facts, tables)),
        sites=tuple(site.result() for site in sites),
        notes=tuple(_notes(subjects, sites, tables)),
        answers=tuple(map(_answer, subjects)),
    )


def is_address(text: str) -> bool:
    """Whether what was asked for is meant as a web address, and not as a path."""
    return text.lower().startswith(("http://", "https://"))


# --- what was asked for --------------------------------------------------------------------------


def _read(
    asked: Sequence[str | os.PathLike[str]],
    config: LookupConfig,
    on_step: Callable[[Step], None],
) -> Iterator[_Subject]:
    """Everything that was asked for, in its order, with what it can be found by."""
    workers = min(8, os.cpu_count() or 1) if any(not is_address(str(one)) for one in asked) else 0
    waiting: deque[tuple[_Subject, Future[Prepared] | None]] = deque()
    with DecoderPool(workers, config.limits) as pool:
        done = 0
        for subject, future in _begin(asked, config, pool):
            waiting.append((subject, future))
            while len(waiting) > _AHEAD:
                done += 1
                on_step(Step("reading", done))
                yield _finished(*waiting.popleft())
        while waiting:
            done += 1
            on_step(Step("reading", done))
            yield _finished(*waiting.popleft())


def _begin(
    asked: Iterable[str | os.PathLike[str]], config: LookupConfig, pool: DecoderPool
) -> Iterator[tuple[_Subject, Future[Prepared] | None]]:
    for one in asked:
        if is_address(str(one)):
            yield _address(str(one)), None
        else:
            for found in find_images([one], include_hidden=config.include_hidden):
                yield _file(found, config.limits, pool)
    for url in config.urls:
        yield _address(url), None


def _address(url: str) -> _Subject:
    subject = _Subject(url, "url", known=Asked(url=url))
    if normalise(url) is None:
        subject.error = "not_an_address: it is no http(s) address with a host"
        subject.is_skipped = True
    return subject


def _file(
    found: FoundFile, limits: Limits, pool: DecoderPool
) -> tuple[_Subject, Future[Prepared] | None]:
    subject = _Subject(found.path, "file")
    try:
        if found.problem is not None:
            raise found.problem
        data = read_file(found.path, limits)
    except BadImage as bad:
        subject.error = bad
        subject.is_skipped = True
        return subject, None
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    subject.known = Asked(sha256=content_id(data), md5=md5)
    return subject, pool.submit(data)


def _finished(subject: _Subject, future: Future[Prepared] | None) -> _Subject:
    """With its perceptual hash; a file that gives no picture is still compared by its bytes."""
    if future is None:
        return subject
    try:
        phash = future.result().facts.phash
    except BadImage as bad:
        subject.error = bad
        subject.is_skipped = bad.reason in {"empty", "not_an_image"}
    else:
        subject.known = Asked(sha256=subject.known.sha256, md5=subject.known.md5, phash=phash)
    return subject


def _domain(text: str) -> str:
    host = host_of(text.strip())
    if host is None or "." not in host.strip("."):
        raise UsageError(
            f"--domain {text!r} is no domain", "Write it as example.org, without a path."
        )
    return host.removeprefix("www.")


# --- searching -----------------------------------------------------------------------------------


def _require_comparable(tables: Sequence[Table]) -> None:
    if any(table.columns.comparable for table in tables):
        return
    notes = dict.fromkeys(note for table in tables for note in table.columns.notes)
    raise InputError(
        f"{str(tables[0].path)!r} has no column that a picture can be found by: "
        + ("; ".join(notes) or f"none is known to hold any of {', '.join(COMPARABLE)}"),
        "Say which does: --columns url=NAME,sha256=NAME; in a file without a header, by number.",
    )


def _search(engine: Engine, table: Table, subjects: Sequence[_Subject], most_bits: int) -> None:
    """Add what one file has on them."""
    able = [subject for subject in subjects if not subject.is_skipped]
    for subject in able:
        subject.compared |= set(ways_for(subject.known, table))
    hits = find(engine, table, [subject.known for subject in able], most_bits)
    shown = _shown(hits, able)
    said = details(engine, table, (row for rows in shown.values() for _, row in rows))
    for (place, way), hit in hits.items():
        able[place].n_matches[way] += hit.n_rows
        for bits, row in shown[place, way]:
            says = said[row]
            able[place].matches.append(
                Match(
                    way=way,
                    file=str(table.path),
                    row=row,
                    key=says.key,
                    url=says.url,
                    text=says.text,
                    bits=bits if way == "phash" else None,
                )
            )


def _shown(
    hits: Hits, subjects: Sequence[_Subject]
) -> dict[tuple[int, Way], list[tuple[int, int]]]:
    """The rows that are named: `MOST_ROWS` of a way at most, in all files together."""
    return {
        (place, way): hit.rows[: max(0, MOST_ROWS - subjects[place].n_matches[way])]
        for (place, way), hit in hits.items()
    }


class _SiteCount:
    """Rows from one site, file by file."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self._n_rows = 0
        self._hosts: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)

    def add(self, n_rows: int, hosts: Iterable[tuple[str, int, str]]) -> None:
        self._n_rows += n_rows
        for name, n, example in hosts:
            self._hosts[name].append((n, example))

    def result(self) -> Site:
        hosts = [
            Host(name, sum(n for n, _ in found), min(example for _, example in found))
            for name, found in self._hosts.items()
        ]
        hosts.sort(key=lambda host: (-host.n_rows, host.name))
        return Site(self.domain, self._n_rows, tuple(hosts[:_HOSTS_SHOWN]))


# --- the result ----------------------------------------------------------------------------------


def _answer(subject: _Subject) -> Answer:
    compared = tuple(way for way in WAYS if way in subject.compared)
    status: Status = "not_compared"
    if subject.is_skipped:
        status = "skipped"
    elif subject.n_matches:
        status = "listed"
    elif compared:
        status = "not_listed"
    known = subject.known
    return Answer(
        asked=subject.asked,
        kind=subject.kind,
        status=status,
        error=None if subject.error is None else str(subject.error),
        sha256=known.sha256,
        md5=known.md5,
        phash=None if known.phash is None else f"{known.phash:016x}",
        compared=compared,
        n_matches={way: subject.n_matches[way] for way in WAYS if subject.n_matches[way]},
        matches=tuple(sorted(subject.matches, key=lambda match: WAYS.index(match.way))),
    )


def _facts(table: Table) -> ListFile:
    columns = {str(role): column.name for role, column in table.columns.by_role.items()}
    return ListFile(str(table.path), table.kind, table.n_rows, columns, table.columns.notes)


def _notes(
    subjects: Sequence[_Subject], sites: Sequence[_SiteCount], tables: Sequence[Table]
) -> Iterator[str]:
    has = {role for table in tables for role in table.columns.by_role}
    kinds = {subject.kind for subject in subjects if not subject.is_skipped}
    if "file" in kinds and not has & {"sha256", "md5", "phash"}:
        yield (
            "The lists have no hashes of pictures, so only web addresses can be compared: name "
            "the addresses at which your pictures were online, as arguments or with --urls."
        )
    if "file" in kinds and has & {"sha256", "md5"}:
        yield (
            "A hash is that of the very file that was on the web: a copy that was exported, "
            "resized or stripped of its metadata has another."
        )
    if "file" in kinds and "phash" in has:
        yield (
            "Perceptual hashes are compared as the imagehash library makes them; where a list "
            "does not say how its own were made, look at the matches, and trust no absence."
        )
    if "url" in kinds and not has & {"url", "flickr"}:
        yield "The lists have no addresses, so only files of pictures can be compared."
    if "url" in kinds and "flickr" in has and "url" not in has:
        yield "The lists have photo ids of Flickr alone, so no other address can be compared."
    if sites and "url" not in has:
        yield "The lists have no addresses, so no rows can be counted by domain."


def _versions() -> dict[str, str]:
    own = {"clipaudit": __version__, "python": platform.python_version(), "system": sys.platform}
    return own | {name: version(name) for name in _LIBRARIES}
