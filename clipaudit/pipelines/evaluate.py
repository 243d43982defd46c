"""A folder of pictures whose membership is known → how well inferrers tell it.

One run scores both sides. The same pictures go to the blind baseline, which never sees the
encoder: what that can tell is no merit of an inferrer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit.blind.adjust import adjusted_auc
from clipaudit.blind.trial import BlindTrial, blind_trial, looked_at
from clipaudit.errors import InputError
from clipaudit.evaluation_sets.reading import read_set
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.inferrers.library import find
from clipaudit.pipelines.score import Progress, ScoreConfig, score
from clipaudit.results.audit import Audit
from clipaudit.results.evaluation import Evaluation, Histogram, SharedPicture, method_figures
from clipaudit.verdicts.by_calibration import unique_scores
from clipaudit.verdicts.by_control import different, overlaps
from clipaudit.verdicts.calibration_files import known_set

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.evaluation_sets.reading import EvaluationSet
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.audit import Row
    from clipaudit.results.evaluation import MethodFigures
    from clipaudit.statistics.metrics import BoolArray

FEWEST = 2
"""Pictures of each side without which there is no AUC."""


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How a set is evaluated.

    Attributes:
        scoring: What to score it with; its `limit` holds for each side, and where it names no
            inferrer every shipped one that fits is taken, of every shadow data set.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Leave pictures that are on both sides out of both, instead of refusing them.
    """

    scoring: ScoreConfig = ScoreConfig()
    blind: bool = True
    allow_overlap: bool = False


