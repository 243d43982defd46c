"""The best inferrers of a lab, with cards: fitted to all its shadow encoders, judged on targets.

Full knowledge: the shadow encoders are trained as the target encoders are, on other pictures of
the same data set. What the cards say was measured on the target encoders, which no inferrer met.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clipaudit._version import __version__
from clipaudit.encoders.base import EncoderInfo, Output
from clipaudit.errors import UsageError
from clipaudit.features.signals import Float32Array, Similarity
from clipaudit.inferrers import find_rule, forms, reads_of
from clipaudit.inferrers.base import (
    Card,
    Inferrer,
    Kind,
    Reads,
    ShadowFacts,
    card_name,
)
from clipaudit.inferrers.library import save
from clipaudit.lab.cells import Cell, Plan
from clipaudit.lab.experiments import experiment_kind
from clipaudit.lab.judging import judge_scores, look_of, references_of, truth
from clipaudit.lab.knowledge import FULL, setting_of
from clipaudit.lab.matrix import Matrix
from clipaudit.lab.measurements import encoder_folder, features
from clipaudit.lab.results import accuracy, fpr, mean_over_seeds, over_seeds, recall
from clipaudit.lab.units import VIEWS, Unit
from clipaudit.seeding import derive
from clipaudit.shadow.training_folder import load
from clipaudit.statistics.metrics import Estimate, Evidence


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What to make, and where.

    Attributes:
        data: Name of the data set in the matrix.
        into: Folder that gets a folder for each inferrer.
        similarities: Similarities, for each of which every kind is made on every output.
        n_views: Views that they read.
        kinds: Kinds of the inferrers; None takes those of the matrix.
        has_reference: Whether they read the lab's reference encoders too.
        experiment: Kind of the experiment whose encoders they are made of; None takes `background`,
            or `reference` where they read one.
        usual_views: Number of views that their names leave out; None leaves out any.
        command: Command that the cards name.
    """

    data: str
    into: Path
    similarities: tuple[Similarity, ...] = ("cosine",)
    n_views: int = 10
    kinds: tuple[Kind, ...] | None = None
    has_reference: bool = False
    experiment: str | None = None
    usual_views: int | None = None
    command: str = ""

    def wanted(self, matrix: Matrix) -> tuple[tuple[Kind, Reads], ...]:
        """The inferrers, each with what it reads.

        Raises:
            UsageError: One of that kind does not exist with or without a reference.
        """
        inferrers = []
        recipe = experiment_kind(self.experiment).recipe if self.experiment else VIEWS
        for output in matrix.outputs:
            for similarity in self.similarities:
                for kind in self.kinds or matrix.kinds:
                    if self.has_reference not in forms(kind, has_reference=True):
                        raise UsageError(
                            f"{kind} exists {'without' if self.has_reference else 'with'} a "
                            "reference alone",
                            f"{'Drop' if self.has_reference else 'Pass'} --with-reference, or name "
                            "other kinds with --kind.",
                        )
                    views = self.n_views, recipe, output
                    reads = reads_of(kind, similarity, *views, has_reference=self.has_reference)
                    inferrers.append((kind, reads))
        return tuple(dict.fromkeys(inferrers))


def export(plan: Plan, matrix: Matrix, config: ExportConfig) -> tuple[Inferrer, ...]:
    """Fit, judge and write inferrers.

    Raises:
        UsageError: The lab has no such encoders, or they are not finished.
        EncoderError: A file of the lab cannot be read.
        FileError: The folder cannot be written to.
    """
    wanted = config.wanted(matrix)
    cells = _cells(plan, config)
    if not cells:
        usual = "reference" if config.has_reference else "background with full knowledge"
        kind = config.experiment or usual
        raise UsageError(
            f"the matrix {matrix.name} has no experiment of kind {kind} on {config.data}",
            "Pass --data-set with a data set that has one.",
        )
    units = [
        plan.units[key] for cell in cells for key in (cell.target, cell.shadow, *cell.references)
    ]
    unfinished = sum(not unit.is_done for unit in units)
    if unfinished:
        raise UsageError(
            f"{unfinished} of the {len(units)} encoders that are needed are not finished",
            "Run `clipaudit lab run` with the same matrix and folder first.",
        )
    return tuple(_export(plan, cells, kind, reads, config) for kind, reads in wanted)


