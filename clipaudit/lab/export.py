"""The best inferrers of a lab, with cards: fitted to all its shadow encoders, judged on targets.

Full knowledge: the shadow encoders are trained as the target encoders are, on other pictures of
the same data set. What the cards say was measured on the target encoders, which no inferrer met.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clipaudit._version import __version__
from clipaudit.encoders.base import EncoderInfo, EncoderOptions, Output
from clipaudit.errors import UsageError
from clipaudit.inferrers.base import Card, Inferrer, Kind, Reads, ShadowFacts, card_name
from clipaudit.inferrers.library import RULES, save
from clipaudit.lab.experiments import judged, look_of, truth
from clipaudit.lab.matrix import FULL, Matrix
from clipaudit.lab.plan import Cell, Plan, setting_of
from clipaudit.lab.results import accuracy, fpr, mean_over_seeds, over_seeds, recall
from clipaudit.lab.units import VIEWS, Unit
from clipaudit.lab.worker import read_signals
from clipaudit.metrics import Estimate, Evidence
from clipaudit.seeding import derive
from clipaudit.shadow.run import ENCODER
from clipaudit.similarity import Float32Array, Similarity, first_views


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What to make, and where.

    Attributes:
        data: Name of the data set in the matrix.
        into: Folder that gets a folder for each inferrer.
        similarities: For each, inferrers of every kind and for every output of the matrix.
        n_views: That they read.
        command: For the cards.
    """

    data: str
    into: Path
    similarities: tuple[Similarity, ...] = ("cosine",)
    n_views: int = 10
    command: str = ""


def export(plan: Plan, matrix: Matrix, config: ExportConfig) -> tuple[Inferrer, ...]:
    """Fit, judge and write inferrers.

    Raises:
        UsageError: The lab has no such encoders, or they are not finished.
        EncoderError: A file of the lab cannot be read.
        FileError: The folder cannot be written to.
    """
    cells = [
        cell
        for cell in plan.cells
        if cell.experiment == f"background-{config.data}" and cell.setting == setting_of(FULL)
    ]
    if not cells:
        raise UsageError(
            f"the matrix {matrix.name} has no experiment of kind background with full knowledge "
            f"on {config.data}",
            "Pass --data-set with a data set that has one.",
        )
    units = [plan.units[key] for cell in cells for key in (cell.target, cell.shadow)]
    unfinished = sum(not unit.is_done for unit in units)
    if unfinished:
        raise UsageError(
            f"{unfinished} of the {len(units)} encoders that are needed are not finished",
            "Run `clipaudit lab run` with the same matrix and folder first.",
        )
    return tuple(
        _export(plan, cells, kind, Reads(similarity, config.n_views, VIEWS, output), config)
        for output in matrix.outputs
        for similarity in config.similarities
        for kind in matrix.kinds
    )


def _export(
    plan: Plan, cells: Sequence[Cell], kind: Kind, reads: Reads, config: ExportConfig
) -> Inferrer:
    shadows = [plan.units[cell.shadow] for cell in cells]
    examples = [
        (_values(unit, reads, draw), truth(unit))
        for unit in shadows
        for draw in sorted({look.draw for look in unit.looks})
    ]
    values = np.concatenate([some for some, _ in examples])
    is_member = np.concatenate([who for _, who in examples])
    rule = RULES[kind].train(values, is_member, derive(0, kind, "lab export") % 2**63)
    threshold = rule.threshold(values, is_member)
    found = []
    for cell in cells:
        target = plan.units[cell.target]
        scores = rule.score(_values(target, reads, 0))
        found.append(judged(cell, reads.output, kind, scores, truth(target), threshold))
    evidence = Evidence(
        accuracy=_known(over_seeds(map(accuracy, found))),
        tpr=_known(over_seeds(map(recall, found))),
        fpr=_known(over_seeds(map(fpr, found))),
        auc=_known(mean_over_seeds((one.auc, one.n) for one in found)),
    )
    first = shadows[0]
    encoders = [_info(unit, reads.output) for unit in shadows]
    card = Card(
        name=card_name(config.data, reads, kind),
        kind=kind,
        reads=reads,
        threshold=threshold,
        shadow=ShadowFacts(
            data=config.data,
            n_members=first.n_members,
            n_nonmembers=first.n_members,
            architecture=first.pretrain.architecture,
            algorithm=first.pretrain.algorithm,
            epochs=first.pretrain.epochs,
            size_px=encoders[0].input.size_px,
            encoder=_fingerprint(encoders),
            n_encoders=len(shadows),
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


def _values(unit: Unit, reads: Reads, draw: int) -> Float32Array:
    """What an inferrer reads of all pictures of a unit, members first."""
    signals, _ = read_signals(unit, replace(look_of(unit, reads.output), draw=draw))
    return first_views(signals, reads.n_views).pairs(reads.similarity)


def _info(unit: Unit, output: Output) -> EncoderInfo:
    from clipaudit.encoders import shadow

    options = EncoderOptions(output=output, device="cpu")
    return shadow.load(str(unit.folder / ENCODER), options).info


def _fingerprint(encoders: Sequence[EncoderInfo]) -> str:
    """Of one, its own; of several, SHA-256 over theirs."""
    if len(encoders) == 1:
        return encoders[0].fingerprint
    return hashlib.sha256("".join(one.fingerprint for one in encoders).encode()).hexdigest()


def _known(figure: Estimate | None) -> Estimate:
    assert figure is not None  # there is a cell, and it has members and non-members
    return figure
