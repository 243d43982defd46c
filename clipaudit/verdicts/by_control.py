"""Stage 6: suspects and their control, both scored → the verdict on the suspects as a set."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import InputError
from clipaudit.results.evidence import AgainstControl, InferrerComparison, Overlap
from clipaudit.statistics.two_sets import Comparison, compare, compare_pairs
from clipaudit.verdicts.by_calibration import unique_scores
from clipaudit.verdicts.sentences import comparison_sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from clipaudit.blind.baseline import BlindCheck
    from clipaudit.results.audit import Audit
    from clipaudit.statistics.metrics import FloatArray
    from clipaudit.verdicts.shared_pictures import Pair

ALPHA = 0.05
"""Level of the test, and the highest at which its result may be called evidence."""


def against_control(
    suspects: Audit,
    control: Audit,
    pair: Pair,
    blind: BlindCheck,
    named: tuple[Sequence[str], Sequence[str]],
    alpha: float = ALPHA,
    captions: BlindCheck | None = None,
) -> AgainstControl:
    """The verdict on the suspects as a set, by each inferrer.

    Args:
        suspects: Scores of the suspects.
        control: Scores of the control, made with the same encoder, views and inferrers.
        pair: The pictures of both that count; see `shared_pictures.split`.
        blind: Whether the two differ in what no encoder is needed to see.
        named: Files and folders of the suspects and of the control, as they were given.
        alpha: Level of the tests.
        captions: Whether their captions alone tell them apart, where captions were read.

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
    couples = find_namesakes(pair.first, pair.second, named)
    by_inferrer = []
    for inferrer in suspects.run.inferrers:
        suspect_scores = unique_scores(suspects, inferrer.name)
        control_scores = unique_scores(control, inferrer.name)
        _require_scores(inferrer.name, suspect_scores.keys() & pair.first, "suspects")
        _require_scores(inferrer.name, control_scores.keys() & pair.second, "control")
        has_all = suspect_scores.keys() >= pair.first.keys()
        comparison = compare_scores(
            inferrer.name,
            _column(suspect_scores, pair.first),
            _column(control_scores, pair.second),
            _column(control_scores, [couples[image_id] for image_id in pair.first])
            if couples and has_all and control_scores.keys() >= set(couples.values())
            else None,
            (blind, captions),
            alpha,
            suspects.run.seed,
        )
        by_inferrer.append(comparison)
    n_scored = len(suspects.scored) + len(control.scored)
    return AgainstControl(
        control=", ".join(named[1]),
        n_files=len(control),
        n_scored=len(control.scored),
        n_near_duplicates=n_scored - len(pair.shared) - len(pair.first) - len(pair.second),
        overlaps=tuple(Overlap(*match) for match in pair.shared),
        blind=blind,
        by_inferrer=tuple(by_inferrer),
        captions=captions,
    )


def compare_scores(
    inferrer: str,
    suspects: FloatArray,
    control: FloatArray,
    own_control: FloatArray | None,
    checks: tuple[BlindCheck, BlindCheck | None],
    alpha: float,
    seed: int,
) -> InferrerComparison:
    """The verdict by one inferrer.

    Args:
        inferrer: Its name.
        suspects: Scores, shape (n_suspects,), finite.
        control: Scores, shape (n_control,), finite.
        own_control: Scores of each suspect's namesake, in the same order, where each has one.
        checks: Whether the two differ in what no encoder is needed to see, and in their captions.
        alpha: Level of the tests.
        seed: Seed of the random permutations.
    """
    unpaired = compare(suspects, control, alpha, seed)
    return InferrerComparison(
        inferrer=inferrer,
        outcome=unpaired.outcome,
        sentence=_sentence(unpaired, *checks),
        unpaired=unpaired,
        paired=None if own_control is None else compare_pairs(suspects, own_control, alpha, seed),
        control_scores=tuple(np.sort(control).tolist()),
    )


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


def _sentence(comparison: Comparison, blind: BlindCheck, captions: BlindCheck | None) -> str:
    if captions and captions.outcome == "different" and comparison.outcome != "too few":
        return _inconclusive(comparison, "a baseline that reads nothing but captions", captions)
    if blind.outcome == "different" and comparison.outcome != "too few":
        return _inconclusive(comparison, "a baseline that never saw the encoder", blind)
    if blind.outcome == "too few" and comparison.outcome == "higher":
        return (
            "Whether pictures of the set were used to train the encoder cannot be said: the "
            f"{comparison.n_suspects:,} suspect pictures scored higher than the "
            f"{comparison.n_control:,} control pictures, but whether the two differ in what needs "
            f"no encoder could not be tried ({blind.text})."
        )
    return comparison_sentence(comparison)


def _inconclusive(comparison: Comparison, baseline: str, check: BlindCheck) -> str:
    return (
        "This comparison allows no conclusion on whether pictures of the set were used to train "
        f"the encoder, because {baseline} tells the {comparison.n_suspects:,} suspect pictures "
        f"from the {comparison.n_control:,} control pictures ({check.text}), and whatever "
        "difference there is between their membership scores may come from that."
    )


def _require_scores(inferrer: str, scored: Collection[str], side: str) -> None:
    """Raise where no picture of a side has a score by an inferrer, for want of captions."""
    if not scored:
        raise InputError(
            f"no picture of the {side} has a score by {inferrer}, because none has a caption",
            "Give both sets captions of the same kind, or pass --captions none to go by the "
            "pictures alone; what was computed is kept.",
        )


def _column(scores: Mapping[str, float], image_ids: Iterable[str]) -> FloatArray:
    """The scores of those that have one: an inferrer may read captions that a picture lacks."""
    return np.array([scores[image_id] for image_id in image_ids if image_id in scores])
