"""The kinds of experiments that a matrix can name: a module each, and a line in one table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from clipaudit.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from clipaudit.lab.experiments.base import ExperimentKind

EXPERIMENTS = {
    "background": "clipaudit.lab.experiments.background:Background",
    "algorithms": "clipaudit.lab.experiments.algorithms:Algorithms",
    "views": "clipaudit.lab.experiments.views:Views",
    "similarity": "clipaudit.lab.experiments.similarity:Similarities",
    "target-size": "clipaudit.lab.experiments.target_size:TargetSize",
    "shadow-size": "clipaudit.lab.experiments.shadow_size:ShadowSize",
    "augmentations": "clipaudit.lab.experiments.augmentations:Augmentations",
    "epochs": "clipaudit.lab.experiments.epochs:Epochs",
    "baselines": "clipaudit.lab.experiments.baselines:Baselines",
    "networks": "clipaudit.lab.experiments.networks:Networks",
    "clip": "clipaudit.lab.experiments.clip:Clip",
    "fine-tune": "clipaudit.lab.experiments.fine_tune:FineTune",
    "reference": "clipaudit.lab.experiments.reference:Reference",
}
"""Class of each kind by its name in a matrix; a module is imported at first use."""


def experiment_kind(name: str) -> ExperimentKind:
    """A kind of experiment by its name in a matrix.

    Raises:
        InputError: There is none of that name.
    """
    if name not in EXPERIMENTS:
        raise InputError(
            f"there is no kind of experiment called {name}",
            did_you_mean(name, EXPERIMENTS, f"Choose one of {', '.join(EXPERIMENTS)}."),
        )
    module, _, kind = EXPERIMENTS[name].partition(":")
    return cast("ExperimentKind", getattr(import_module(module), kind)())
