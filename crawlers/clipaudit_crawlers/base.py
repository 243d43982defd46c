"""What a source of pictures is: a query in, a lazy stream of records out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from clipaudit_crawlers.fetch import Web


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One picture as a source describes it; what the source does not say is None.

    Attributes:
        source: Name of the source, such as `openverse`.
        source_id: What the source calls the picture; one picture has one id for ever.
        image_url: Where its bytes are: `http`, `https`, or `file` for pictures on this machine.
        page_url: The page that shows it, for people.
        title: Plain text, no markup.
        author: Plain text, no markup.
        author_url: The author's page.
        license: The licence as a short id in small letters, without its version, such as `by-sa`,
            `cc0`, `pdm`; other words are the source's own.
        license_version: Such as `4.0`.
        license_url: The text of the licence.
        credit: A line that gives credit as the licence asks for.
        uploaded: ISO 8601 date, or date and time, when it was put online at the source; of
            several versions that of the one behind `image_url`.
        taken: ISO 8601 date, or date and time, when it was made, as its metadata say.
        width_px: Width of the picture behind `image_url`.
        height_px: Height of the picture behind `image_url`.
        size_bytes: Size of the file behind `image_url`.
        sha256: Hash of that file, in hex, where the source promises one.
        md5: The same with MD5.
        sha1: The same with SHA-1.
    """

    source: str
    source_id: str
    image_url: str
    page_url: str | None = None
    title: str | None = None
    author: str | None = None
    author_url: str | None = None
    license: str | None = None
    license_version: str | None = None
    license_url: str | None = None
    credit: str | None = None
    uploaded: str | None = None
    taken: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    sha1: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for.

    Attributes:
        keyword: As it was typed; a source that needs another spelling makes it.
        limit: Most records that will be read; a source may ask for pages of fitting size.
        licenses: Only pictures under one of these (ids as in `ImageRecord.license`); empty for
            whatever the source has under a free licence, or at all.
        uploaded_from: Only pictures put online on this day or later.
        uploaded_before: Only pictures put online before this day.
        place: Place of the search among those of a run, from 0; for sources whose pictures have no
            keywords, and are dealt out to the searches in turn.
        n_places: Searches of the run.
    """

    keyword: str
    limit: int
    licenses: tuple[str, ...] = ()
    uploaded_from: date | None = None
    uploaded_before: date | None = None
    place: int = 0
    n_places: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What a person should know of a source before using it; none of it asks the source.

    Attributes:
        title: The name of the service, for people.
        page_size: Most records in one answer.
        requests_per_minute: The service's limit, or None where it has none.
        requests_per_day: The service's limit, or None where it has none.
        most_per_keyword: How many records one query can ever give, or None for no limit.
        typical_bytes: Size of one picture as it is downloaded; an estimate, for plans.
        keys: Variables of the environment that hold its keys; empty where none is needed.
        keys_from: Where a person gets them, as a URL.
        takes_licenses: Whether a query may ask for pictures under some licences alone.
        gives_licenses: Whether records say their licence.
        gives_upload_dates: Whether records say when they were put online, so that a query may
            ask for a time.
        extra_requests: Requests that a run needs once, besides those of its queries.
        is_local: Whether a search reads this machine alone.
        is_public: Whether everybody can see its pictures.
        asks_robots: Whether robots.txt of each host is to be honoured: for lists of addresses,
            which nobody published for being downloaded.
        notice: What has to be said to whoever uses it, such as the day on which it ends.
    """

    title: str
    page_size: int
    requests_per_minute: float | None = None
    requests_per_day: int | None = None
    most_per_keyword: int | None = None
    typical_bytes: int = 300_000
    keys: tuple[str, ...] = ()
    keys_from: str | None = None
    takes_licenses: bool = False
    gives_licenses: bool = False
    gives_upload_dates: bool = False
    extra_requests: int = 0
    is_local: bool = False
    is_public: bool = True
    asks_robots: bool = False
    notice: str | None = None


class ImageSource(Protocol):
    """A place that gives pictures for a keyword.

    A source only turns answers into records. Time-outs, retries, quotas, limits of size, checks
    of addresses and the hiding of keys are `Web`'s.
    """

    name: ClassVar[str]

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """What holds with these variables of the environment: a key may raise a limit."""
        ...

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """A source that is ready to be asked; it has not asked for anything yet.

        Args:
            web: The way to the network.
            environ: Where the keys are.
            argument: What the user wrote behind the colon, as in `folder:PATH`.

        Raises:
            SourceError: A key is missing (the hint says where to get one, and which sources need
                none), or there is an argument and the source takes none.
            InputError: The argument does not name what the source reads.
        """
        ...

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """The records of a query, best first, no picture twice; lazy: no page is read too many.

        An iterator that ends early has no more; that is no error.

        Raises:
            SourceError: The service refuses, is down, or answers what is not its format.
        """
        ...
