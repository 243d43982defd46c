"""Stage 6: suspects and their control, both scored → the verdict on the suspects as a set."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

import numpy as np

from clipaudit.errors import InputError
from clipaudit.results.evidence import (
    AgainstControl,
    Grade,
    InferrerComparison,
    NegativeControl,
    Overlap,
)
from clipaudit.statistics.rank_tests import IntArray, largest_rank_sum
from clipaudit.statistics.residuals import residuals
from clipaudit.statistics.share_used import share_at_least
from clipaudit.statistics.two_sets import RESAMPLES, Comparison, compare, compare_pairs
from clipaudit.verdicts.by_calibration import unique_scores
from clipaudit.verdicts.sentences import Basis, verdict_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.blind.baseline import BlindCheck
    from clipaudit.results.audit import Audit
    from clipaudit.results.rows import ReferenceSignals
    from clipaudit.statistics.metrics import FloatArray
    from clipaudit.verdicts.shared_pictures import Pair

ALPHA = 0.05
"""Level of the test, and the highest at which its result may be called evidence."""

NEGATIVE_ALPHA = 0.1
"""Level at which a reference encoder speaks: that it stays silent is the safe side."""


def against_control(
    suspects: Sequence[Audit],
    control: Sequence[Audit],
    pair: Pair,
    blind: BlindCheck,
    named: tuple[Sequence[str], Sequence[str]],
    alpha: float = ALPHA,
    captions: BlindCheck | None = None,
    series: Mapping[str, str] | None = None,
    n_looks: int | None = None,
) -> AgainstControl:
    """The verdict on the suspects as a set.

    Where there are reference encoders, which saw neither set, the test is of what they do not
    explain of the scores, and they serve as a negative control.

    Args:
        suspects: Scores of the suspects; of several audits, which differ in their seed alone, the
            scores are averaged, and the first one gives all else.
        control: Scores of the control, made with the same encoders, views and inferrers.
        pair: The pictures of both that count; see `shared_pictures.split`.
        blind: Whether the two differ in what no encoder is needed to see.
        named: Files and folders of the suspects and of the control, as they were given.
        alpha: Level of the tests.
        captions: Whether their captions alone tell them apart, where captions were read.
        series: Series of each picture by its SHA-256, where pictures of a series are to be dealt
            together; those without an entry stand alone.
        n_looks: How often these suspects were compared in different ways.

    Raises:
        InputError: No picture, of suspects or control, is left to compare.
        InferrerError: A score is no finite number.
    """
    if not pair.first or not pair.second:
        side = "suspects" if not pair.first else "control"
        raise InputError(
            f"no picture of the {side} is left to compare"
            + (", all are among the suspects" if pair.shared and not pair.second else ""),
            "A comparison needs pictures on both sides: name others with --control.",
        )
    run = suspects[0].run
    sides = (sorted(pair.first), sorted(pair.second))
    known = _seen_by_references((*suspects, *control), (*sides[0], *sides[1]))
    negative = None
    if known is not None:
        references = tuple(info.spec for info in run.references)
        negative = _negative_control(known, sides, series, run.seed, references)
    couples = find_namesakes(pair.first, pair.second, named)
    by_inferrer = []
    for inferrer in run.inferrers:
        scores = [_mean_scores(audits, inferrer.name) for audits in (suspects, control)]
        by_inferrer.append(
            _compare_by(inferrer.name, scores, sides, couples, known, series, alpha, run.seed)
        )
    result = by_inferrer[0].unpaired
    grade = grade_of(result, blind, negative, captions)
    seeds = tuple(audit.run.seed for audit in suspects)
    basis = Basis(run, by_inferrer[0].inferrer, seeds, blind, negative, n_looks, captions)
    n_scored = len(suspects[0].scored) + len(control[0].scored)
    return AgainstControl(
        control=", ".join(named[1]),
        n_files=len(control[0]),
        n_scored=len(control[0].scored),
        n_near_duplicates=n_scored - len(pair.shared) - len(pair.first) - len(pair.second),
        overlaps=tuple(Overlap(*match) for match in pair.shared),
        blind=blind,
        by_inferrer=tuple(by_inferrer),
        captions=captions,
        grade=grade,
        sentence=verdict_sentence(result, grade, basis),
        negative_control=negative,
        seeds=seeds,
        n_looks=n_looks,
    )


def grade_of(
    result: Comparison,
    blind: BlindCheck,
    negative: NegativeControl | None,
    captions: BlindCheck | None = None,
) -> Grade:
    """What a test comes to, with what is known of the two sets.

    What pictures show escapes the blind check at usual sizes. Suspects of other classes than the
    control, 40 a side, none used, scored higher without a difference being found in 30 % of 200
    draws, and where a reference was silent in 5.0 % (`benchmarks/confounds.py`): so evidence
    without a reference is weak.

    Args:
        result: The test.
        blind: Whether the two differ in what no encoder is needed to see.
        negative: Whether an encoder that saw neither set tells them apart.
        captions: Whether their captions alone do, where captions were read.
    """
    is_silent = negative is not None and negative.outcome == "silent"
    if result.outcome == "too few" or (negative is not None and not is_silent):
        return "no conclusion"
    if blind.outcome == "different" and not is_silent:
        return "no conclusion"
    if captions is not None and captions.outcome == "different":
        return "no conclusion"
    if result.outcome == "not shown":
        return "no evidence"
    if blind.outcome == "too few":
        return "no conclusion"
    return "evidence" if blind.outcome == "alike" and is_silent else "weak evidence"


def _compare_by(
    inferrer: str,
    scores: Sequence[Mapping[str, float]],
    sides: tuple[list[str], list[str]],
    couples: Mapping[str, str] | None,
    known: Mapping[str, FloatArray] | None,
    series: Mapping[str, str] | None,
    alpha: float,
    seed: int,
) -> InferrerComparison:
    """Suspects against control by the scores of one inferrer, of the pictures that have one."""
    first, second = (
        [image_id for image_id in side if image_id in by_id]
        for side, by_id in zip(sides, scores, strict=True)
    )
    if not first or not second:
        raise InputError(
            f"{inferrer} gives no score to any picture of the "
            f"{'control' if first else 'suspects'}, so there is nothing to compare",
            "It reads captions, and none is there. Give both sets captions of the same kind, or "
            "pass --captions none to go by the pictures alone; what was computed is kept.",
        )
    values = np.array([scores[0][i] for i in first] + [scores[1][i] for i in second])
    control_scores = tuple(np.sort(values[len(first) :]).tolist())
    if known is not None:
        values = residuals(values, np.stack([known[i] for i in (*first, *second)]))
    ours, theirs = values[: len(first)], values[len(first) :]
    numbers = None if series is None else (_numbers(first, series), _numbers(second, series))
    unpaired = compare(ours, theirs, alpha, seed, series=numbers)
    paired = None
    if couples and all(couples[image_id] in scores[1] for image_id in first):
        by_id = dict(zip(second, theirs, strict=True))
        own = np.array([by_id[couples[image_id]] for image_id in first])
        paired = compare_pairs(ours, own, alpha, seed)
    is_told = unpaired.outcome == "higher" and series is None
    share = share_at_least(ours, theirs, seed) if is_told else None
    return InferrerComparison(inferrer, unpaired.outcome, unpaired, paired, control_scores, share)


def _negative_control(
    known: Mapping[str, FloatArray],
    sides: tuple[list[str], list[str]],
    series: Mapping[str, str] | None,
    seed: int,
    references: tuple[str, ...],
) -> NegativeControl:
    """The same test, in both directions, on what the references make of the pictures."""
    first, second = (np.array([known[image_id][0] for image_id in side]) for side in sides)
    numbers = None
    if series is not None:
        numbers = (_numbers(sides[0], series), _numbers(sides[1], series))
    higher = largest_rank_sum(first, second, seed, RESAMPLES, numbers).p
    lower = largest_rank_sum(-first, -second, seed, RESAMPLES, numbers).p
    p = min(1.0, 2 * min(higher, lower))
    outcome: Literal["silent", "speaks"] = "speaks" if p <= NEGATIVE_ALPHA else "silent"
    return NegativeControl(outcome, p, NEGATIVE_ALPHA, references)


def _seen_by_references(
    audits: Iterable[Audit], image_ids: Sequence[str]
) -> dict[str, FloatArray] | None:
    """What the references make of each picture; of several audits the mean.

    Returns:
        Mean similarity, where there are views, and log length of each picture; None where they
        have not seen all.
    """
    found: dict[str, list[ReferenceSignals]] = {}
    for audit in audits:
        for row in audit.scored:
            if row.reference and row.sha256:
                found.setdefault(row.sha256, []).append(row.reference)
    if not found.keys() >= set(image_ids):
        return None
    return {
        image_id: np.mean(
            [
                [value for value in (one.mean_similarity, np.log(one.norm)) if value is not None]
                for one in found[image_id]
            ],
            axis=0,
        )
        for image_id in image_ids
    }


def _mean_scores(audits: Sequence[Audit], inferrer: str) -> dict[str, float]:
    by_seed = [unique_scores(audit, inferrer) for audit in audits]
    return {
        image_id: float(np.mean([scores[image_id] for scores in by_seed]))
        for image_id in by_seed[0]
    }


def _numbers(image_ids: Sequence[str], series: Mapping[str, str]) -> IntArray:
    """The number of each picture's series; a picture that has none is one by itself."""
    _, numbers = np.unique(
        [series.get(image_id, f"/{image_id}") for image_id in image_ids], return_inverse=True
    )
    return numbers.astype(np.int64)


def find_namesakes(
    suspects: Mapping[str, str],
    control: Mapping[str, str],
    named: tuple[Sequence[str], Sequence[str]],
) -> dict[str, str] | None:
    """For each suspect the control picture of its name; None unless every suspect has just one.

    The name is that within the folder that was given, without its ending: `a/b.png` and
    `a/b.jpg` are namesakes.

    Args:
        suspects: Paths by SHA-256.
        control: The same.
        named: Files and folders that were given, of suspects and control.
    """
    wanted = {_name(path, named[0]): image_id for image_id, path in suspects.items()}
    offered = {_name(path, named[1]): image_id for image_id, path in control.items()}
    is_clear = len(wanted) == len(suspects) and len(offered) == len(control)
    if not is_clear or not wanted.keys() <= offered.keys():
        return None
    return {image_id: offered[name] for name, image_id in wanted.items()}


def _name(path: str, roots: Sequence[str]) -> str:
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep)]
    longest = max(inside, key=len, default=None)
    within = PurePath(path).name if longest is None else os.path.relpath(path, longest)
    return str(PurePath(within).with_suffix(""))
