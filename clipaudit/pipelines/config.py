"""Configurations of scoring, judging and evaluating: the one place where defaults are written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import UsageError
from clipaudit.features.views import ENCODERMI
from clipaudit.pictures.decoding import Limits
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts.by_control import ALPHA

if TYPE_CHECKING:
    from pathlib import Path

    from clipaudit.features.signals import Similarity
    from clipaudit.pictures.decoding import AnyPath

_LEVELS = Levels()


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """What to score with.

    Attributes:
        encoder: Spec of the target encoder.
        options: How to load the encoder and the references.
        references: Specs of encoders that did not see the pictures. They see the very same views,
            for inferrers that read both; of several, the mean of their signals is read.
        inferrers: Names or folders; empty takes every shipped one that fits.
        every_data_set: Whether to take the shipped inferrers of every shadow data set, and not
            of the best alone.
        n_views: Views per image.
        similarity: Similarity that the inferrers must read; None takes what each of them reads.
        recipe: Recipe of the views, by name and version.
        seed: Seed of the views.
        batch_size: Images per forward pass; None takes what suits the device.
        workers: Processes that decode; None takes one per core, eight at most.
        limit: Stop after so many files.
        use_store: Keep features, and take those that are known.
        strict: Stop at the first file that cannot be scored.
        include_hidden: Look at hidden files in folders too.
        limits: How much one file may cost.
        command: Command line or call that goes into the facts of the run.
    """

    encoder: str = "ViT-B-32/openai"
    options: EncoderOptions = EncoderOptions()
    references: tuple[str, ...] = ()
    inferrers: tuple[str, ...] = ()
    every_data_set: bool = False
    n_views: int = 10
    similarity: Similarity | None = None
    recipe: str = ENCODERMI.id
    seed: int = 0
    batch_size: int | None = None
    workers: int | None = None
    limit: int | None = None
    use_store: bool = True
    strict: bool = False
    include_hidden: bool = False
    limits: Limits = Limits()
    command: str = ""

    def __post_init__(self) -> None:
        if self.n_views < 2:
            raise UsageError(f"{self.n_views} views make no pair", "Pass --views 2 or more.")
        for option, value, least in (
            ("--batch-size", self.batch_size, 1),
            ("--workers", self.workers, 0),
            ("--limit", self.limit, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"{option} {value} is too low", f"Pass {least} or more.")

    @property
    def n_workers(self) -> int:
        """Processes that decode."""
        return min(8, os.cpu_count() or 1) if self.workers is None else self.workers


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
        alpha: Level of the test against the control.
    """

    fpr: float = _LEVELS.fpr
    fnr: float = _LEVELS.fnr
    fdr: float = _LEVELS.fdr
    calibrations: tuple[Path, ...] | None = None
    control: tuple[AnyPath, ...] = ()
    allow_overlap: bool = False
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        for name, most in (("fpr", 1), ("fnr", 1), ("fdr", 1), ("alpha", 0.5)):
            value = getattr(self, name)
            if not 0 < value < most:
                raise UsageError(
                    f"--{name} must be above 0 and below {most:g}, got {value}",
                    f"Pass a share, such as --{name} 0.05.",
                )

    @property
    def levels(self) -> Levels:
        """How often verdicts may be wrong."""
        return Levels(self.fpr, self.fnr, self.fdr)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How a set is evaluated.

    Attributes:
        scoring: What to score it with; its `limit` holds for each side, and where it names no
            inferrer every shipped one that fits is taken, of every shadow data set.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Leave pictures that are on both sides out of both, instead of refusing them.
    """

    scoring: ScoreConfig = ScoreConfig()
    blind: bool = True
    allow_overlap: bool = False
