"""Keywords, or a published list → an evaluation set in a folder.

A build that was stopped goes on with the same command: answers of the source and pictures that
came are kept as they come, and the set itself is written when all of them are there.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from clipaudit_crawlers.base import SourceFacts
from clipaudit_crawlers.fetch import REASONS, Web
from clipaudit_crawlers.web.config import WebConfig
from PIL import Image

from clipaudit._version import __version__
from clipaudit.errors import SourceError
from clipaudit.evaluation_sets.card import Making, attribution, data_card
from clipaudit.evaluation_sets.collecting import Collector, Step, Tally, all_dropped
from clipaudit.evaluation_sets.downloading import DECODING, Downloader
from clipaudit.evaluation_sets.drawing import Drawn, draw_and_pair, draw_matched
from clipaudit.evaluation_sets.folder import SetFolder, picture_name
from clipaudit.evaluation_sets.joining import join
from clipaudit.evaluation_sets.manifest import (
    JSON_LINES,
    PARQUET,
    Label,
    Manifest,
    Origin,
    Row,
    read_manifest,
)
from clipaudit.evaluation_sets.sources import source_names, source_type
from clipaudit.evaluation_sets.sourcing import Sourcing, from_lists, from_source
from clipaudit.pictures.base import Frame, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.hashing import perceptual_hash
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from clipaudit.evaluation_sets.collecting import Picture
    from clipaudit.evaluation_sets.request import BuildConfig

HOME = "https://pypi.org/project/clipaudit"

_MEANINGS = {
    "duplicate": "the very same file came under another keyword or address",
    "near-duplicate": "the same to the eye as a picture that is in the set",
    "changed": "its bytes are not those that the list was made from",
    "taken-before-cutoff": "made before the cut-off, though put online after it",
    "date-unknown": "nothing says when it was made",
    **REASONS,
    **DECODING,
}
"""Why a picture was left out → what that means."""


def meaning_of(reason: str) -> str:
    """What it means that a picture was left out for a reason, for people.

    >>> meaning_of("truncated")
    'its file ends too early: it was cut off while it was copied or sent'
    """
    unknown = "its host answers with a number that HTTP does not know; may work later"
    return _MEANINGS.get(reason, unknown if reason.startswith("http-") else "for an unknown reason")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will take, as far as it can be known before asking anybody.

    Attributes:
        facts: Facts of the source.
        n_pictures: Downloads, if every one works.
        n_requests: Searches, if every result can be used.
        n_bytes: An estimate, from the source's typical picture.
        minutes: That the source's limit a minute makes of the requests.
        days: That its limit a day makes of them.
        missing_keys: Variables of the environment that have to be set first.
        short_by: Pictures that a keyword falls short of at least, since the source gives no more.
    """

    facts: SourceFacts
    n_pictures: int
    n_requests: int
    n_bytes: int
    minutes: float
    days: int
    missing_keys: tuple[str, ...]
    short_by: int


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A finished set.

    Attributes:
        folder: Where it is.
        manifest: Its rows.
        tallies: How each keyword went; empty where the set was there already.
        n_unused: Pictures that came and were left over.
        n_bytes: Size of all pictures that the set is made from.
    """

    folder: Path
    manifest: Manifest
    tallies: tuple[Tally, ...] = ()
    n_unused: int = 0
    n_bytes: int = 0


def plan(config: BuildConfig, environ: Mapping[str, str] = os.environ) -> Plan:
    """What a build will take; asks nobody, and writes nothing.

    Raises:
        UsageError: No such source.
    """
    facts = _facts(config, environ)
    searches = 2 if config.nonmembers == "after-cutoff" else 1
    wanted = config.per_keyword * (1 + config.n_parents) if config.keywords else 0
    possible = min(wanted, facts.most_per_keyword or wanted)
    n_searches = len(config.keywords) * searches
    n_requests = n_searches * math.ceil(possible / facts.page_size) + facts.extra_requests
    if facts.is_local:
        n_requests = 0
    n_pictures = n_searches * possible
    if config.from_metadata:
        n_pictures = config.count * (1 + (config.n_parents or bool(config.nonmembers_from)))
    per_minute, per_day = facts.requests_per_minute, facts.requests_per_day
    return Plan(
        facts=facts,
        n_pictures=n_pictures,
        n_requests=n_requests,
        n_bytes=n_pictures * facts.typical_bytes,
        minutes=n_requests / per_minute if per_minute else 0,
        days=math.ceil(n_requests / per_day) if per_day else 1,
        missing_keys=tuple(key for key in facts.keys if not environ.get(key)),
        short_by=wanted - possible,
    )


def build(
    config: BuildConfig,
    environ: Mapping[str, str] = os.environ,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Built:
    """Build a set, or go on with one.

    Args:
        config: What set.
        environ: Where keys are, and the addresses of mirrors.
        on_step: Called after every picture, from the calling thread.

    Raises:
        UsageError: No such source.
        InputError: The folder holds another set or other files; a list cannot be used.
        SourceError: A key is missing, the source refuses or asks to wait (`DeferredError`), the
            network is gone, or nothing was found at all.
        FileError: The disk is full, or the system says no for another reason.
    """
    folder = SetFolder(config.output)
    with ExitStack() as stack:
        stack.enter_context(folder.opened(config.identity()))
        was_finished = folder.is_finished
        if was_finished and not config.retry_failed:
            return Built(config.output, read_manifest(config.output))
        executor = ThreadPoolExecutor(config.jobs, thread_name_prefix="download")
        stack.callback(executor.shutdown)  # last of all: nobody writes once this is left
        web = stack.enter_context(_web(config, environ, folder))
        limits = Limits(max_file_bytes=web.config.most_image_bytes)
        pool = stack.enter_context(DecoderPool(min(2, os.cpu_count() or 1), limits))
        sourcing = from_lists(config) if config.from_metadata else from_source(config, web, environ)
        download = Downloader(
            folder=folder,
            web=web,
            pool=pool,
            limits=limits,
            ask_robots=sourcing.ask_robots,
            retry_transient=not config.offline,
        )
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        collector = Collector(executor, download, 2 * config.jobs, config.max_bytes, on_step)
        tallies = collector.collect(sourcing.wants)
        drawn = _draw(config, tallies)
        if not drawn.members:
            raise SourceError(_nothing_found(sourcing, tallies), sourcing.if_nothing)
        rows = _write_pictures(config, folder, pool, sourcing, drawn)
        manifest = Manifest(rows, config.identity(), config.seed, __version__)
        making = Making(
            command=config.command,
            source_title=sourcing.title,
            notice=sourcing.notice,
            tallies=tallies,
            n_unused=drawn.n_unused,
            advice={found.reason: meaning_of(found.reason) for found in all_dropped(tallies)},
            confounds=sourcing.confounds,
        )
        folder.write("README.md", data_card(manifest, making).encode())
        folder.write("ATTRIBUTION.md", attribution(manifest).encode())
        folder.write(JSON_LINES, manifest.write_json_lines())
        folder.write(PARQUET, manifest.write_parquet())
        n_bytes = sum(picture.file.n_bytes for tally in tallies for picture in tally.pictures)
        return Built(config.output, manifest, tuple(tallies), drawn.n_unused, n_bytes)


def _facts(config: BuildConfig, environ: Mapping[str, str]) -> SourceFacts:
    if config.from_metadata:
        return SourceFacts(title="a published list", page_size=1_000_000, is_local=True)
    name, _, _ = config.source.partition(":")
    return source_type(name).facts(environ)


def _web(config: BuildConfig, environ: Mapping[str, str], folder: SetFolder) -> Web:
    contact = environ.get("CLIPAUDIT_CONTACT", "").strip()
    settings = WebConfig(
        user_agent=f"clipaudit/{__version__} (membership inference audits; {contact or HOME})",
        offline=config.offline,
        allow_private=config.allow_private,
        honour_opt_outs=config.honour_opt_outs,
    )
    keys = {key for name in source_names() for key in source_type(name).facts(environ).keys}
    return Web(settings, folder.pages, [environ[key] for key in keys if environ.get(key)])


def _draw(config: BuildConfig, tallies: Sequence[Tally]) -> Drawn:
    found: dict[str, dict[str, list[Picture]]] = {"crawled": {}, "member": {}, "non-member": {}}
    for tally in tallies:
        found[tally.role].setdefault(tally.keyword, []).extend(tally.pictures)
    if found["non-member"]:
        return draw_matched(found["member"], found["non-member"], config.seed)
    wanted = config.per_keyword if config.keywords else config.count
    return draw_and_pair(
        {**found["member"], **found["crawled"]}, wanted, config.n_parents, config.seed
    )


def _write_pictures(
    config: BuildConfig, folder: SetFolder, pool: DecoderPool, sourcing: Sourcing, drawn: Drawn
) -> tuple[Row, ...]:
    """The pictures of the set, written and described; by path."""
    folder.unfinish()
    rows: list[Row] = []
    frame = Frame(config.size_px, "bicubic")

    def pixels(picture: Picture) -> npt.NDArray[np.uint8]:
        prepared = pool.submit(folder.original(picture.file), Wanted((frame,))).result()
        return prepared.images[frame]

    def add(
        image: npt.NDArray[np.uint8], side: str, label: Label, reason: str, **facts: Any
    ) -> None:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG", compress_level=1)  # four times as fast as 6
        sha256 = content_id(file.getvalue())
        path = f"{side}/{picture_name(file.getvalue())}"
        folder.write(path, file.getvalue())
        phash = f"{perceptual_hash(image):016x}"
        rows.append(Row(path=path, sha256=sha256, phash=phash, label=label, reason=reason, **facts))

    for picture in drawn.members:
        add(pixels(picture), "members", *sourcing.member(picture), origin=Origin.of(picture))
    for picture in drawn.nonmembers:
        add(
            pixels(picture),
            "nonmembers",
            "non-member",
            sourcing.nonmember,
            origin=Origin.of(picture),
        )
    for group in drawn.groups:
        image = join(np.stack([pixels(parent) for parent in group]), config.layout)
        add(
            image,
            "nonmembers",
            "non-member",
            f"joined from {len(group)} pictures for this set, so no training set can hold it",
            parents=tuple(map(Origin.of, group)),
            layout=config.layout,
        )
    for side in ("members", "nonmembers"):
        folder.keep_only(side, {Path(row.path).name for row in rows if row.path.startswith(side)})
    return tuple(sorted(rows, key=lambda row: row.path))


def _nothing_found(sourcing: Sourcing, tallies: Sequence[Tally]) -> str:
    why = ", ".join(f"{found.count} {found.reason}" for found in all_dropped(tallies)[:3])
    return f"{sourcing.title} gave no usable picture" + (f" ({why})" if why else "")
