"""Pictures whose membership is known → how well inferrers tell it.

One run scores both sides. The same pictures go to the blind baseline, which never sees the
encoder: what that can tell is no merit of an inferrer.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit.blind.adjust import adjusted_auc
from clipaudit.blind.captions import caption_trial
from clipaudit.blind.trial import BlindTrial, blind_trial, looked_at
from clipaudit.errors import InputError
from clipaudit.evaluation_sets.reading import Sides, read_set
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.inferrers.library import find
from clipaudit.inferrers.methods import ALL
from clipaudit.pipelines.config import EvaluateConfig
from clipaudit.pipelines.score import Progress, score
from clipaudit.results.audit import Audit
from clipaudit.results.evaluation import Evaluation, Histogram, SharedPicture, method_figures
from clipaudit.verdicts.by_calibration import unique_scores
from clipaudit.verdicts.calibration_files import known_set
from clipaudit.verdicts.shared_pictures import require_apart, scored_paths, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.evaluation_sets.reading import EvaluationSet
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pipelines.config import ScoreConfig
    from clipaudit.results.evaluation import MethodFigures
    from clipaudit.results.rows import Row
    from clipaudit.statistics.metrics import BoolArray, FloatArray
    from clipaudit.verdicts.shared_pictures import Pair

FEWEST = 2
"""Pictures of each side without which there is no AUC."""


def evaluate(
    named: AnyPath | Sides,
    config: EvaluateConfig = EvaluateConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evaluation:
    """Score members and non-members, and say how well each inferrer tells them apart.

    Copies and near-duplicates on one side count once.

    Args:
        named: A folder that holds `members/` and `nonmembers/`, and perhaps a manifest of
            `clipaudit build-eval`; or the files and folders of each side.
        config: What to score with, and how to evaluate.
        on_progress: Called after every batch, from the calling thread.

    Raises:
        ClipAuditError: As `pipelines.score.score`; the folder is no set, a side has too few
            pictures, a picture is on both sides, or a score is no finite number.
        KeyboardInterrupt: The user stopped it; nothing is left but the signals.
    """
    scoring = config.scoring
    found = read_set(
        named,
        limit=scoring.limit,
        include_hidden=scoring.include_hidden,
        follow_links=scoring.follow_links,
        seed=scoring.seed,
    )
    with open_store(is_wanted=scoring.use_store) as store:
        known = KnownPictures(
            scoring.limits,
            scoring.n_workers,
            store,
            needs_appearance=lambda _: config.blind,
            keeps_captions=config.blind,
        )
        return _evaluate(found, config, known, on_progress)


def _evaluate(
    found: EvaluationSet,
    config: EvaluateConfig,
    known: KnownPictures,
    on_progress: Callable[[Progress], None],
) -> Evaluation:
    scoring = config.scoring
    sides = found if scoring.limit is not None else found.sides
    name_of_members, name_of_nonmembers = found.sides.names
    audit = score(
        sides.members + sides.nonmembers,
        replace(
            scoring,
            limit=None,
            methods=() if scoring.inferrers else scoring.methods or (ALL,),
            every_data_set=not scoring.inferrers,
        ),
        on_progress,
        known,
    )
    if audit.run.interrupted:
        raise KeyboardInterrupt
    members, nonmembers = _sides(audit, found)
    _require(members, len(members.scored), name_of_members)
    _require(nonmembers, len(nonmembers.scored), name_of_nonmembers)
    hashes = known.hashes(scored_paths(audit))
    pair = split(scored_paths(members), scored_paths(nonmembers), hashes, from_both=True)
    if not config.allow_overlap:
        require_apart(
            pair,
            "members and non-members share pictures",
            "No picture can be both. Take these out of the side where they do not belong, or pass "
            "--allow-overlap to count them on neither; what was computed is kept.",
        )
    _require(members, len(pair.first), name_of_members)
    _require(nonmembers, len(pair.second), name_of_nonmembers)
    trials = _blind_trials(pair, found, known, scoring.seed) if config.blind else ()
    trial = trials[0] if trials else None
    scored = (*members.scored, *nonmembers.scored)
    n_apart = sum(row.sha256 not in pair.left_out for row in scored)
    options = {"limit": scoring.limit, "blind": config.blind, "allow_overlap": config.allow_overlap}
    return Evaluation(
        run=replace(audit.run, config={**audit.run.config, **options}),
        folder=found.name,
        members=known_set(name_of_members, pair.first),
        nonmembers=known_set(name_of_nonmembers, pair.second),
        label=found.label,
        n_same=n_apart - len(pair.first) - len(pair.second),
        skipped=_skipped(members, nonmembers, found),
        shared=tuple(SharedPicture(*match) for match in pair.shared),
        methods=_methods(audit, pair, trials, scoring),
        similarity=_histogram(audit, pair),
        blind=trial.report if trial else None,
        blind_missing=trial.reason if trial else "",
        blind_captions=trials[1].report if len(trials) > 1 else None,
    )


def _sides(audit: Audit, found: EvaluationSet) -> tuple[Audit, Audit]:
    """Members and non-members; a file that a link brings to both sides has a row on each."""
    rows = {row.path: row for row in audit}
    files = {os.path.realpath(row.path): row for row in audit}

    def part(paths: Sequence[str]) -> Audit:
        part_rows: list[Row] = []
        for path in paths:
            row = rows.get(path) or files.get(os.path.realpath(path))
            if row is not None:  # else it came or went while the folder was read
                part_rows.append(replace(row, path=path))
        return Audit(audit.run, tuple(part_rows))

    return part(found.members), part(found.nonmembers)


def _require(part: Audit, n_left: int, side: str) -> None:
    """That a side has pictures enough to say anything at all.

    Raises:
        InputError: It has too few.
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