def _cells(plan: Plan, config: ExportConfig) -> list[Cell]:
    """Cells of full knowledge, one or more a seed, and references."""
    if config.experiment:
        name = f"{config.experiment}-{config.data}"
        own = [cell for cell in plan.cells if cell.experiment == name]
        return experiment_kind(config.experiment).exported(own, plan)
    background, reference = f"background-{config.data}", f"reference-{config.data}"
    full = [
        cell
        for cell in plan.cells
        if cell.experiment == background and cell.setting == setting_of(FULL)
    ]
    if full and not config.has_reference:
        return full
    by_seed = {cell.seed: cell for cell in plan.cells if cell.experiment == reference}
    return list(by_seed.values())


def _export(
    plan: Plan, cells: Sequence[Cell], kind: Kind, reads: Reads, config: ExportConfig
) -> Inferrer:
    def values_of(unit: Unit, cell: Cell, draw: int) -> Float32Array:
        """What an inferrer reads of all pictures of an encoder of a cell, members first."""
        references = references_of(unit, cell, plan) if reads.has_reference else []
        look = replace(look_of(unit, reads.output, cell.epoch, reads.recipe), draw=draw)
        return features(unit, look, reads, references)

    shadows = list({cell.shadow: plan.units[cell.shadow] for cell in cells}.values())
    examples = [
        (values_of(plan.units[cell.shadow], cell, draw), truth(plan.units[cell.shadow]))
        for cell in cells
        for draw in plan.units[cell.shadow].draws
    ]
    values = np.concatenate([part for part, _ in examples])
    is_member = np.concatenate([labels for _, labels in examples])
    rule = find_rule(kind).train(values, is_member, derive(0, kind, "lab export") % 2**63)
    threshold = rule.threshold(values, is_member)
    found = []
    for cell in cells:
        target = plan.units[cell.target]
        scores = rule.score(values_of(target, cell, 0))
        found.append(judge_scores(cell, reads.output, kind, scores, truth(target), threshold))
    evidence = Evidence(
        accuracy=_known(over_seeds(map(accuracy, found))),
        tpr=_known(over_seeds(map(recall, found))),
        fpr=_known(over_seeds(map(fpr, found))),
        auc=_known(mean_over_seeds((outcome.auc, outcome.n) for outcome in found)),
    )
    first = shadows[0]
    encoders = [_info(unit, reads.output) for unit in shadows]
    card = Card(
        name=card_name(config.data, reads, kind, config.usual_views),
        kind=kind,
        reads=reads,
        threshold=threshold,
        shadow=ShadowFacts(
            data=config.data,
            n_members=first.n_members,
            n_nonmembers=first.n_members,
            architecture=_listed(unit.pretrain.architecture for unit in shadows),
            algorithm=first.pretrain.algorithm,
            epochs=first.pretrain.epochs,
            size_px=encoders[0].input.size_px,
            encoder=_fingerprint(encoders),
            n_encoders=len(shadows),
            n_references=len(references_of(first, cells[0], plan)) if reads.has_reference else 0,
        ),
        evidence=evidence,
        n_fitted=sum(len(truth(unit)) for unit in shadows),
        seed=0,
        command=config.command,
        created=datetime.now(UTC).date().isoformat(),
        clipaudit_version=__version__,
        n_targets=len(cells),
    )
    return save(Inferrer(card, rule), config.into / card.name)


def _info(unit: Unit, output: Output) -> EncoderInfo:
    return load(encoder_folder(unit), output, "cpu").info


def _listed(words: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def _fingerprint(encoders: Sequence[EncoderInfo]) -> str:
    """Fingerprint of one encoder, or SHA-256 over those of several."""
    if len(encoders) == 1:
        return encoders[0].fingerprint
    return hashlib.sha256("".join(encoder.fingerprint for encoder in encoders).encode()).hexdigest()


def _known(figure: Estimate | None) -> Estimate:
    assert figure is not None  # there is a cell, and it has members and non-members
    return figure
