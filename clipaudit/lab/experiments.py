"""Cells → outcomes: inferrers and baselines judged on target encoders whose members are known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from clipaudit.errors import EncoderError
from clipaudit.inferrers import PAPER, RULES, find_rule, forms
from clipaudit.lab.plan import Cell, Plan
from clipaudit.lab.results import Downstream, EncoderFacts, Outcome
from clipaudit.lab.splits import read_split
from clipaudit.lab.units import Fit, Look, Unit
from clipaudit.lab.worker import features, make_fit, read_fit, read_probe, read_signals
from clipaudit.seeding import derive
from clipaudit.shadow.training_folder import LOG
from clipaudit.statistics.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.statistics.metrics import BoolArray, FloatArray

    Matrix = npt.NDArray[np.float32]

EMBEDDING, IMAGE, CLASSIFIER = "embedding alone", "image alone", "downstream classifier"
BASELINES = (EMBEDDING, IMAGE, CLASSIFIER)
"""What the paper compares itself with, by the names of ours: a classifier on the embedding of the
picture, one on the picture, and one on what a downstream classifier says of it."""

WITH_REFERENCE = " + reference"
_MOST_CLASSES = 10


class Found(NamedTuple):
    """What a cell gave."""

    outcomes: list[Outcome]
    downstream: list[Downstream]


def is_ready(cell: Cell, plan: Plan) -> bool:
    """Whether all encoders of a cell are there, with all that was measured on them."""
    return all(plan.units[key].is_done for key in (cell.target, cell.shadow, *cell.references))


def fill(cell: Cell, plan: Plan, outputs: tuple[Output, ...], kinds: tuple[Kind, ...]) -> Found:
    """Judge inferrers, and baselines where the cell has them, on the target encoder of a cell.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    target, shadow = plan.units[cell.target], plan.units[cell.shadow]
    references = [plan.units[key] for key in cell.references]
    n_draws = len({look.draw for look in shadow.looks})
    outcomes = []
    for output in outputs:
        look = look_of(target, output, cell.epoch)
        for fit in _fits(cell, output, kinds, n_draws):
            if cell.references and not shadow.fit_file(fit).exists():
                make_fit(shadow, fit, references)
            rule, threshold = read_fit(shadow, fit)
            scores = rule.score(features(target, look, fit.reads, references))
            method = fit.kind + WITH_REFERENCE * _names_it(fit)
            outcomes.append(judged(cell, output, method, scores, truth(target), threshold))
    if cell.has_baselines:
        outcomes += list(_baselines(cell, target, shadow, outputs))
    downstream = []
    if cell.has_probe:
        right = read_probe(target, cell.epoch)["right"]
        n_right = int(np.count_nonzero(right))
        downstream.append(Downstream(cell.experiment, cell.setting, cell.seed, n_right, len(right)))
    return Found(outcomes, downstream)


def _fits(cell: Cell, output: Output, kinds: tuple[Kind, ...], n_draws: int) -> Iterator[Fit]:
    """The inferrers that a cell judges on one output."""
    if not cell.references:
        for kind in kinds:
            yield Fit(output, kind, cell.similarity, cell.n_views, n_draws)
        return
    beyond_the_paper = [kind for kind in RULES if kind not in PAPER]
    for kind in (*kinds, *beyond_the_paper):
        if find_rule(kind).is_network and not cell.has_networks:
            continue
        for has_reference in forms(kind, has_reference=True):
            keys = cell.references * has_reference
            for n_views in (cell.n_views, cell.n_views - 1):
                fit = Fit(output, kind, cell.similarity, n_views, n_draws, keys)
                enough = n_views >= 2 or fit.reads.what == "norm"
                if enough and fit.reads.n_passes == cell.n_views:
                    yield fit
                    break


def _names_it(fit: Fit) -> bool:
    """Whether the same kind exists without a reference too."""
    return bool(fit.references) and False in forms(fit.kind, has_reference=True)


def look_of(unit: Unit, output: Output, epoch: int | None = None) -> Look:
    """The first draw of an encoder's signals."""
    return next(
        look
        for look in unit.looks
        if look.output == output and look.epoch == epoch and look.draw == 0
    )


def truth(unit: Unit) -> BoolArray:
    """Who of a unit's pictures is a member: those that come first, of as many others."""
    return np.arange(2 * unit.n_members) < unit.n_members