def _blind_trials(
    pair: Pair, found: EvaluationSet, known: KnownPictures, seed: int
) -> tuple[BlindTrial, ...]:
    """What can be told from the pictures, and where captions were read what from those."""
    families = {
        image_id: found.families[path]
        for paths in (pair.first, pair.second)
        for image_id, path in paths.items()
        if path in found.families
    }
    between = ("members", "non-members")
    paths = {key: side[key] for side in (pair.first, pair.second) for key in looked_at(side)}
    appearances = known.appearances(paths)
    trial = blind_trial(pair.first, pair.second, appearances, seed, between, families)
    if not known.captions or trial.report is None:
        return (trial,)
    return trial, caption_trial(pair.first, pair.second, known.captions, seed, between, families)


def _skipped(members: Audit, nonmembers: Audit, found: EvaluationSet) -> dict[str, int]:
    reasons = members.skip_reasons()
    for why, n in nonmembers.skip_reasons().items():
        reasons[why] = reasons.get(why, 0) + n
    missing = {"named in the manifest, but not there": found.n_missing} if found.n_missing else {}
    return reasons | missing


def _truth(pair: Pair) -> tuple[list[str], BoolArray]:
    n_members = len(pair.first)
    return [*pair.first, *pair.second], np.arange(n_members + len(pair.second)) < n_members


def _methods(
    audit: Audit, pair: Pair, trials: Sequence[BlindTrial], scoring: ScoreConfig
) -> tuple[MethodFigures, ...]:
    image_ids, is_member = _truth(pair)
    inferrers = audit.run.inferrers
    names = tuple(dict.fromkeys(scoring.inferrers)) or tuple(facts.name for facts in inferrers)
    blind = _blind_scores(trials)
    methods = []
    for name, facts in zip(names, inferrers, strict=True):
        scores = unique_scores(audit, facts.name)
        has_score = np.array([image_id in scores for image_id in image_ids])
        if min(has_score[is_member].sum(), has_score[~is_member].sum()) < FEWEST:
            continue  # it reads captions, and too few pictures have one
        method = method_figures(
            facts,
            find(name).card.shadow.data,
            _column(scores, image_ids),
            is_member[has_score],
            audit.run.seed,
        )
        if blind is not None:
            seen = np.array([image_id in scores for image_id in trials[0].image_ids])
            same_pictures = _column(scores, trials[0].image_ids)
            adjusted = adjusted_auc(same_pictures, blind[seen], trials[0].is_first[seen])
            method = replace(method, adjusted=adjusted)
        methods.append(method)
    if not methods:
        raise InputError(
            "no inferrer gave enough pictures a score, because too few have a caption",
            f"It takes {FEWEST} with a caption on each side; or pass --captions none.",
        )
    return tuple(methods)


def _blind_scores(trials: Sequence[BlindTrial]) -> FloatArray | None:
    """How much each picture looks like a member: the mean of what its trials say."""
    reports = [trial.report for trial in trials]
    if not reports or not all(reports):
        return None
    if len({trial.image_ids for trial in trials}) > 1:  # a file went while it was looked at
        reports = reports[:1]
    scores: FloatArray = np.mean([report.scores for report in reports if report], axis=0)
    return scores


def _histogram(audit: Audit, pair: Pair) -> Histogram | None:
    if not audit.run.n_views:
        return None
    image_ids, is_member = _truth(pair)
    means: dict[str, Any] = {row.sha256 or "": row.mean_similarity for row in audit.scored}
    return Histogram.of(_column(means, image_ids), is_member)


def _column(values: Mapping[str, float], image_ids: Sequence[str]) -> FloatArray:
    """The values of those that have one, in their order."""
    found = [values[image_id] for image_id in image_ids if image_id in values]
    return np.array(found, dtype=np.float64)
