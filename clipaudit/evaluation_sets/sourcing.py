"""Where a set's pictures come from, and what may be said of each: the wants of a build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit_crawlers.base import ImageRecord, Query

from clipaudit.errors import UsageError
from clipaudit.evaluation_sets.collecting import Want
from clipaudit.evaluation_sets.sources import source_names, source_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date

    from clipaudit_crawlers.base import ImageSource
    from clipaudit_crawlers.fetch import Web

    from clipaudit.evaluation_sets.collecting import Picture
    from clipaudit.evaluation_sets.manifest import Label
    from clipaudit.evaluation_sets.request import BuildConfig
    from clipaudit.listings import Listed

_RECORDS_A_PICTURE = 10
"""How many records are read at most for one picture that is wanted: many links are dead."""

_ALWAYS = (
    "All pictures were found in the same way; what is public is not a random sample of anything."
)
_OF_LAYOUT = (
    "Joined pictures have a seam, and two or four pictures squeezed into one: a classifier that "
    "never asks the encoder can tell them from natural ones. See `--nonmembers after-cutoff`."
)
_OF_AGE = (
    "Non-members are newer than members: cameras, subjects, formats and habits of editing change "
    "with the years, and newer pictures hold more synthetic ones."
)


@dataclass(frozen=True, slots=True, eq=False)
class Sourcing:
    """The wants of a build, and the words for what comes of them.

    Attributes:
        wants: In the order in which they are worked through; lazy.
        title: Title of the source, for people.
        notice: What the source wants to be said.
        ask_robots: Whether robots.txt of each host is to be honoured: for lists of addresses,
            which nobody published for being downloaded.
        member: The label of a picture on the members' side, and why.
        nonmember: Why a natural picture on the other side has its label.
        confounds: What else sets the two sides apart.
        if_nothing: What to do where nothing at all was found.
    """

    wants: Iterator[Want]
    title: str
    notice: str | None
    ask_robots: bool
    member: Callable[[Picture], tuple[Label, str]]
    nonmember: str
    confounds: tuple[str, ...]
    if_nothing: str


def from_source(config: BuildConfig, web: Web, environ: Mapping[str, str]) -> Sourcing:
    """A search for every keyword; two for each where the non-members are newer.

    Raises:
        UsageError: No such source, or one that cannot be asked for dates or licences.
        SourceError: A key is missing.
        InputError: The argument does not name what the source reads.
    """
    name, _, argument = config.source.partition(":")
    kind = source_type(name)
    facts = kind.facts(environ)
    _require(
        "upload dates", facts.gives_upload_dates, environ, asked=_asks_for_dates(config), name=name
    )
    _require("licences", facts.takes_licenses, environ, asked=bool(config.licenses), name=name)
    source = kind.open(web, environ, argument)
    before = config.cutoff if config.nonmembers == "after-cutoff" else config.uploaded_before
    said = "it is public" if facts.is_public else "it was in a folder, and may have been public"
    if before:
        said = f"it was put online before {before}"
    return Sourcing(
        wants=_searches(config, source),
        title=facts.title,
        notice=facts.notice,
        ask_robots=facts.asks_robots,
        member=lambda picture: (
            "potential-member",
            f"found for {picture.keyword!r}; {said}, so it may have been used",
        ),
        nonmember=f"made and put online on {config.cutoff} or later, after the training data",
        confounds=(_ALWAYS, *_confounds(config)),
        if_nothing="Try other keywords, fewer --licenses, or another --source.",
    )


def from_lists(config: BuildConfig) -> Sourcing:
    """Rows of published lists, drawn by the seed.

    Raises:
        InputError: A list cannot be read, or two of them cannot be compared.
    """
    from clipaudit.listings import sample

    names = ", ".join(path.name for path in config.from_metadata)
    others = ", ".join(path.name for path in config.nonmembers_from)

    def member(picture: Picture) -> tuple[Label, str]:
        if picture.record.sha256 or picture.record.md5:
            return "member", f"listed in {names}, and its bytes are still the listed ones"
        return (
            "potential-member",
            f"listed in {names} by its address; no hash was published, so it may have changed",
        )

    def wants() -> Iterator[Want]:
        columns = dict(config.columns)
        count = config.count * (1 + config.n_parents)
        listed = sample(
            config.from_metadata, count * _RECORDS_A_PICTURE, config.seed, columns=columns
        )
        yield Want("", "crawled" if config.n_parents else "member", count, map(_record, listed))
        if config.nonmembers_from:
            rest = sample(
                config.nonmembers_from,
                config.count * _RECORDS_A_PICTURE,
                config.seed,
                without=config.from_metadata,
                columns=columns,
            )
            yield Want("", "non-member", config.count, map(_record, rest))

    return Sourcing(
        wants=wants(),
        title=f"the published list {names}" + (f" and, for non-members, {others}" * bool(others)),
        notice=None,
        ask_robots=True,
        member=member,
        nonmember=f"listed in {others}, and neither its key, its hash nor its address in {names}",
        confounds=(
            (
                "Pictures whose address is dead, or whose bytes have changed, are missing on both "
                "sides; what is left is not a random sample of the list."
            ),
            *(_confounds(config) if not config.nonmembers_from else ()),
        ),
        if_nothing="Look at the reasons: most addresses of an old list are dead.",
    )


def _searches(config: BuildConfig, source: ImageSource) -> Iterator[Want]:
    for place, keyword in enumerate(config.keywords):
        if config.nonmembers != "after-cutoff":
            count = config.per_keyword * (1 + config.n_parents)
            query = _query(config, place, count, config.uploaded_from, config.uploaded_before)
            yield Want(keyword, "crawled", count, source.search(query))
            continue
        cutoff, count = _known(config.cutoff), config.per_keyword
        before = min(filter(None, (cutoff, config.uploaded_before)))
        after = max(filter(None, (cutoff, config.uploaded_from)))
        older = _query(config, place, count, config.uploaded_from, before)
        newer = _query(config, place, count, after, config.uploaded_before)
        yield Want(keyword, "member", count, source.search(older))
        yield Want(keyword, "non-member", count, source.search(newer), _made_from(cutoff))


def _query(
    config: BuildConfig, place: int, count: int, since: date | None, before: date | None
) -> Query:
    return Query(
        keyword=config.keywords[place],
        limit=count * _RECORDS_A_PICTURE,
        licenses=config.licenses,
        uploaded_from=since,
        uploaded_before=before,
        place=place,
        n_places=len(config.keywords),
    )


def _made_from(cutoff: date) -> Callable[[ImageRecord], str | None]:
    """A picture that was put online late may have been made, and seen elsewhere, long before."""

    def unfit(record: ImageRecord) -> str | None:
        if record.taken is None:
            return "date-unknown"
        return "taken-before-cutoff" if record.taken[:10] < cutoff.isoformat() else None

    return unfit


def _confounds(config: BuildConfig) -> tuple[str, ...]:
    match config.nonmembers:
        case "concat":
            return (_OF_LAYOUT,)
        case "after-cutoff":
            return (_OF_AGE,)
        case "none":
            return ("There are no non-members here: nothing can be measured on this set alone.",)


def _asks_for_dates(config: BuildConfig) -> bool:
    return (
        config.nonmembers == "after-cutoff"
        or (config.uploaded_from or config.uploaded_before) is not None
    )


def _require(what: str, can: bool, environ: Mapping[str, str], *, asked: bool, name: str) -> None:
    if not asked or can:
        return
    wanted = "gives_upload_dates" if what == "upload dates" else "takes_licenses"
    able = [other for other in source_names() if getattr(source_type(other).facts(environ), wanted)]
    raise UsageError(
        f"{name} cannot be asked for {what}", f"Pass --source with one that can: {', '.join(able)}."
    )


def _known(cutoff: date | None) -> date:
    if cutoff is None:  # BuildConfig has seen to it
        raise ValueError("after-cutoff needs a cut-off")
    return cutoff


def _record(listed: Listed) -> ImageRecord:
    return ImageRecord(
        source="list",
        source_id=listed.key or listed.url,
        image_url=listed.url,
        title=listed.text,
        license=listed.license,
        width_px=listed.width,
        height_px=listed.height,
        sha256=listed.sha256,
        md5=listed.md5,
    )
