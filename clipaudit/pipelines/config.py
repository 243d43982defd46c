"""Configurations of scoring, judging and evaluating: the one place where defaults are written."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import UsageError
from clipaudit.pipelines.scoring_options import ScoringOptions
from clipaudit.statistics.conformal import SMALLEST_LEVEL, Levels
from clipaudit.verdicts.by_control import ALPHA
from clipaudit.verdicts.series import WAYS, By

if TYPE_CHECKING:
    from pathlib import Path

    from clipaudit.pictures.base import AnyPath

_LEVELS = Levels()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig(ScoringOptions):
    """What to score with, and what only the pipelines know of.

    Attributes:
        every_data_set: Of shipped inferrers that fit, whether to take those of every shadow data
            set, and not of the best alone; `shadow` leaves one.
        command: The command or call, for the facts of the run.
        shard: Which part of the files to take, such as `2/5`; None takes all. `limit` comes first.
    """

    every_data_set: bool = False
    command: str = ""
    shard: str | None = None

    @property
    def n_workers(self) -> int:
        """Processes that decode."""
        return min(8, os.cpu_count() or 1) if self.workers is None else self.workers

    @property
    def options(self) -> EncoderOptions:
        """How to load the encoder, and the references."""
        names = {known.name for known in fields(EncoderOptions)}
        return EncoderOptions(
            **{mine.name: getattr(self, mine.name) for mine in fields(self) if mine.name in names}
        )


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """How scores become verdicts.

    Attributes:
        fpr: Share of the non-members that may be called members.
        fnr: Share of the members that may be called non-members.
        fdr: Share of non-members, on average, among the pictures that are picked out of all.
        calibrations: Files of calibrations; None takes those in the cache folder that fit.
        control: Files and folders of pictures of the same kind that cannot have been in the
            training set.
        allow_overlap: Leave pictures out of the control that are among the suspects, where they
            are an error otherwise.
        alpha: Level of the test against the control, at most 0.05.
        n_seeds: Seeds whose scores are averaged for the test against the control, from `seed` on.
            Each takes as long as the whole run.
        series: How pictures are known to be of one series, which count together in that test.
    """

    fpr: float = _LEVELS.fpr
    fnr: float = _LEVELS.fnr
    fdr: float = _LEVELS.fdr
    calibrations: tuple[Path, ...] | None = None
    control: tuple[AnyPath, ...] = ()
    allow_overlap: bool = False
    alpha: float = ALPHA
    n_seeds: int = 1
    series: By = "likeness"

    def __post_init__(self) -> None:
        if self.n_seeds < 1:
            raise UsageError(
                f"--seeds must be at least 1, got {self.n_seeds}", "Pass a number such as 3."
            )
        if self.series not in WAYS:
            raise UsageError(
                f"--series must be one of {', '.join(WAYS)}, got {self.series}", "Pass one of them."
            )
        for name, most in (("fpr", 1), ("fnr", 1), ("fdr", 1), ("alpha", 1)):
            value = getattr(self, name)
            if 0 < value < SMALLEST_LEVEL:
                raise UsageError(
                    f"--{name} must be at least {SMALLEST_LEVEL:g}, got {value}",
                    "No set of pictures is large enough for less.",
                )
            if not 0 < value < most:
                raise UsageError(
                    f"--{name} must be above 0 and below {most:g}, got {value}",
                    f"Pass a share, such as --{name} 0.05.",
                )
        if self.alpha > ALPHA:
            raise UsageError(
                f"--alpha must be at most {ALPHA:g}, got {self.alpha}",
                "At a higher level chance alone would too often pass for evidence; the p-value in "
                "the result says how near it came.",
            )

    @property
    def levels(self) -> Levels:
        """How often verdicts may be wrong."""
        return Levels(self.fpr, self.fnr, self.fdr)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How a set is evaluated.

    Attributes:
        scoring: What to score it with; its `limit` holds for each side; where it names no
            inferrer, those of every shadow data set are taken, and where it names no method
            either, all methods that fit.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Leave pictures that are on both sides out of both, instead of refusing them.
    """

    scoring: ScoreConfig = ScoreConfig()
    blind: bool = True
    allow_overlap: bool = False
