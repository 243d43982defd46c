"""Pictures, addresses and published lists → a `Lookup`: what is in the lists, and how it shows.

No socket is opened: lists are files, and an address is compared, never visited.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import defaultdict
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
    Hits,
    Way,
    find,
    ways_for,
)
from clipaudit.listings.rows import details, hosts_of
from clipaudit.listings.urls import host_of
from clipaudit.pictures.base import Limits
from clipaudit.pictures.near_duplicates import MOST_BITS
from clipaudit.pipelines.lookup_subjects import Subject, read_subjects
from clipaudit.results.lookup import Host, ListFile, Lookup, Match, Run, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from clipaudit.listings.files import Table

_HOSTS_SHOWN = 20
_LIBRARIES = ("duckdb", "pyarrow", "Pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupConfig:
    """What to search, and how.

    Attributes:
        metadata: Files of the lists, and folders of them.
        urls: More addresses, whatever they look like.
        domains: Sites whose rows are counted.
        columns: Role → name of the column that has it, where that cannot be told.
        phash_bits: How many of the 64 bits of a perceptual hash may differ.
        memory_mb: Megabytes that the search may take; Python and decoders come on top.
        include_hidden: Whether to look at hidden files in folders of pictures.
        limits: How much one picture may cost.
        command: The command, for the facts of the run.
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
                f"--phash-bits must be between 0 and 16, got {self.phash_bits}",
                f"Pictures that differ in more than {MOST_BITS} bits are mostly different ones.",
            )
        if self.memory_mb < 100:
            raise UsageError(
                f"--memory must be at least 100 MB, got {self.memory_mb}", "Pass 100 or more."
            )


@dataclass(frozen=True, slots=True)
class Step:
    """How far a lookup is.

    Attributes:
        stage: Reading pictures and addresses, or searching the lists.
        done: Pictures that are read, or files of the lists that are searched.
        total: How many there are; None while that is unknown.
    """

    stage: Literal["reading", "searching"]
    done: int
    total: int | None = None


def lookup(
    names: Sequence[str | os.PathLike[str]],
    config: LookupConfig,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Lookup:
    """Say which pictures and addresses are in published lists, and which rows name them.

    Args:
        names: Files and folders of pictures, and http(s) addresses.
        config: Where to search, and more addresses.
        on_step: Called as the work goes on, from the calling thread.

    Raises:
        InputError: A list is missing, broken, or has no column that a picture can be found by.
        UsageError: A domain that is none, a column for which there is no role.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    sites = [_SiteCount(_domain(text)) for text in config.domains]
    files = find_lists(config.metadata)
    with Engine(files, config.memory_mb) as engine:
        tables = open_tables(engine, files, check_roles(config.columns))
        _require_comparable(tables)
        subjects = []
        for subject in read_subjects(
            names, config.urls, config.limits, include_hidden=config.include_hidden
        ):
            subjects.append(subject)
            on_step(Step("reading", len(subjects)))
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
        lists=tuple(map(_list_file, tables)),
        sites=tuple(site.result() for site in sites),
        notes=tuple(_notes(subjects, sites, tables)),
        answers=tuple(subject.answer() for subject in subjects),
    )


def _domain(text: str) -> str:
    host = host_of(text.strip())
    if host is None or "." not in host.strip("."):
        raise UsageError(
            f"--domain must be the name of a site, got {text!r}",
            "Write it as example.org, without a path.",
        )
    return host.removeprefix("www.")


def _require_comparable(tables: Sequence[Table]) -> None:
    if any(table.columns.comparable for table in tables):
        return
    notes = dict.fromkeys(note for table in tables for note in table.columns.notes)
    raise InputError(
        f"{str(tables[0].path)!r} has no column that a picture can be found by: "
        + ("; ".join(notes) or f"none is known to hold any of {', '.join(COMPARABLE)}"),
        "Say which does: --columns url=NAME,sha256=NAME; in a file without a header, by number.",
    )


def _search(engine: Engine, table: Table, subjects: Sequence[Subject], most_bits: int) -> None:
    """Add what one file has on them."""
    comparable = [subject for subject in subjects if not subject.is_skipped]
    for subject in comparable:
        subject.compared |= set(ways_for(subject.known, table))
    hits = find(engine, table, [subject.known for subject in comparable], most_bits)
    rows = _rows_to_show(hits, comparable)
    texts = details(engine, table, (row for found in rows.values() for _, row in found))
    for (place, way), hit in hits.items():
        comparable[place].n_matches[way] += hit.n_rows
        for bits, row in rows[place, way]:
            comparable[place].matches.append(
                Match(
                    way=way,
                    file=str(table.path),
                    row=row,
                    key=texts[row].key,
                    url=texts[row].url,
                    text=texts[row].text,
                    bits=bits if way == "phash" else None,
                )
            )


def _rows_to_show(
    hits: Hits, subjects: Sequence[Subject]
) -> dict[tuple[int, Way], list[tuple[int, int]]]:
    """Bits that differ, and rows: `MOST_ROWS` of a way at most, in all files together."""
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


def _list_file(table: Table) -> ListFile:
    columns = {str(role): column.name for role, column in table.columns.by_role.items()}
    return ListFile(str(table.path), table.kind, table.n_rows, columns, table.columns.notes)


def _notes(
    subjects: Sequence[Subject], sites: Sequence[_SiteCount], tables: Sequence[Table]
) -> Iterator[str]:
    roles = {role for table in tables for role in table.columns.by_role}
    kinds = {subject.kind for subject in subjects if not subject.is_skipped}
    if "file" in kinds and not roles & {"sha256", "md5", "phash"}:
        yield (
            "The lists have no hashes of pictures, so only web addresses can be compared: name "
            "the addresses at which your pictures were online, as arguments or with --urls."
        )
    if "file" in kinds and roles & {"sha256", "md5"}:
        yield (
            "A hash is that of the very file that was on the web: a copy that was exported, "
            "resized or stripped of its metadata has another."
        )
    if "file" in kinds and "phash" in roles:
        yield (
            "Perceptual hashes are compared as the imagehash library makes them; where a list "
            "does not say how its own were made, look at the matches, and trust no absence."
        )
    if "url" in kinds and not roles & {"url", "flickr"}:
        yield "The lists have no addresses, so only files of pictures can be compared."
    if "url" in kinds and "flickr" in roles and "url" not in roles:
        yield "The lists have photo ids of Flickr alone, so no other address can be compared."
    if sites and "url" not in roles:
        yield "The lists have no addresses, so no rows can be counted by domain."


def _versions() -> dict[str, str]:
    own = {"clipaudit": __version__, "python": platform.python_version(), "system": sys.platform}
    return own | {name: version(name) for name in _LIBRARIES}
