"""What `import clipaudit` offers: `score`, `calibrate` and `evaluate`.

Their keywords are the fields of `pipelines.scoring_options.ScoringOptions` and of the dataclass
before each function; type checkers, `help()` and completion see all of them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

from clipaudit.pictures.base import AnyPath
from clipaudit.pipelines.audit import audit
from clipaudit.pipelines.calibrate import Calibrated
from clipaudit.pipelines.calibrate import calibrate as run_calibrate
from clipaudit.pipelines.config import EvaluateConfig, JudgeConfig, ScoreConfig
from clipaudit.pipelines.evaluate import evaluate as run_evaluate
from clipaudit.pipelines.score import Progress
from clipaudit.pipelines.scoring_options import ScoringOptions, described_fields
from clipaudit.results.audit import Audit
from clipaudit.results.evaluation import Evaluation
from clipaudit.verdicts.series import By

Paths = AnyPath | Sequence[AnyPath]
Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Keywords = ParamSpec("Keywords")
Call = TypeVar("Call", bound="ScoringCall")
Result = TypeVar("Result")

_JUDGING = JudgeConfig()


def _ignore(progress: Progress) -> None:
    """Do nothing after a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringCall(ScoringOptions):
    """Keywords of every function here, which takes a lone name where a run holds several.

    Attributes:
        references: See `ScoringOptions`.
        inferrers: See `ScoringOptions`.
        on_progress: Called after every batch, from the calling thread.
    """

    references: str | Sequence[str] = ()  # type: ignore[assignment]  # a run holds a tuple
    inferrers: Names = ()  # type: ignore[assignment]  # a run holds a tuple of names
    on_progress: Callable[[Progress], None] = _ignore

    def config(self, command: str) -> ScoreConfig:
        """What the pipelines take."""
        values = {option.name: getattr(self, option.name) for option in fields(ScoringOptions)}
        values |= {name: _names(values[name]) for name in ("references", "inferrers")}
        return ScoreConfig(**values, command=command)


def _several(paths: Paths) -> tuple[AnyPath, ...]:
    return (paths,) if isinstance(paths, str | bytes | os.PathLike) else tuple(paths)


def _names(names: Names) -> tuple[str, ...]:
    several = [names] if isinstance(names, str | os.PathLike) else names
    return tuple(os.fspath(name) for name in several)


def _text(function: str, paths: Sequence[AnyPath], given: dict[str, Any], encoder: str) -> str:
    """The call as it can be typed again, with the first of several paths alone.

    Args:
        function: Its name.
        paths: Its first argument.
        given: Parameter → argument, for the others that were given.
        encoder: The encoder, which is named even where it was not given.
    """
    shown = "[]"
    if paths:
        shown = repr(paths[0]) if len(paths) == 1 else f"[{paths[0]!r}, …]"
    words = {"encoder": encoder, "references": (), "inferrers": ()} | given
    words.pop("on_progress", None)
    for name, as_tuple in _TUPLES.items():
        if name in words:
            words[name] = as_tuple(words[name])
    named = ", ".join(f"{name}={value!r}" for name, value in words.items() if value != ())
    return f"clipaudit.{function}({shown}, {named})"


_TUPLES: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "references": _names,
    "inferrers": _names,
    "control": _several,
    "members": _several,
}


def _documentation(function: Callable[..., object], keywords: type[ScoringCall]) -> str:
    """The docstring of a function, with its parameters and then the options that all share."""
    summary, returns, rest = (inspect.getdoc(function) or "").partition("Returns:")
    own = (inspect.getdoc(keywords) or "").partition("Attributes:\n")[2]
    options = described_fields(ScoringOptions) | described_fields(keywords)
    lines = [
        f"    {name}: {option.meaning or option.help}" for name, (_, option) in options.items()
    ]
    lines.append("    on_progress: Called after every batch, from the calling thread.")
    return "\n".join((f"{summary}Args:", own, *lines, "", returns + rest))


def called_with(
    keywords: Callable[Keywords, Call],  # a class, whose fields mypy reads in this guise
) -> Callable[[Callable[[Call, str], Result]], Callable[Keywords, Result]]:
    """Give a function the fields of a dataclass as its parameters.

    The function itself gets the dataclass, and the call as text for the facts of the run.
    """
    assert isinstance(keywords, type)
    signature = inspect.signature(keywords)
    types = get_type_hints(keywords)
    parameters = [
        parameter.replace(annotation=types[name])
        for name, parameter in signature.parameters.items()
    ]

    def decorate(function: Callable[[Call, str], Result]) -> Callable[Keywords, Result]:
        name = function.__name__

        @wraps(function)
        def call(*args: Keywords.args, **kwargs: Keywords.kwargs) -> Result:
            if unknown := kwargs.keys() - signature.parameters.keys():
                raise TypeError(f"clipaudit.{name} has no option {', '.join(sorted(unknown))}")
            values = keywords(*args, **kwargs)
            given: dict[str, Any] = dict(zip(signature.parameters, args, strict=False)) | kwargs
            paths = given.pop(next(iter(signature.parameters)))
            text = _text(name, _several(paths), given, values.encoder)
            return function(values, text)

        # Read by help() and by whatever completes names.
        call.__signature__ = signature.replace(  # type: ignore[attr-defined]  # any function takes it
            parameters=parameters, return_annotation=get_type_hints(function)["return"]
        )
        call.__doc__ = _documentation(function, keywords)
        return call

    return decorate


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


@called_with(ScoreCall)
def score(call: ScoreCall, command: str) -> Audit:
    """Score pictures against an encoder; the same as `clipaudit score` without the printing.

    Returns:
        Rows in the order in which files were found; `to_dicts()` and `to_pandas()` flatten them.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.audit.audit`.
        TypeError: There is no such option.
    """
    files = None if call.calibrations is None else tuple(map(Path, call.calibrations))
    how = JudgeConfig(
        fpr=call.fpr,
        fnr=call.fnr,
        fdr=call.fdr,
        calibrations=files,
        control=_several(call.control),
        allow_overlap=call.allow_overlap,
        alpha=call.alpha,
        n_seeds=call.n_seeds,
        series=call.series,
    )
    return audit(_several(call.paths), call.config(command), how, call.on_progress)


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
    nonmembers, members = _several(call.nonmembers), _several(call.members)
    return run_calibrate(nonmembers, members, call.config(command), call.on_progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateCall(ScoringCall):
    """Parameters of `evaluate`.

    Attributes:
        folder: Holds `members/` and `nonmembers/`, as `clipaudit build-eval` makes it.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Count pictures that are among members and non-members on neither side,
            where they are an error otherwise.
    """

    folder: AnyPath = field(kw_only=False)
    blind: bool = True
    allow_overlap: bool = False


@called_with(EvaluateCall)
def evaluate(call: EvaluateCall, command: str) -> Evaluation:
    """Say how well inferrers tell known members from known non-members; see `docs/evaluate.md`.

    Where no inferrer is named, every shipped one that fits is tried, of every shadow data set, and
    `limit` holds for each side.

    Returns:
        Figures of each inferrer, and whether the set is confounded.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.evaluate.evaluate`.
        TypeError: There is no such option.
    """
    config = EvaluateConfig(call.config(command), call.blind, call.allow_overlap)
    return run_evaluate(call.folder, config, call.on_progress)
