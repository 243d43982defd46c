"""Paths → an `Audit` with verdicts: scores, calibrations that fit, and a control if one is named.

`pipelines.score` does the work; what follows takes a moment, since each picture's hash and what the
blind check looks at were taken down as it was decoded.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from clipaudit.blind.captions import caption_check
from clipaudit.blind.trial import MOST_OF_EACH, blind_check, looked_at
from clipaudit.captions.choosing import open_captions
from clipaudit.errors import InputError, UsageError
from clipaudit.features.known_pictures import FirstByHash, KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.pictures.addresses import require_online, without_secrets
from clipaudit.pictures.finding import find_images
from clipaudit.pipelines.config import JudgeConfig, ScoreConfig
from clipaudit.pipelines.score import Progress, StoppedError, score
from clipaudit.verdicts.by_calibration import fits, judge, require_numbers, require_use
from clipaudit.verdicts.by_control import against_control
from clipaudit.verdicts.calibration_files import load, read_calibrations
from clipaudit.verdicts.looks import count_look
from clipaudit.verdicts.series import find_series
from clipaudit.verdicts.shared_pictures import (
    different,
    require_apart,
    scored_paths,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.pictures.base import AnyPath, Frame
    from clipaudit.pictures.preparing import Appearance
    from clipaudit.reports.page.thumbnails import Gallery
    from clipaudit.results.audit import Audit
    from clipaudit.verdicts.calibration_files import CalibrationFile
    from clipaudit.verdicts.series import By
    from clipaudit.verdicts.shared_pictures import Pair


def audit(
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    how: JudgeConfig = JudgeConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    gallery: Gallery | None = None,
) -> Audit:
    """Score every picture under the given paths, and judge them as far as that can be done.

    The control is scored after the suspects, with `on_progress` starting anew. Where the user
    stops the run, there are the rows that are done, and no comparison.

    Args:
        paths: Files and folders of the suspects.
        config: What to score with.
        how: How to judge.
        on_progress: Called after every batch, in the calling thread.
        gallery: Keeps suspects that a report will show, so that it need not decode them again.

    Raises:
        ClipAuditError: As `pipelines.score.score`; a calibration that was named is missing,
            broken or does not fit; the control holds no picture, or overlaps with the suspects.
    """
    paths = list(paths)
    named = None if how.calibrations is None else [load(path) for path in how.calibrations]
    if how.control:
        if config.shard:
            raise UsageError(
                "--shard and --control exclude each other: a verdict on all suspects as a set "
                "needs all of them",
                "Score the shards without --control; then score all with it on a machine that has "
                "their features in its store.",
            )
        _require_files(how.control, config)
    with open_store(is_wanted=config.use_store) as store:
        return _audit(paths, config, how, named, on_progress, gallery, store)


def _audit(
    paths: Sequence[AnyPath],
    config: ScoreConfig,
    how: JudgeConfig,
    named: Sequence[CalibrationFile] | None,
    on_progress: Callable[[Progress], None],
    gallery: Gallery | None,
    store: OptionalStore,
) -> Audit:
    calibrations = read_calibrations() if named is None else named
    is_looked_at = bool(how.control) or any(file.encoder == config.encoder for file in calibrations)
    also = (gallery.frame,) if gallery else ()
    known = _known_pictures(config, store, also, is_looked_at, keeps_captions=is_looked_at)
    on_decoded = gallery.offer if gallery else lambda row, picture: None
    suspects = score(paths, config, on_progress, known, on_decoded)
    for row in suspects:
        require_numbers(row)
    if named is not None:
        require_use(suspects.run, named)
    fitting = fits(suspects.run, calibrations)
    audited = suspects
    try:
        hashes: dict[str, int] = {}
        appearances: dict[str, Appearance] = {}
        if fitting.by_inferrer or how.control:
            hashes = known.hashes(scored_paths(suspects))
        if fitting.by_inferrer:
            pictures = different(scored_paths(suspects), hashes)
            appearances = known.appearances({key: pictures[key] for key in looked_at(pictures)})
        texts = {key: known.captions[key] for key in appearances if key in known.captions}
        audited = judge(suspects, fitting, how.levels, hashes, appearances, texts)
        if how.control and audited.scored and not audited.run.interrupted:
            return _with_control(audited, paths, hashes, known, config, how, on_progress)
    except KeyboardInterrupt:
        return replace(audited, run=replace(audited.run, interrupted=True))
    return audited


def _with_control(
    suspects: Audit,
    paths: Sequence[AnyPath],
    hashes: dict[str, int],
    known: KnownPictures,
    config: ScoreConfig,
    how: JudgeConfig,
    on_progress: Callable[[Progress], None],
) -> Audit:
    known_control = _known_pictures(config, known.store, keeps_captions=True)
    same = suspects.run
    config = replace(
        config,
        recipe=same.recipe,
        inferrers=config.inferrers or tuple(facts.name for facts in same.inferrers),
        methods=(),
        shadow=None,
        references=tuple(reference.spec for reference in same.references),
    )
    is_auto = config.captions == "auto"  # what is named is there, or is an error
    if same.captions and is_auto and open_captions(config.captions, how.control) is None:
        raise InputError(
            "the suspects were scored with their captions, and the control has none",
            "Give the control captions of the same kind, or pass --captions none to go by the "
            "pictures alone; what was computed is kept.",
        )
    control = _score_beside(suspects, how.control, config, known_control, on_progress)
    if control.run.interrupted:
        return replace(suspects, run=replace(suspects.run, interrupted=True))
    hashes = {**hashes, **known_control.hashes(scored_paths(control))}
    pair = split(scored_paths(suspects), scored_paths(control), hashes)
    if not how.allow_overlap:
        require_apart(
            pair,
            "the control overlaps with the suspects",
            "A control must hold other pictures, which cannot have been in the training set. Take "
            "these out, or pass --allow-overlap to leave them out of the control; what was "
            "computed is kept.",
        )
    appearances = {
        **known.appearances({key: pair.first[key] for key in looked_at(pair.first)}),
        **known_control.appearances({key: pair.second[key] for key in looked_at(pair.second)}),
    }
    captions = {**known.captions, **known_control.captions}
    by_seed = ([suspects], [control])
    for number in range(1, how.n_seeds):
        again = replace(config, seed=config.seed + number)
        for audits, named, facts in zip(
            by_seed, (paths, how.control), (known, known_control), strict=True
        ):
            audits.append(_score_beside(suspects, named, again, facts, on_progress))
            if audits[-1].run.interrupted:
                return replace(suspects, run=replace(suspects.run, interrupted=True))
    comparison = against_control(
        *by_seed,
        pair,
        blind_check(pair.first, pair.second, appearances, config.seed),
        (_texts(paths), _texts(how.control)),
        how.alpha,
        caption_check(pair.first, pair.second, captions, config.seed) if captions else None,
        _series(pair, hashes, how.series),
        _count_look(suspects, pair, how) if config.use_store else None,
    )
    seconds = sum(audit.run.seconds for audits in by_seed for audit in audits)
    run = replace(suspects.run, seconds=seconds)
    return replace(suspects, run=run, comparison=comparison)


def _score_beside(
    suspects: Audit,
    paths: Sequence[AnyPath],
    config: ScoreConfig,
    known: KnownPictures,
    on_progress: Callable[[Progress], None],
) -> Audit:
    """Scores of more pictures; where the encoder fails, the error has the suspects' rows."""
    try:
        return score(paths, config, on_progress, known)
    except StoppedError as stop:
        stop.audit = replace(suspects, run=replace(suspects.run, interrupted=True))
        raise