def evaluate(
    folder: AnyPath,
    config: EvaluateConfig = EvaluateConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evaluation:
    """Score members and non-members, and say how well each inferrer tells them apart.

    Of copies and near-duplicates on one side one counts.

    Args:
        folder: Holds `members/` and `nonmembers/`, and perhaps a manifest of
            `clipaudit build-eval`.
        config: What to score with, and how to evaluate.
        on_progress: Called after every batch, from the calling thread.

    Raises:
        ClipAuditError: As `pipelines.score.score`; the folder is no set, a side has too few
            pictures, a picture is on both sides, or a score is no finite number.
        KeyboardInterrupt: The user stopped it; nothing is left but the signals.
    """
    scoring = config.scoring
    found = read_set(folder, limit=scoring.limit, include_hidden=scoring.include_hidden)
    paths = found.sides if scoring.limit is None else found.members + found.nonmembers
    with open_store(is_wanted=scoring.use_store) as store:
        return _evaluate(found, paths, config, on_progress, store)


def _evaluate(
    found: EvaluationSet,
    paths: Sequence[str],
    config: EvaluateConfig,
    on_progress: Callable[[Progress], None],
    store: OptionalStore,
) -> Evaluation:
    scoring = config.scoring
    workers = min(8, os.cpu_count() or 1) if scoring.workers is None else scoring.workers
    known = KnownPictures(scoring.limits, workers, store, lambda image_id: config.blind)
    audit = score(
        paths,
        replace(scoring, limit=None, every_data_set=not scoring.inferrers),
        on_progress,
        known,
    )
    if audit.run.interrupted:
        raise KeyboardInterrupt
    members, nonmembers = _split(audit, found)
    for side, part in zip(found.sides, (members, nonmembers), strict=True):
        _require(part, len(part.scored), side)
    hashes = known.hashes(audit.paths_by_content())
    # Each way round: of several near-duplicates on a side all have to go.
    of_members, of_others = (
        overlaps(nonmembers, members, hashes),
        overlaps(members, nonmembers, hashes),
    )
    shared = {(one.suspect, one.control): one.kind for one in of_others.values()}
    shared |= {(one.control, one.suspect): one.kind for one in of_members.values()}
    named = tuple(SharedPicture(*both, kind) for both, kind in shared.items())
    if named and not config.allow_overlap:
        raise _on_both_sides(named)
    counted = (
        different(members, hashes, without=of_members),
        different(nonmembers, hashes, without=of_others),
    )
    for side, part, ids in zip(found.sides, (members, nonmembers), counted, strict=True):
        _require(part, len(ids), side)
    trial = _blind_trial(counted, found, scoring, known) if config.blind else None
    n_scored = sum(
        row.sha256 not in without
        for part, without in ((members, of_members), (nonmembers, of_others))
        for row in part.scored
    )
    told = {"limit": scoring.limit, "blind": config.blind, "allow_overlap": config.allow_overlap}
    return Evaluation(
        run=replace(audit.run, config={**audit.run.config, **told}),
        folder=found.folder,
        members=known_set(found.sides[0], counted[0]),
        nonmembers=known_set(found.sides[1], counted[1]),
        label=found.label,
        n_same=n_scored - len(counted[0]) - len(counted[1]),
        skipped=_skipped(members, nonmembers, found),
        shared=named,
        methods=_methods(audit, counted, trial, scoring),
        similarity=_histogram(audit, counted),
        blind=trial.report if trial else None,
        blind_missing=trial.reason if trial else "",
    )


def _split(audit: Audit, found: EvaluationSet) -> tuple[Audit, Audit]:
    """Members and non-members; a file that a link brings to both sides has a row on each."""
    rows = {row.path: row for row in audit}
    files = {os.path.realpath(row.path): row for row in audit}

    def part(paths: Sequence[str]) -> Audit:
        of_paths: list[Row] = []
        for path in paths:
            row = rows.get(path) or files.get(os.path.realpath(path))
            if row is not None:  # else it came or went while the folder was read
                of_paths.append(replace(row, path=path))
        return Audit(audit.run, tuple(of_paths))

    return part(found.members), part(found.nonmembers)


def _require(part: Audit, n_left: int, side: str) -> None:
    """That a side has pictures enough to say anything at all.

    Raises:
        InputError: It has not.
    """
    if n_left >= FEWEST:
        return
    reasons = "".join(f", {n:,} {why.replace('_', ' ')}" for why, n in part.skip_reasons().items())
    have = f"of {len(part):,} files {n_left:,} count{'s' if n_left == 1 else ''}{reasons}"
    raise InputError(
        f"{side!r} holds too few pictures to compare: {have}",
        f"It takes {FEWEST} different pictures on each side that are not on the other, and "
        "hundreds to say something with certainty. `clipaudit score` on the folder says of every "
        "file why.",
    )


def _on_both_sides(shared: tuple[SharedPicture, ...]) -> InputError:
    named = [f"{one.nonmember!r} is a {one.kind} of {one.member!r}" for one in shared[:3]]
    more = f"; and {len(shared) - 3:,} more" if len(shared) > 3 else ""
    return InputError(
        f"members and non-members share pictures: {'; '.join(named)}{more}",
        "No picture can be both. Take these out of the side where they do not belong, or pass "
        "--allow-overlap to count them on neither; what was computed is kept.",
    )


def _blind_trial(
    counted: tuple[Mapping[str, str], Mapping[str, str]],
    found: EvaluationSet,
    scoring: ScoreConfig,
    known: KnownPictures,
) -> BlindTrial:
    families = {
        one: found.families[path]
        for side in counted
        for one, path in side.items()
        if path in found.families
    }
    between = ("members", "non-members")
    paths = {image_id: side[image_id] for side in counted for image_id in looked_at(side)}
    return blind_trial(*counted, known.appearances(paths), scoring.seed, between, families)


def _skipped(members: Audit, nonmembers: Audit, found: EvaluationSet) -> dict[str, int]:
    reasons = members.skip_reasons()
    for why, n in nonmembers.skip_reasons().items():
        reasons[why] = reasons.get(why, 0) + n
    missing = {"named in the manifest, but not there": found.n_missing} if found.n_missing else {}
    return reasons | missing


def _truth(counted: tuple[Mapping[str, str], Mapping[str, str]]) -> tuple[list[str], BoolArray]:
    members, nonmembers = counted
    return [*members, *nonmembers], np.arange(len(members) + len(nonmembers)) < len(members)


def _methods(
    audit: Audit,
    counted: tuple[Mapping[str, str], Mapping[str, str]],
    trial: BlindTrial | None,
    scoring: ScoreConfig,
) -> tuple[MethodFigures, ...]:
    ids, is_member = _truth(counted)
    run = audit.run
    names = tuple(dict.fromkeys(scoring.inferrers)) or tuple(one.name for one in run.inferrers)
    methods = []
    for name, facts in zip(names, run.inferrers, strict=True):
        scores = unique_scores(audit, facts.name)
        method = method_figures(
            facts,
            find(name).card.shadow.data,
            np.array([scores[one] for one in ids]),
            is_member,
            run.seed,
        )
        if trial is not None and trial.report is not None:
            on_the_same = np.array([scores[one] for one in trial.image_ids])
            left = adjusted_auc(on_the_same, trial.report.scores, trial.is_first)
            method = replace(method, adjusted=left)
        methods.append(method)
    return tuple(methods)


def _histogram(audit: Audit, counted: tuple[Mapping[str, str], Mapping[str, str]]) -> Histogram:
    ids, is_member = _truth(counted)
    means: dict[str | None, Any] = {row.sha256: row.mean_similarity for row in audit.scored}
    return Histogram.of(np.array([means[one] for one in ids], dtype=np.float64), is_member)
