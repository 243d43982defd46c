"""What a lookup is asked for → subjects: pictures and addresses, with what each is found by.

Files are read, hashed and decoded; an address is compared, and never visited.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from clipaudit.listings.matching import WAYS, Asked, Way
from clipaudit.listings.urls import normalise
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.hashing import PLAIN_NOTES
from clipaudit.pictures.reading import content_id, hash_file, read_file
from clipaudit.results.lookup import Answer, Match, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from clipaudit.pictures.finding import FoundFile
    from clipaudit.pictures.preparing import Prepared

_AHEAD = 64


@dataclass(slots=True)
class Subject:
    """A picture or an address, and what the lists have on it so far.

    Attributes:
        name: Path or address, as the user gave it.
        kind: Which of the two it is.
        known: What it can be found by.
        error: Why it gives no picture, no perceptual hash, or no address.
        is_skipped: Whether it is compared with nothing.
        compared: Ways in which it was compared.
        n_matches: Way → how many rows match.
        matches: Rows that are shown.
    """

    name: str
    kind: Literal["file", "url"]
    known: Asked = field(default_factory=Asked)
    error: BadImage | str | None = None
    is_skipped: bool = False
    compared: set[Way] = field(default_factory=set)
    n_matches: Counter[Way] = field(default_factory=Counter)
    matches: list[Match] = field(default_factory=list)

    def answer(self) -> Answer:
        """What came out, once every list is searched."""
        compared = tuple(way for way in WAYS if way in self.compared)
        status: Status = "not_compared"
        if self.is_skipped:
            status = "skipped"
        elif self.n_matches:
            status = "listed"
        elif compared:
            status = "not_listed"
        known = self.known
        return Answer(
            asked=self.name,
            kind=self.kind,
            status=status,
            error=None if self.error is None else str(self.error),
            sha256=known.sha256,
            md5=known.md5,
            phash=None if known.phash is None else f"{known.phash:016x}",
            compared=compared,
            n_matches={way: self.n_matches[way] for way in WAYS if self.n_matches[way]},
            matches=tuple(sorted(self.matches, key=lambda match: WAYS.index(match.way))),
        )


def read_subjects(
    names: Sequence[str | os.PathLike[str]],
    urls: Sequence[str],
    limits: Limits,
    *,
    include_hidden: bool,
) -> Iterator[Subject]:
    """Subjects in the order of their names; files of a folder as they are found.

    Args:
        names: Files and folders of pictures, and http(s) addresses.
        urls: More addresses, whatever they look like.
        limits: How much one picture may cost.
        include_hidden: Whether to look at hidden files in folders.
    """
    has_files = not all(_is_address(str(name)) for name in names)
    workers = min(8, os.cpu_count() or 1) if has_files else 0
    waiting: deque[tuple[Subject, Future[Prepared] | None]] = deque()
    with DecoderPool(workers, limits) as pool:
        for name in names:
            if _is_address(str(name)):
                waiting.append((_address(str(name)), None))
            else:
                for found in find_images([name], include_hidden=include_hidden):
                    waiting.append(_file(found, limits, pool))
                    if len(waiting) > _AHEAD:
                        yield _with_phash(*waiting.popleft())
        while waiting:
            yield _with_phash(*waiting.popleft())
    yield from map(_address, urls)


def _is_address(text: str) -> bool:
    return text.strip().lower().startswith(("http://", "https://"))


def _address(url: str) -> Subject:
    subject = Subject(url, "url", Asked(url=url))
    if normalise(url) is None:
        subject.error = "not_an_address: it is no http(s) address with a host"
        subject.is_skipped = True
    return subject


def _file(
    found: FoundFile, limits: Limits, pool: DecoderPool
) -> tuple[Subject, Future[Prepared] | None]:
    subject = Subject(found.path, "file")
    try:
        if found.problem is not None:
            raise found.problem
        data = read_file(found.path, limits, found.place)
    except BadImage as bad:
        subject.error = bad
        subject.is_skipped = bad.reason != "too_large" or not _is_hashed(subject)
        return subject, None
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    subject.known = Asked(sha256=content_id(data), md5=md5)
    return subject, pool.submit(data)


def _is_hashed(subject: Subject) -> bool:
    """Whether a file that is too large to look at could be hashed; its hashes are known then."""
    try:
        sha256, md5 = hash_file(subject.name)
    except BadImage as bad:
        subject.error = bad
        return False
    subject.known = Asked(sha256=sha256, md5=md5)
    return True


def _with_phash(subject: Subject, future: Future[Prepared] | None) -> Subject:
    """The subject; a file that gives no picture is still compared by its bytes."""
    if future is None:
        return subject
    try:
        picture = future.result()
    except BadImage as bad:
        subject.error = bad
        subject.is_skipped = bad.reason in {"empty", "not_an_image"}
    else:
        plain = [note for note in picture.notes if note in PLAIN_NOTES]
        if plain:
            subject.error = f"{plain[0]}, so it has no perceptual hash"
        else:
            subject.known = replace(subject.known, phash=picture.facts.phash)
    return subject
