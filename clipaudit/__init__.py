"""clipaudit: were these pictures used to train that image encoder?

>>> import clipaudit
>>> callable(clipaudit.score)
True

The command line is a thin layer on what is here; importing it imports neither torch nor
scikit-learn. See https://en.wikipedia.org/wiki/Membership_inference_attack for the question,
and the README for what an answer can and cannot prove.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from clipaudit import telemetry
from clipaudit._version import __version__
from clipaudit.errors import ClipAuditError

if TYPE_CHECKING:
    from clipaudit.api import (
        Audit,
        BuildConfig,
        Calibrated,
        Calibration,
        Control,
        ControlConfig,
        Evaluation,
        Expectation,
        Lookup,
        PretrainConfig,
        TrainConfig,
        Trained,
        build_eval,
        calibrate,
        control,
        doctor,
        evaluate,
        expect,
        list_encoders,
        list_inferrers,
        lookup,
        merge,
        read,
        score,
        train,
    )

telemetry.switch_off()

__all__ = [
    "Audit",
    "BuildConfig",
    "Calibrated",
    "Calibration",
    "ClipAuditError",
    "Control",
    "ControlConfig",
    "Evaluation",
    "Expectation",
    "Lookup",
    "PretrainConfig",
    "TrainConfig",
    "Trained",
    "__version__",
    "build_eval",
    "calibrate",
    "control",
    "doctor",
    "evaluate",
    "expect",
    "list_encoders",
    "list_inferrers",
    "lookup",
    "merge",
    "read",
    "score",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'clipaudit' has no attribute {name!r}")
    return getattr(import_module("clipaudit.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
