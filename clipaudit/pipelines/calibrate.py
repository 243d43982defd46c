"""Pictures whose membership is known → calibrations, one an inferrer, stored for later runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from clipaudit._version import __version__
from clipaudit.blind.trial import MOST_OF_EACH, looked_at
from clipaudit.errors import InputError
from clipaudit.features.known_pictures import FirstByHash, KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.pictures.addresses import without_secrets
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import Progress, score
from clipaudit.statistics.calibration import Calibration, KnownScores
from clipaudit.verdicts import calibration_files
from clipaudit.verdicts.by_calibration import scored_by, unique_scores
from clipaudit.verdicts.calibration_files import (
    CalibrationFile,
    known_set,
    pack_appearances,
    pack_styles,
)
from clipaudit.verdicts.shared_pictures import require_apart, scored_paths, split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.audit import Audit


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a run of `calibrate` made.

    Attributes:
        calibrations: A calibration an inferrer, in the order of the inferrers.
        files: Where each is stored.
        nonmembers: Scores of the non-members, with every file that was skipped and why.
        members: The same of the known members, where there are some.
        n_same: Files that were passed over, being copies or near-duplicates of others.
    """

    calibrations: tuple[CalibrationFile, ...]
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
    """Score pictures whose membership is known, and store the scores as calibrations.

    Copies and near-duplicates count once. A calibration takes the place of an earlier one for
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
        KeyboardInterrupt: The user stopped it; nothing was stored but the signals.
    """
    with open_store(is_wanted=config.use_store) as store:
        known = KnownPictures(config.limits, config.n_workers, store)
        looked_at_all = FirstByHash(MOST_OF_EACH)
        known_null = KnownPictures(
            config.limits, config.n_workers, store, looked_at_all, keeps_captions=True
        )
        null_audit = _score(nonmembers, "non-members", config, on_progress, known_null)
        member_audit = _score(members, "members", config, on_progress, known) if members else None
        rows = [*null_audit, *(member_audit or ())]
        hashes = known_null.hashes(scored_paths(null_audit))
        hashes |= known.hashes(scored_paths(member_audit or ()))
        pair = split(scored_paths(member_audit or ()), scored_paths(null_audit), hashes)
        n_shared = len(pair.shared)
        require_apart(
            pair,
            f"{n_shared:,} {'picture is' if n_shared == 1 else 'pictures are'} both a known "
            "member and a known non-member",
            "Take such pictures out of one of the two sets.",
        )
        seen = {image_id: pair.second[image_id] for image_id in looked_at(pair.second)}
        looks = pack_appearances(known_null.appearances(seen))
        captions = known_null.captions
        styles = pack_styles({key: captions[key] for key in seen if key in captions})
    used = {*pair.first, *pair.second}
    calibrations = [
        CalibrationFile(
            Calibration(
                scored_by(null_audit.run, inferrer),
                config.seed,
                _known_scores(null_audit, inferrer.name, pair.second, "non-members"),
                _known_scores(member_audit, inferrer.name, pair.first, "members")
                if member_audit
                else None,
            ),
            encoder=null_audit.run.encoder.spec,
            nonmembers=known_set(_names(nonmembers), pair.second),
            members=known_set(_names(members), pair.first) if member_audit else None,
            hashes={image_id: code for image_id, code in hashes.items() if image_id in used},
            looks=_looks_of(looks, null_audit, inferrer.name),
            created=datetime.now(UTC).date().isoformat(),
            clipaudit_version=__version__,
            caption_styles=_looks_of(styles, null_audit, inferrer.name)
            if inferrer.reads_captions
            else {},
        )
        for inferrer in null_audit.run.inferrers
    ]
    return Calibrated(
        calibrations=tuple(calibrations),
        files=tuple(calibration_files.save(calibration) for calibration in calibrations),
        nonmembers=null_audit,
        members=member_audit,
        n_same=sum(row.status == "ok" for row in rows) - len(used),
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


def _known_scores(
    audit: Audit, inferrer: str, image_ids: Collection[str], kind: str
) -> KnownScores:
    """Scores of those of the pictures that have one: where captions are read, some may not."""
    scores = unique_scores(audit, inferrer)
    scored = [image_id for image_id in image_ids if image_id in scores]
    if not scored:
        raise InputError(
            f"none of the {kind} has a score by {inferrer}, because none has a caption",
            "Give them captions as the pictures have that are to be judged, or pass --captions "
            "none to go by the pictures alone.",
        )
    return KnownScores.of(scored, np.array([scores[image_id] for image_id in scored]))


def _looks_of(looks: dict[str, str], audit: Audit, inferrer: str) -> dict[str, str]:
    """What is known of those non-members that the inferrer gave a score."""
    scored = unique_scores(audit, inferrer)
    return {image_id: look for image_id, look in looks.items() if image_id in scored}


def _names(paths: Sequence[AnyPath]) -> str:
    names = [without_secrets(os.fsdecode(path)) for path in paths]
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    # Bytes of a name that are no text do not go into JSON as they are, nor to a screen.
    return (", ".join(names[:3]) + more).encode("utf-8", "backslashreplace").decode()
