"""Paths → an `Audit` with verdicts: scores, calibrations that fit, and a control if one is named.

`pipelines.score` does the work; what follows takes a moment, since each picture's hash and what the
blind check looks at were taken down as it was decoded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.blind.trial import MOST_OF_EACH, blind_check, looked_at
from clipaudit.errors import InputError, UsageError
from clipaudit.features.known_pictures import FirstByHash, KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.pictures.finding import find_images
from clipaudit.pipelines.score import Progress, ScoreConfig, score
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts.by_calibration import fits, judge, require_use, unique_scores
from clipaudit.verdicts.by_control import ALPHA, against_control, different, overlaps, require_apart
from clipaudit.verdicts.calibration_files import kept_calibrations, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.audit import Audit
    from clipaudit.verdicts.calibration_files import KeptCalibration

_LEVELS = Levels()


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """How scores become verdicts.

    Attributes:
        fpr: Share of the non-members that may be called members.
        fnr: Share of the members that may be called non-members.
        fdr: Share of non-members, on average, among the pictures that are picked out of all.
        calibrations: Files of calibrations; None takes those that are kept and fit.
        control: Files and folders of the same kind that cannot have been in the training set.
        allow_overlap: Leave pictures out of the control that are among the suspects, where they
            are an error otherwise.
        alpha: Level of the test against the control.
    """

    fpr: float = _LEVELS.fpr
    fnr: float = _LEVELS.fnr
    fdr: float = _LEVELS.fdr
    calibrations: tuple[Path, ...] | None = None
    control: tuple[AnyPath, ...] = ()
    allow_overlap: bool = False
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        for name, most in (("fpr", 1), ("fnr", 1), ("fdr", 1), ("alpha", 0.5)):
            value = getattr(self, name)
            if not 0 < value < most:
                raise UsageError(
                    f"--{name} {value} is no rate", f"Pass one above 0 and below {most:g}."
                )

    @property
    def levels(self) -> Levels:
        """How often verdicts may be wrong."""
        return Levels(self.fpr, self.fnr, self.fdr)


def audit(
    paths: Sequence[AnyPath],
    config: ScoreConfig = ScoreConfig(),
    how: JudgeConfig = JudgeConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Score every picture under the given paths, and judge them as far as that can be done.

    The control is scored after the suspects, with `on_progress` starting anew. Where the user
    stops the run, there are the rows that are done, and no comparison.

    Raises:
        ClipAuditError: As `pipelines.score.score`; a calibration that was named is missing,
            broken or does not fit; the control holds no picture, or overlaps with the suspects.
    """
    paths = list(paths)
    named = None if how.calibrations is None else [load(path) for path in how.calibrations]
    if how.control:
        _require_files(how.control, config)
    with open_store(is_wanted=config.use_store) as store:
        return _audit(paths, config, how, named, on_progress, store)


def _audit(
    paths: Sequence[AnyPath],
    config: ScoreConfig,
    how: JudgeConfig,
    named: Sequence[KeptCalibration] | None,
    on_progress: Callable[[Progress], None],
    store: OptionalStore,
) -> Audit:
    known = _known_pictures(config, how, store)
    suspects = score(paths, config, on_progress, known)
    for inferrer in suspects.run.inferrers:
        unique_scores(suspects, inferrer.name)  # a score that is no number ends the run here
    if named is not None:
        require_use(suspects.run, named)
    fitting = fits(suspects.run, kept_calibrations() if named is None else named)
    judged = suspects
    try:
        hashes: dict[str, int] = {}
        if fitting.by_inferrer or how.control:
            hashes = known.hashes(suspects.paths_by_content())
        judged = judge(suspects, fitting, how.levels, hashes)
        if how.control and judged.scored and not judged.run.interrupted:
            return _with_control(judged, paths, hashes, known, config, how, on_progress)
    except KeyboardInterrupt:
        return replace(judged, run=replace(judged.run, interrupted=True))
    return judged


def _with_control(
    suspects: Audit,
    paths: Sequence[AnyPath],
    hashes: dict[str, int],
    known: KnownPictures,
    config: ScoreConfig,
    how: JudgeConfig,
    on_progress: Callable[[Progress], None],
) -> Audit:
    known_control = _known_pictures(config, how, known.store)
    control = score(how.control, config, on_progress, known_control)
    if control.run.interrupted:
        return replace(suspects, run=replace(suspects.run, interrupted=True))
    hashes = {**hashes, **known_control.hashes(control.paths_by_content())}
    both = overlaps(suspects, control, hashes)
    if not how.allow_overlap:
        require_apart(both)
    ours = different(suspects, hashes, without={})
    theirs = different(control, hashes, without=both)
    appearances = known.appearances({image_id: ours[image_id] for image_id in looked_at(ours)})
    appearances |= known_control.appearances(
        {image_id: theirs[image_id] for image_id in looked_at(theirs)}
    )
    blind = blind_check(ours, theirs, appearances, config.seed)
    comparison = against_control(
        suspects,
        control,
        hashes,
        blind,
        (_texts(paths), _texts(how.control)),
        how.alpha,
    )
    seconds = suspects.run.seconds + control.run.seconds
    return replace(suspects, run=replace(suspects.run, comparison=comparison, seconds=seconds))


def _require_files(control: Sequence[AnyPath], config: ScoreConfig) -> None:
    """Say now, and not after hours of work, that a control is not there."""
    found = find_images(control, include_hidden=config.include_hidden)
    problems = [one.problem for one in islice(found, 1000)]
    if all(problems):
        why = f": {problems[0]}" if problems else ""
        raise InputError(
            f"the control {', '.join(map(repr, _texts(control)))} holds no picture{why}",
            "Name a folder of pictures like the suspects that cannot have been in the training "
            "set.",
        )


def _known_pictures(config: ScoreConfig, how: JudgeConfig, store: OptionalStore) -> KnownPictures:
    workers = min(8, os.cpu_count() or 1) if config.workers is None else config.workers
    if not how.control:
        return KnownPictures(config.limits, workers, store)
    return KnownPictures(config.limits, workers, store, FirstByHash(MOST_OF_EACH))


def _texts(paths: Sequence[AnyPath]) -> list[str]:
    return [os.fsdecode(path) for path in paths]
