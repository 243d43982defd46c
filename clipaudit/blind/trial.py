"""Two sets of pictures → whether they can be told apart without the encoder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind import MIN_OF_EACH, blind_baseline, image_statistics, random_embedding
from clipaudit.blind.cross_validation import groups_of_each
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.results.evidence import BlindCheck

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipaudit.blind import BlindReport
    from clipaudit.statistics.metrics import BoolArray

MOST_OF_EACH = 1_000
"""Pictures that are looked at; of more, those whose SHA-256 comes first, which is as good as
random."""


@dataclass(frozen=True, slots=True, eq=False)
class BlindTrial:
    """What came of an attempt to tell two sets apart.

    Attributes:
        image_ids: SHA-256 of the pictures that were looked at, those of the first set first.
        is_first: Shape (n,): whether it is one of the first set.
        report: What was found, its scores in the same order; None where it could not be tried.
        reason: Why it could not be; else empty.
    """

    image_ids: tuple[str, ...]
    is_first: BoolArray = field(repr=False)
    report: BlindReport | None
    reason: str = ""


def blind_trial(
    first: Mapping[str, str],
    second: Mapping[str, str],
    limits: Limits,
    seed: int,
    between: tuple[str, str],
    families: Mapping[str, object] | None = None,
) -> BlindTrial:
    """Let classifiers that never see the encoder try to tell one set from another.

    Every picture was decoded by a worker before and did not crash it, so it is decoded here.

    Args:
        first: Paths by SHA-256, different pictures all.
        second: The same.
        limits: How much one file may cost.
        seed: Of the folds.
        between: What to call the two sets.
        families: What pictures have in common that are not independent, by SHA-256; those that
            stand alone need no entry.
    """
    statistics, embeddings, is_first = [], [], []
    image_ids: list[str] = []
    for paths in (first, second):
        for one in sorted(paths)[:MOST_OF_EACH]:
            with suppress(BadImage):  # it has changed since, or is gone
                data = read_file(paths[one], limits)
                if content_id(data) != one:
                    continue
                pixels = decode(data, limits).pixels
                statistics.append(image_statistics(data, pixels))
                embeddings.append(random_embedding(pixels))
                is_first.append(paths is first)
                image_ids.append(one)
    truth = np.array(is_first, dtype=bool)
    groups = [(families or {}).get(one, one) for one in image_ids]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    n_independent = groups_of_each(truth, np.array([numbers[group] for group in groups], dtype=int))
    if n_independent < MIN_OF_EACH:
        reason = f"that takes {MIN_OF_EACH} pictures on each side"
        if len(numbers) == len(groups):
            reason += f", and there are {int(truth.sum()):,} and {int((~truth).sum()):,}"
        else:
            reason += f" with no photograph in common, and on one there are {n_independent:,}"
        return BlindTrial(tuple(image_ids), truth, None, reason)
    report = blind_baseline(
        np.stack(statistics),
        truth,
        embeddings=np.stack(embeddings),
        groups=groups if families else None,
        between=between,
        seed=seed,
    )
    return BlindTrial(tuple(image_ids), truth, report)


def blind_check(
    suspects: Mapping[str, str], control: Mapping[str, str], limits: Limits, seed: int
) -> BlindCheck:
    """Whether suspects can be told from control without the encoder; see `blind_trial`.

    Args:
        suspects: Paths by SHA-256, different pictures all.
        control: The same.
        limits: How much one file may cost.
        seed: Of the folds.
    """
    trial = blind_trial(suspects, control, limits, seed, ("suspects", "control"))
    if trial.report is None:
        return BlindCheck("too few", trial.reason)
    is_different = trial.report.is_confounded
    return BlindCheck("different" if is_different else "alike", _text(trial.report))


def _text(report: BlindReport) -> str:
    auc = report.overall
    mostly = ""
    if report.is_confounded and report.telling:
        mostly = f", most of all by {report.telling[0].words}"
    return (
        f"AUC {auc.value:.3f}, 95 % interval {auc.low:.3f} to {auc.high:.3f}, n = "
        f"{report.n[0]:,} and {report.n[1]:,}{mostly}"
    )