def judged(
    cell: Cell,
    output: Output,
    method: str,
    scores: FloatArray,
    is_member: BoolArray,
    threshold: float,
) -> Outcome:
    """How well "at or above the threshold is a member" does on a target encoder.

    Args:
        cell: The target encoder.
        output: Of it.
        method: The inferrer or baseline, by name.
        scores: Of its pictures.
        is_member: Which of them it saw.
        threshold: A score equal to it reads as member.
    """
    called = scores >= threshold
    return Outcome(
        experiment=cell.experiment,
        setting=cell.setting,
        output=output,
        method=method,
        seed=cell.seed,
        found_at_1_percent=_found_at(0.01, scores, is_member),
        found=int((called & is_member).sum()),
        missed=int((~called & is_member).sum()),
        accused=int((called & ~is_member).sum()),
        spared=int((~called & ~is_member).sum()),
        auc=auc(scores, is_member).value,
    )


def _found_at(fpr: float, scores: FloatArray, is_member: BoolArray) -> int:
    """Members above a threshold that accuses this share of the non-members, or fewer."""
    others = np.sort(scores[~is_member])[::-1]
    n_accused = int(fpr * len(others))
    return int((scores[is_member] > others[n_accused]).sum())


def _baselines(
    cell: Cell, target: Unit, shadow: Unit, outputs: tuple[Output, ...]
) -> Iterator[Outcome]:
    """Classifiers that learn on the shadow side, as the inferrers do, but read something else.

    Source: EncoderMI (Liu et al., CCS 2021), the baselines that it is compared with; for the
    downstream classifier, Salem et al., "ML-Leaks" (NDSS 2019): its highest confidences.
    """
    for output in outputs:
        plain = [read_signals(one, look_of(one, output))[1] for one in (target, shadow)]
        yield _classify(cell, output, EMBEDDING, target, shadow, *plain)
        if output == "trunk" and cell.has_probe:  # which is what the downstream classifier reads
            confidences = [read_probe(one, None)["confidences"] for one in (target, shadow)]
            highest = map(_highest, confidences)
            yield _classify(cell, output, CLASSIFIER, target, shadow, *highest)
    images: list[Matrix] = []
    for one in (target, shadow):
        split = read_split(one.split)
        pixels = split.pixels(split.pictures(one.role, one.n_members)[0])
        images.append(pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255))
    for output in outputs:  # the same for all: it looks at no encoder
        yield _classify(cell, output, IMAGE, target, shadow, *images)


def _highest(confidences: Matrix) -> Matrix:
    """The highest confidences of each picture, in descending order."""
    return np.flip(np.sort(confidences, axis=1), axis=1)[:, :_MOST_CLASSES]


def _classify(
    cell: Cell,
    output: Output,
    method: str,
    target: Unit,
    shadow: Unit,
    on_target: Matrix,
    on_shadow: Matrix,
) -> Outcome:
    """A network of the size of V's, on whatever it is given."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seed = derive(cell.seed, f"{method} {output}", "lab baseline") % 2**32
    classifier = make_pipeline(
        StandardScaler(),
        MLPClassifier((256, 256), early_stopping=True, max_iter=300, random_state=seed),
    )
    classifier.fit(on_shadow, truth(shadow))
    scores = classifier.predict_proba(on_target)[:, 1].astype(np.float64)
    return judged(cell, output, method, scores, truth(target), 0.5)


def facts(unit: Unit) -> EncoderFacts:
    """What is known of an encoder that is trained, by its log.

    Raises:
        EncoderError: The log cannot be read.
    """
    log = unit.folder / LOG
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]
        seconds = sum(line["seconds"] for line in lines)
        seconds_outside = sum(line["seconds_outside"] for line in lines)
        loss = lines[-1]["loss"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EncoderError(
            f"{log} cannot be read: {error}",
            "Put it back, or delete the folder that it is in and run the lab again.",
        ) from error
    return EncoderFacts(
        key=unit.key,
        data=unit.data,
        role=unit.role,
        seed=unit.seed,
        n_members=unit.n_members,
        architecture=unit.pretrain.architecture,
        algorithm=unit.pretrain.algorithm,
        recipe=unit.pretrain.recipe,
        epochs=unit.pretrain.epochs,
        seconds=seconds,
        seconds_outside=seconds_outside,
        loss=loss,
    )
