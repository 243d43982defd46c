"""Inferrers beside what the paper compares them with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.judging import judge_scores, look_of, truth
from clipaudit.lab.measurements import read_probe, read_signals
from clipaudit.lab.splits import read_split
from clipaudit.seeding import derive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.results import Outcome
    from clipaudit.lab.units import Unit

    Matrix = npt.NDArray[np.float32]

EMBEDDING, IMAGE, CLASSIFIER = "embedding alone", "image alone", "downstream classifier"
"""What the paper compares itself with, by the names of ours: a classifier on the embedding of the
picture, one on the picture, and one on what a downstream classifier says of it."""

_MOST_CLASSES = 10


class Baselines(ExperimentKind):
    """One cell, in which classifiers of the paper are judged beside the inferrers.

    They learn on the shadow side, as the inferrers do, but read something else.
    Source: EncoderMI (Liu et al., CCS 2021), the baselines that it is compared with; for the
    downstream classifier, Salem et al., "ML-Leaks" (NDSS 2019): its highest confidences.
    """

    title = "Inferrers and the paper's baselines"
    setting = "known"
    remark = "Paper: the inferrers beat all three baselines."
    colours: ClassVar = {EMBEDDING: "#8d6a9f", IMAGE: "#c28f2c", CLASSIFIER: "#5f7470"}

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        yield repetition.cell("everything", has_probe=True, has_shadow_probe=True)

    def judge(
        self, cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
    ) -> Iterator[Outcome]:
        """See `ExperimentKind.judge`."""
        yield from super().judge(cell, plan, outputs, kinds)
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]

        def classify(output: Output, method: str, values: Sequence[Matrix]) -> Outcome:
            return _classify(cell, output, method, target, shadow, *values)

        for output in outputs:
            embedded = [read_signals(unit, look_of(unit, output))[1] for unit in (target, shadow)]
            yield classify(output, EMBEDDING, embedded)
            if output == "trunk" and cell.has_probe:  # which is what the classifier reads
                yield classify(output, CLASSIFIER, [_confidences(target), _confidences(shadow)])
        pixels = [_pixels(target), _pixels(shadow)]
        for output in outputs:  # the same for all: it reads no encoder
            yield classify(output, IMAGE, pixels)


def _confidences(unit: Unit) -> Matrix:
    """The highest confidences of each picture, in descending order."""
    confidences = read_probe(unit, None)["confidences"]
    return np.flip(np.sort(confidences, axis=1), axis=1)[:, :_MOST_CLASSES]


def _pixels(unit: Unit) -> Matrix:
    split = read_split(unit.split)
    pixels = split.pixels(split.pictures(unit.role, unit.n_members)[0])
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def _classify(
    cell: Cell,
    output: Output,
    method: str,
    target: Unit,
    shadow: Unit,
    on_target: Matrix,
    on_shadow: Matrix,
) -> Outcome:
    """Judge a network of the size of V's, on whatever it is given."""
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
    return judge_scores(cell, output, method, scores, truth(target), 0.5)