def _series(pair: Pair, hashes: Mapping[str, int], by: By) -> dict[str, str] | None:
    """Series of either side; a series is never of both."""
    found = [find_series(side, hashes, by) for side in (pair.first, pair.second)]
    return None if found == [None, None] else {**(found[0] or {}), **(found[1] or {})}


def _count_look(suspects: Audit, pair: Pair, how: JudgeConfig) -> int | None:
    run = suspects.run
    way = (
        *(info.fingerprint for _, info in run.named_encoders),
        *((inferrer.name, inferrer.sha256) for inferrer in run.inferrers[:1]),
        *(run.recipe, run.n_views, run.similarity, run.seed, how.n_seeds),
        *(sorted(pair.second), how.series),
    )
    return count_look(scored_paths(suspects), way)


def _require_files(control: Sequence[AnyPath], config: ScoreConfig) -> None:
    """Say now, and not after hours of work, that a control is not there."""
    require_online(control, offline=config.offline)
    found = find_images(
        control,
        include_hidden=config.include_hidden,
        follow_links=config.follow_links,
        within=control,
    )
    problems = [file.problem for file in islice(found, 1000)]
    if all(problems):
        why = f": {problems[0]}" if problems else ""
        raise InputError(
            f"the control {', '.join(map(repr, _texts(control)))} holds no picture{why}",
            "Name a folder of pictures like the suspects that cannot have been in the training "
            "set.",
        )


def _known_pictures(
    config: ScoreConfig,
    store: OptionalStore,
    also: Sequence[Frame] = (),
    is_looked_at: bool = True,
    *,
    keeps_captions: bool,
) -> KnownPictures:
    needs_appearance = FirstByHash(MOST_OF_EACH) if is_looked_at else lambda image_id: False
    return KnownPictures(
        config.limits, config.n_workers, store, needs_appearance, also, keeps_captions
    )


def _texts(paths: Sequence[AnyPath]) -> list[str]:
    return [without_secrets(os.fsdecode(path)) for path in paths]
