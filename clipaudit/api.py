"""What `import clipaudit` offers: a twin of every command that gives a result.

Keywords of `score`, `calibrate` and `evaluate` are the fields of
`pipelines.scoring_options.ScoringOptions` and of the dataclass before each function; type checkers,
`help()` and completion see all of them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints

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
from clipaudit.pipelines.config import EvaluateConfig, JudgeConfig, ScoreConfig
from clipaudit.pipelines.control import ControlConfig, pick_control
from clipaudit.pipelines.evaluate import evaluate as run_evaluate
from clipaudit.pipelines.lookup import LookupConfig
from clipaudit.pipelines.lookup import lookup as run_lookup
from clipaudit.pipelines.merge import merge
from clipaudit.pipelines.progress_bar import ProgressBar
from clipaudit.pipelines.score import Progress
from clipaudit.pipelines.scoring_options import ScoringOptions, described_fields
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

Paths = AnyPath | Sequence[AnyPath]
Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Keywords = ParamSpec("Keywords")
Call = TypeVar("Call", bound="ScoringCall")
Result = TypeVar("Result")

_JUDGING = JudgeConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringCall(ScoringOptions):
    """Keywords of every function here, which takes a lone name where a run holds several.

    Attributes:
        references: See `ScoringOptions`.
        methods: See `ScoringOptions`.
        inferrers: See `ScoringOptions`.
        on_progress: Called after every batch, from the calling thread; None draws a bar where
            somebody looks, in a notebook or on a terminal.
    """

    references: str | Sequence[str] = ()  # type: ignore[assignment]  # a run holds a tuple
    methods: str | Sequence[str] = ()  # type: ignore[assignment]  # a run holds a tuple
    inferrers: Names = ()  # type: ignore[assignment]  # a run holds a tuple of names
    on_progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Leave all checks to `config`, which has several names where one was given."""

    @property
    def progress(self) -> Callable[[Progress], None]:
        """What is called after every batch."""
        return self.on_progress or ProgressBar()

    def config(self, command: str) -> ScoreConfig:
        """What the pipelines take."""
        values = {option.name: getattr(self, option.name) for option in fields(ScoringOptions)}
        values |= {name: _names(values[name]) for name in _NAMED}
        return ScoreConfig(**values, command=command)


def _several(paths: Paths) -> tuple[AnyPath, ...]:
    return (paths,) if isinstance(paths, str | bytes | os.PathLike) else tuple(paths)


def _names(names: Names) -> tuple[str, ...]:
    several = [names] if isinstance(names, str | os.PathLike) else names
    return tuple(os.fspath(name) for name in several)


def _text(function: str, paths: Paths | None, given: dict[str, Any], encoder: str) -> str:
    """The call as it can be typed again, with the first of several paths alone.

    Args:
        function: Its name.
        paths: Its first argument, if it was given.
        given: Parameter → argument, for the others that were given.
        encoder: The encoder, which is named even where it was not given.
    """
    several = () if paths is None else _several(paths)
    arguments = [] if paths is None else ["[]"]
    if several:
        arguments = [repr(several[0]) if len(several) == 1 else f"[{several[0]!r}, …]"]
    words = {"encoder": encoder, **dict.fromkeys(_NAMED, ())} | given
    words.pop("on_progress", None)
    for name, as_tuple in _TUPLES.items():
        if name in words:
            words[name] = as_tuple(words[name])
    arguments += [f"{name}={value!r}" for name, value in words.items() if value != ()]
    return f"clipaudit.{function}({', '.join(arguments)})"


_NAMED = ("references", "methods", "inferrers")
"""Keywords that take a name, or several."""

_TUPLES: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    **dict.fromkeys(_NAMED, _names),
    "control": _several,
    "members": _several,
    "nonmembers": _several,
}


def _documentation(function: Callable[..., object], keywords: type[ScoringCall]) -> str:
    """The docstring of a function, with its parameters and then the options that all share."""
    summary, returns, rest = (inspect.getdoc(function) or "").partition("Returns:")
    own = (inspect.getdoc(keywords) or "").partition("Attributes:\n")[2]
    options = described_fields(ScoringOptions) | described_fields(keywords)
    lines = [
        f"    {name}: {option.meaning or option.help}" for name, (_, option) in options.items()
    ]
    lines += ["    on_progress: Called after every batch; None draws a bar where somebody looks."]
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
            paths = given.pop(next(iter(signature.parameters)), None)
            text = _text(name, paths, given, values.encoder)
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
        control=_several(call.control),
        allow_overlap=call.allow_overlap,
        alpha=call.alpha,
        n_seeds=call.n_seeds,
        series=call.series,
    )
    config = call.config(command)
    if call.shard is not None:
        config = replace(config, shard=str(Shard.read(call.shard)))
    return audit(_several(call.paths), config, how, call.progress)


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
    sides = _several(call.nonmembers), _several(call.members)
    return run_calibrate(*sides, call.config(command), call.progress)


def control(
    suspects: Paths, pile: Paths, folder: Path | str, config: ControlConfig | None = None
) -> Control:
    """Pick pictures of a pile that match suspects; `clipaudit control`, see `pick_control`."""
    return pick_control(_several(suspects), _several(pile), Path(folder), config or ControlConfig())


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
    named = named_set(call.folder, _several(call.members), _several(call.nonmembers))
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
    lists = tuple(Path(os.fsdecode(path)) for path in _several(metadata))
    config = LookupConfig(
        metadata=lists,
        urls=tuple(urls),
        domains=tuple(domains),
        columns=columns or {},
        phash_bits=phash_bits,
        include_hidden=include_hidden,
        command=f"clipaudit.lookup(…, metadata={[str(path) for path in lists]})",
    )
    return run_lookup([os.fsdecode(path) for path in _several(paths)], config)


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
