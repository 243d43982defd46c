"""Stage 6: suspects and their control, both scored → the verdict on the suspects as a set."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import InputError
from clipaudit.pictures.near_duplicates import Seen, partners
from clipaudit.results.evidence import AgainstControl, InferrerComparison, Overlap
from clipaudit.statistics.two_sets import Comparison, compare, compare_pairs
from clipaudit.verdicts.by_calibration import unique_scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.blind.baseline import BlindCheck
    from clipaudit.results.audit import Audit
    from clipaudit.statistics.metrics import FloatArray

ALPHA = 0.05
"""Level of the test."""


def overlaps(suspects: Audit, control: Audit, hashes: Mapping[str, int]) -> dict[str, Overlap]:
    """The pictures of the control that are among the suspects, by their SHA-256.

    Args:
        suspects: Scored.
        control: Scored.
        hashes: Perceptual hashes of both by SHA-256, as far as they could be made.
    """
    ours, theirs = _paths(suspects), _paths(control)
    near = partners(
        {one: hashes[one] for one in theirs if one in hashes and one not in ours},
        {one: hashes[one] for one in ours if one in hashes},
    )
    found = {}
    for one, path in theirs.items():
        if one in ours:
            found[one] = Overlap(ours[one], path, "copy")
        elif one in near:
            found[one] = Overlap(ours[near[one]], path, "near-duplicate")
    return found


def require_apart(found: Mapping[str, Overlap]) -> None:
    """That no picture is on both sides.

    Raises:
        InputError: Some are; the message names the first of them.
    """
    if not found:
        return
    named = [f"{one.control!r} is a {one.kind} of {one.suspect!r}" for one in [*found.values()][:3]]
    more = f"; and {len(found) - 3:,} more" if len(found) > 3 else ""
    raise InputError(
        f"the control overlaps with the suspects: {'; '.join(named)}{more}",
        "A control must hold other pictures, which cannot have been in the training set. Take "
        "these out, or pass --allow-overlap to leave them out of the control; what was computed "
        "is kept.",
    )


def different(
    audit: Audit, hashes: Mapping[str, int], without: Mapping[str, object]
) -> dict[str, str]:
    """Paths of the scored pictures by SHA-256; of copies and near-duplicates the first one alone.

    Pictures that are the same to the eye have nearly the same score, so they would count as
    evidence several times.
    """
    seen = Seen()
    return {
        one: path
        for one, path in _paths(audit).items()
        if one not in without and (one not in hashes or seen.add(hashes[one]))
    }


def against_control(
    suspects: Audit,
    control: Audit,
    hashes: Mapping[str, int],
    blind: BlindCheck,
    named: tuple[Sequence[str], Sequence[str]],
    alpha: float = ALPHA,
) -> AgainstControl:
    """The verdict on the suspects as a set, by each inferrer.

    Args:
        suspects: Scored.
        control: Scored with the same encoder, views and inferrers. What overlaps with the
            suspects is left out of it; see `require_apart`.
        hashes: Perceptual hashes of both by SHA-256, as far as they could be made.
        blind: Whether the two differ in what no encoder is needed to see.
        named: Files and folders of the suspects and of the control, as they were given.
        alpha: Level of the tests.

    Raises:
        InputError: No picture, of suspects or control, is left to compare.
        InferrerError: A score is no finite number.
    """
    both = overlaps(suspects, control, hashes)
    ours = different(suspects, hashes, without={})
    theirs = different(control, hashes, without=both)
    if not ours or not theirs:
        side = "suspects" if not ours else "control"
        raise InputError(
            f"no picture of the {side} is left to compare"
            + (", all are among the suspects" if both and not theirs else ""),
            "A comparison needs pictures on both sides: name others with --control.",
        )
    couples = namesakes(ours, theirs, named)
    n_different = len({*_paths(suspects)}) + len({*_paths(control)} - both.keys())
    n_copies = len(suspects.scored) - len(_paths(suspects))
    n_copies += len(control.scored) - len(_paths(control))
    results = []
    for inferrer in suspects.run.inferrers:
        of_suspects = unique_scores(suspects, inferrer.name)
        of_control = unique_scores(control, inferrer.name)
        first, second = _column(of_suspects, ours), _column(of_control, theirs)
        unpaired = compare(first, second, alpha, suspects.run.seed)
        spread = tuple(np.sort(second).tolist())
        paired = None
        if couples:
            second = _column(of_control, [couples[one] for one in ours])
            paired = compare_pairs(first, second, alpha, suspects.run.seed)
        sentence = _sentence(unpaired, blind)
        results.append(
            InferrerComparison(inferrer.name, unpaired.outcome, sentence, unpaired, paired, spread)
        )
    return AgainstControl(
        control=", ".join(named[1]),
        n_files=len(control),
        n_scored=len(control.scored),
        n_near_duplicates=n_copies + n_different - len(ours) - len(theirs),
        overlaps=tuple(both.values()),
        blind=blind,
        by_inferrer=tuple(results),
    )


def namesakes(
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
    wanted = {_name(path, named[0]): one for one, path in suspects.items()}
    offered = {_name(path, named[1]): one for one, path in control.items()}
    is_clear = len(wanted) == len(suspects) and len(offered) == len(control)
    if not is_clear or not wanted.keys() <= offered.keys():
        return None
    return {one: offered[name] for name, one in wanted.items()}


def _name(path: str, roots: Sequence[str]) -> str:
    inside = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep)]
    longest = max(inside, key=len, default=None)
    within = PurePath(path).name if longest is None else os.path.relpath(path, longest)
    return str(PurePath(within).with_suffix(""))


def _sentence(comparison: Comparison, blind: BlindCheck) -> str:
    if blind.outcome != "different" or comparison.outcome == "too few":
        return comparison.sentence()
    return (
        "This comparison allows no conclusion on whether pictures of the set were used to train "
        f"the encoder, because a baseline that never saw the encoder tells the "
        f"{comparison.n_suspects:,} suspect pictures from the {comparison.n_control:,} control "
        f"pictures ({blind.text}), and whatever difference there is between their membership "
        "scores may come from that."
    )


def _paths(audit: Audit) -> dict[str, str]:
    """The first path of each scored picture, by its SHA-256."""
    paths: dict[str, str] = {}
    for row in audit.scored:
        if row.sha256:
            paths.setdefault(row.sha256, row.path)
    return paths


def _column(scores: Mapping[str, float], image_ids: Iterable[str]) -> FloatArray:
    return np.array([scores[one] for one in image_ids])
