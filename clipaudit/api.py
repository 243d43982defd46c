"""What `import clipaudit` offers: a twin of every command that gives a result.

Keywords of `score`, `calibrate` and `evaluate` are the fields of
`pipelines.scoring_options.ScoringOptions` and of the dataclass before each function; type checkers,
`help()` and completion see all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders.expectation import Expectation
from clipaudit.encoders.expectation import expect as run_expect
from clipaudit.errors import extra_imports
from clipaudit.evaluation_sets.reading import named_set
from clipaudit.evaluation_sets.request import BuildConfig
from clipaudit.pictures.base import AnyPath
from clipaudit.pictures.near_duplicates import MOST_BITS
from clipaudit.pictures.sharding import Shard
from clipaudit.pipelines.audit import audit
from clipaudit.pipelines.calibrate import Calibrated
from clipaudit.pipelines.calibrate import calibrate as run_calibrate
from clipaudit.pipelines.calling import Paths, ScoringCall, called_with, several
from clipaudit.pipelines.config import EvaluateConfig, JudgeConfig
from clipaudit.pipelines.control import ControlConfig, pick_control
from clipaudit.pipelines.evaluate import evaluate as run_evaluate
from clipaudit.pipelines.lookup import LookupConfig
from clipaudit.pipelines.lookup import lookup as run_lookup
from clipaudit.pipelines.merge import merge
from clipaudit.pipelines.train import Trained
from clipaudit.pipelines.train import train as run_train
from clipaudit.pipelines.train_config import TrainConfig
from clipaudit.results.audit import Audit
from clipaudit.results.control import Control
from clipaudit.results.evaluation import Evaluation
from clipaudit.results.lookup import Lookup
from clipaudit.shadow.config import PretrainConfig
from clipaudit.statistics.calibration import Calibration
from clipaudit.verdicts.series import By

if TYPE_CHECKING:
    from clipaudit.encoders.catalog import EncoderEntry
    from clipaudit.inferrers.base import Card
    from clipaudit.pipelines.build_eval import Built
    from clipaudit.pipelines.doctor import Check

__all__ = [
    "Audit",
    "BuildConfig",
    "Calibrated",
    "Calibration",
    "Control",
    "ControlConfig",
    "Evaluation",
    "Expectation",
    "Lookup",
    "PretrainConfig",
    "TrainConfig",
    "Trained",
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

_JUDGING = JudgeConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCall(ScoringCall):
    """Parameters of `score`.

    Attributes:
        paths: Files or folders.
        control: Files or folders of the same kind that cannot have been in the training set, for
            a verdict on all pictures as a set: `audit.comparison`.
        allow_overlap: Leave pictures that are among the suspects out of the control, where they
            are an error otherwise.
        calibrations: Files of calibrations; None takes those of `calibrate` that fit, and an
            empty list none.
        fpr: Share of the non-members that a calibration may call members.
        fnr: Share of the members that it may call non-members.
        fdr: Share of non-members, on average, among the pictures that are picked out of all.
        alpha: Level of the test against the control.
        n_seeds: Seeds, from `seed` on, whose scores are averaged for that test; each takes as long
            as the whole run.
        series: How pictures are known to be of one series, which count together in that test:
            `likeness`, `folder` or `none`.
        shard: Which part of the files to take, such as `2/5`; `merge` puts the parts together.
    """

    paths: Paths = field(kw_only=False)
    control: Paths = ()
    allow_overlap: bool = _JUDGING.allow_overlap
    calibrations: Sequence[str | os.PathLike[str]] | None = None
    fpr: float = _JUDGING.fpr
    fnr: float = _JUDGING.fnr
    fdr: float = _JUDGING.fdr
    alpha: float = _JUDGING.alpha
    n_seeds: int = _JUDGING.n_seeds
    series: By = _JUDGING.series
    shard: str | None = None


@called_with(ScoreCall)
def score(call: ScoreCall, command: str) -> Audit:
    """Score pictures against an encoder; the same as `clipaudit score` without the printing.

    Returns:
        Rows in the order in which files were found; `to_dicts()` and `to_pandas()` flatten them.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.audit.audit`.
        TypeError: There is no such option.
    """
    how = JudgeConfig(
        fpr=call.fpr,
        fnr=call.fnr,
        fdr=call.fdr,
        calibrations=None if call.calibrations is None else tuple(map(Path, call.calibrations)),
        control=several(call.control),
        allow_overlap=call.allow_overlap,
        alpha=call.alpha,
        n_seeds=call.n_seeds,
        series=call.series,
    )
    config = call.config(command)
    if call.shard is not None:
        config = replace(config, shard=str(Shard.read(call.shard)))
    return audit(several(call.paths), config, how, call.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateCall(ScoringCall):
    """Parameters of `calibrate`.

    Attributes:
        nonmembers: Files or folders of pictures that the encoder cannot have been trained on.
        members: The same of pictures that it was trained on, where some are known.
    """

    nonmembers: Paths = field(kw_only=False)
    members: Paths = field(default=(), kw_only=False)


@called_with(CalibrateCall)
def calibrate(call: CalibrateCall, command: str) -> Calibrated:
    """Learn from known non-members how high scores run by chance; `score` uses it from then on.

    Returns:
        A calibration an inferrer, and the file where each is kept.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.calibrate.calibrate`.
        TypeError: There is no such option.
    """
    sides = several(call.nonmembers), several(call.members)
    return run_calibrate(*sides, call.config(command), call.progress)


def control(
    suspects: Paths, pile: Paths, folder: Path | str, config: ControlConfig | None = None
) -> Control:
    """Pick pictures of a pile that match suspects; `clipaudit control`, see `pick_control`."""
    return pick_control(several(suspects), several(pile), Path(folder), config or ControlConfig())


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateCall(ScoringCall):
    """Parameters of `evaluate`.

    Attributes:
        folder: Holds `members/` and `nonmembers/`, as `clipaudit build-eval` makes it.
        members: Without such a folder, files, folders or tar shards of members.
        nonmembers: The same of non-members.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Count pictures that are among members and non-members on neither side,
            where they are an error otherwise.
    """

    folder: AnyPath | None = field(default=None, kw_only=False)
    members: Paths = ()
    nonmembers: Paths = ()
    blind: bool = True
    allow_overlap: bool = False


@called_with(EvaluateCall)
def evaluate(call: EvaluateCall, command: str) -> Evaluation:
    """Say how well inferrers tell known members from known non-members; see `docs/evaluate.md`.

    Where no method and no inferrer is named, every shipped one that fits is tried, of every shadow
    data set; `limit` holds for each side.

    Returns:
        Figures of each inferrer, and whether the set is confounded.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.evaluate.evaluate`.
        TypeError: There is no such option.
    """
    named = named_set(call.folder, several(call.members), several(call.nonmembers))
    config = EvaluateConfig(call.config(command), call.blind, call.allow_overlap)
    return run_evaluate(named, config, call.progress)


def expect(
    encoder: str,
    n_pictures: int | None = None,
    *,
    base: str | None = None,
    n_pairs: int | None = None,
) -> Expectation:
    """What an audit of an encoder can be expected to find, before it is run; see `docs/expect.md`.

    Args:
        encoder: The encoder, as for `score`.
        n_pictures: Pictures at hand.
        base: What it was fine-tuned from, where its own files do not say.
        n_pairs: Pictures or pairs that it was trained on, where nothing is published.

    Returns:
        The AUC to hope for, the pictures that a folder needs, and the ways to an answer.

    Raises:
        ClipAuditError: There is no such encoder.
    """
    return run_expect(encoder, n_pictures, base=base, n_pairs=n_pairs)


def lookup(
    paths: Paths = (),
    *,
    metadata: Paths,
    urls: Sequence[str] = (),
    domains: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    phash_bits: int = MOST_BITS,
    include_hidden: bool = False,
) -> Lookup:
    """Say whether pictures are in published lists of training pictures; `clipaudit lookup`.

    Args:
        paths: Pictures, folders of them, and web addresses, which are compared and never visited.
        metadata: Lists: Parquet, TSV or CSV files, or folders of them.
        urls: More web addresses.
        domains: Sites whose rows are counted.
        columns: Role → name of the column that has it, where that cannot be told.
        phash_bits: Of the 64 bits of a perceptual hash, how many may differ.
        include_hidden: Hidden files and folders too.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.lookup.lookup`.
    """
    lists = tuple(Path(os.fsdecode(path)) for path in several(metadata))
    config = LookupConfig(
        metadata=lists,
        urls=tuple(urls),
        domains=tuple(domains),
        columns=columns or {},
        phash_bits=phash_bits,
        include_hidden=include_hidden,
        command=f"clipaudit.lookup(…, metadata={[str(path) for path in lists]})",
    )
    return run_lookup([os.fsdecode(path) for path in several(paths)], config)


def train(config: TrainConfig) -> Trained:
    """Train a shadow encoder, and inferrers of your own on it; `clipaudit train`.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.train.train`.
    """
    return run_train(config)


def build_eval(config: BuildConfig) -> Built:
    """Build an evaluation set, or go on with one; `clipaudit build-eval`.

    Raises:
        MissingExtraError: The extra `crawl` is not installed.
        ClipAuditError: As `clipaudit.pipelines.build_eval.build`.
    """
    with extra_imports("clipaudit.build_eval"):
        from clipaudit.pipelines.build_eval import build
    return build(config)


def read(path: str | os.PathLike[str]) -> Audit:
    """A result that was saved as .json or .jsonl; `clipaudit report` is `read(a).save(b)`.

    Raises:
        InputError: It is no saved result, or damaged.
    """
    from clipaudit.reports.audit import saved

    return saved.read(Path(path))


def list_encoders(search: str | None = None) -> list[EncoderEntry]:
    """The encoders that can be audited by name; `clipaudit encoders`."""
    from clipaudit.encoders import catalog

    return catalog.list_encoders(search)


def list_inferrers() -> list[Card]:
    """Cards of the inferrers that come with the package; `clipaudit inferrers`."""
    from clipaudit.inferrers import library

    return list(library.list_inferrers())


def doctor() -> tuple[Check, ...]:
    """What was found on this machine, and what is wrong; `clipaudit doctor`."""
    from clipaudit.pipelines.doctor import examine

    return examine()
