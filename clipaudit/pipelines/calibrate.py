"""Pictures whose membership is known → calibrations, one an inferrer, kept for later runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from clipaudit._version import __version__
from clipaudit.errors import InputError
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.pipelines.score import Progress, ScoreConfig, score
from clipaudit.statistics.calibration import Calibration, KnownScores
from clipaudit.verdicts import calibration_files as calibration_store
from clipaudit.verdicts.by_calibration import scored_by, unique_scores
from clipaudit.verdicts.by_control import different, overlaps
from clipaudit.verdicts.calibration_files import KeptCalibration, known_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.audit import Audit


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a run of `calibrate` made.

    Attributes:
        kept: A calibration an inferrer, in the order of the inferrers.
        files: Where each one is kept.
        nonmembers: Their scores, with every file that was skipped and why.
        members: The same of the known members, where there are some.
        n_same: Files that were passed over, being copies or near-duplicates of others.
    """

    kept: tuple[KeptCalibration, ...]
    files: tuple[Path, ...]
    nonmembers: Audit
    members: Audit | None
    n_same: int


def calibrate(
    nonmembers: Sequence[AnyPath],
    members: Sequence[AnyPath] = (),
    config: ScoreConfig = ScoreConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Calibrated:
    """Score pictures whose membership is known, and keep the scores as calibrations.

    Of copies and near-duplicates one counts. A calibration takes the place of an earlier one for
    the same encoder, inferrer, recipe, views, similarity and references.

    Args:
        nonmembers: Files and folders of pictures that the encoder was not trained on.
        members: The same of pictures that it was trained on; they show how often it misses one.
        config: What to score with.
        on_progress: As in `pipelines.score.score`; starts anew for the members.

    Raises:
        ClipAuditError: As `pipelines.score.score`; none of the non-members could be scored, or
            none of the members; a picture is among both; a score is no finite number.
        FileError: A calibration cannot be written.
        KeyboardInterrupt: The user stopped it; nothing was kept but the signals.
    """
    workers = min(8, os.cpu_count() or 1) if config.workers is None else config.workers
    with open_store(is_wanted=config.use_store) as store:
        known = KnownPictures(config.limits, workers, store)
        of_nonmembers = _score(nonmembers, "non-members", config, on_progress, known)
        of_members = _score(members, "members", config, on_progress, known) if members else None
        audits = [audit for audit in (of_nonmembers, of_members) if audit]
        paths: dict[str, str] = {}
        for audit in audits:
            paths |= audit.paths_by_content()
        hashes = known.hashes(paths)
    if of_members:
        both = overlaps(of_members, of_nonmembers, hashes)
        if both:
            first = next(iter(both.values()))
            raise InputError(
                f"{len(both):,} {'picture is' if len(both) == 1 else 'pictures are'} both a known "
                f"member and a known non-member: {first.control!r} is a {first.kind} of "
                f"{first.suspect!r}",
                "Take such pictures out of one of the two sets.",
            )
    null_ids = [*different(of_nonmembers, hashes, without={})]
    member_ids = [*different(of_members, hashes, without={})] if of_members else []
    used = {*null_ids, *member_ids}
    kept = []
    for inferrer in of_nonmembers.run.inferrers:
        null = _known(of_nonmembers, inferrer.name, null_ids)
        known_members = _known(of_members, inferrer.name, member_ids) if of_members else None
        kept.append(
            KeptCalibration(
                Calibration(
                    scored_by(of_nonmembers.run, inferrer), config.seed, null, known_members
                ),
                encoder=str(of_nonmembers.run.encoder["spec"]),
                nonmembers=known_set(_names(nonmembers), null_ids),
                members=known_set(_names(members), member_ids) if of_members else None,
                hashes={one: code for one, code in hashes.items() if one in used},
                created=datetime.now(UTC).date().isoformat(),
                clipaudit_version=__version__,
            )
        )
    return Calibrated(
        kept=tuple(kept),
        files=tuple(calibration_store.keep(one) for one in kept),
        nonmembers=of_nonmembers,
        members=of_members,
        n_same=sum(len(one.scored) for one in audits) - len(used),
    )


def _score(
    paths: Sequence[AnyPath],
    kind: str,
    config: ScoreConfig,
    on_progress: Callable[[Progress], None],
    known: KnownPictures,
) -> Audit:
    audit = score(paths, config, on_progress, known)
    if audit.run.interrupted:
        raise KeyboardInterrupt
    if not audit.scored:
        reasons = ", ".join(f"{n:,} {why}" for why, n in audit.skip_reasons().items())
        raise InputError(
            f"none of the {kind} could be scored: {reasons}",
            "Name a folder of pictures; `clipaudit score` on it says of every file why.",
        )
    return audit


def _known(audit: Audit, inferrer: str, image_ids: Sequence[str]) -> KnownScores:
    scores = unique_scores(audit, inferrer)
    return KnownScores.of(image_ids, np.array([scores[one] for one in image_ids]))


def _names(paths: Sequence[AnyPath]) -> str:
    names = [os.fsdecode(path) for path in paths]
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    # Bytes of a name that are no text do not go into JSON as they are, nor to a screen.
    return (", ".join(names[:3]) + more).encode("utf-8", "backslashreplace").decode()
