"""Keywords of a Python call → the configuration of a run, and the call as text for its facts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints

from clipaudit.pictures.addresses import is_address, without_secrets
from clipaudit.pictures.base import AnyPath
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.progress_bar import ProgressBar
from clipaudit.pipelines.score import Progress
from clipaudit.pipelines.scoring_options import ScoringOptions, described_fields

Paths = AnyPath | Sequence[AnyPath]
Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Keywords = ParamSpec("Keywords")
Call = TypeVar("Call", bound="ScoringCall")
Result = TypeVar("Result")


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


def several(paths: Paths) -> tuple[AnyPath, ...]:
    """The paths, of which one may have been given alone."""
    return (paths,) if isinstance(paths, str | bytes | os.PathLike) else tuple(paths)


def _without_secrets(paths: Paths) -> tuple[AnyPath, ...]:
    return tuple(
        without_secrets(os.fsdecode(path)) if is_address(path) else path for path in several(paths)
    )


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
    named = () if paths is None else _without_secrets(paths)
    arguments = [] if paths is None else ["[]"]
    if named:
        arguments = [repr(named[0]) if len(named) == 1 else f"[{named[0]!r}, …]"]
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
    "control": _without_secrets,
    "members": _without_secrets,
    "nonmembers": _without_secrets,
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
