"""Options of more than one command; those of scoring come from `ScoringOptions`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from clipaudit.cli.words import command_line
from clipaudit.errors import InputError, UsageError
from clipaudit.pictures.addresses import is_address, with_two_slashes, without_secrets
from clipaudit.pictures.base import AnyPath, BadImage
from clipaudit.pictures.finding import find_images, read_path_list
from clipaudit.pictures.reading import hash_file
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.scoring_options import RUN, Option, described_fields
from clipaudit.reports.formats import Format, endings, listed
from clipaudit.text.escaping import shown

RESULT = "Result"

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Where the file to write is a link, put the file in its place; what it points to "
        "stays.",
        rich_help_panel=RESULT,
    ),
]

PRINTED = typer.Option("--format", "-f", help="What is printed.", rich_help_panel=RESULT)
"""Of the format that is printed; its type lists those that there are."""


def written(formats: Mapping[str, Format]) -> Any:  # typer's own type for it is not public
    """The option for a file to write beside what is printed."""
    return typer.Option(
        "--out",
        "-o",
        help=f"Write a file too: {listed(endings(formats))}, by its ending.",
        rich_help_panel=RESULT,
    )


Details = Annotated[
    bool,
    typer.Option(
        "--details",
        help="Print all facts of the run in the table; they are always in the files.",
        rich_help_panel=RESULT,
    ),
]

Paths = Annotated[
    Literal["names", "relative", "full"],
    typer.Option(
        "--paths",
        help="How an HTML report names files and folders: by name alone, seen from the working "
        "folder, or in full, with the folders of this machine.",
        rich_help_panel=RESULT,
    ),
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no warnings.", rich_help_panel=RUN),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Say what is done; twice: all details.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]


def with_scoring_options(
    **reworded: Mapping[str, Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the scoring options, in the place of its parameter `scoring`.

    That parameter is a `ScoreConfig`, or a dataclass on top of it; the command gets it filled in.

    Args:
        reworded: Field → what this command's help says otherwise, by the fields of `Option`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        config_type = own.parameters["scoring"].annotation
        flags = list(_flags(config_type, reworded))

        @wraps(command)
        def run(ctx: typer.Context, **given: Any) -> None:
            values: dict[str, Any] = {}
            for flag in flags:
                flag.put(given.pop(flag.name), values)
            scoring = config_type(**values, command=command_line(ctx, without_secrets))
            if scoring.offline:  # also for what open_clip and timm do by themselves
                os.environ["HF_HUB_OFFLINE"] = "1"
            command(scoring=scoring, **given)

        parameters = [
            inspect.Parameter(
                "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
            )
        ]
        for name, parameter in own.parameters.items():
            parameters += [flag.parameter for flag in flags] if name == "scoring" else [parameter]
        # typer and docs/make_cli.py read these two.
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # any function takes it
        run.__annotations__ = {known.name: known.annotation for known in parameters}
        return run

    return decorate


@dataclass(frozen=True, slots=True)
class _Flag:
    """An option of the command line, and the field that it fills, or the part of one.

    Attributes:
        field: Name of the field.
        part: Where that is a dataclass, name of the field in it.
        type: Type of the value in the config.
        usual: Default of the field.
        option: How it is presented.
    """

    field: str
    part: str | None
    type: Any
    usual: Any
    option: Option

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.field if self.part is None else f"{self.field}_{self.part}"

    @property
    def parameter(self) -> inspect.Parameter:
        """What typer reads."""
        option = self.option
        info = typer.Option(
            option.name or f"--{(self.part or self.field).replace('_', '-')}",
            help=option.help,
            envvar=list(option.variables) or None,
            min=option.minimum,
            max=option.maximum,
            show_default=option.default or True,
            rich_help_panel=option.panel,
            autocompletion=None if option.values is None else _completing(option.values),
        )
        kind = float if option.unit else self.type
        if self._is_several:
            kind = list[get_args(kind)[0]] | None  # type: ignore[misc]  # the type is a value here
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=self._default_typed,
            annotation=Annotated[kind, info],
        )

    def put(self, typed: Any, values: dict[str, Any]) -> None:
        """Put what was typed among the values of the fields."""
        value = typed
        if typed == self._default_typed:
            value = self._default
        elif self.option.unit:
            value = int(typed * self.option.unit)
        elif self.type is bool:
            value = not self._default
        elif self._is_several:
            value = tuple(typed)
        if self.part is not None:
            value = replace(values.get(self.field, self.usual), **{self.part: value})
        values[self.field] = value

    @property
    def _default(self) -> Any:
        return self.usual if self.part is None else getattr(self.usual, self.part)

    @property
    def _is_several(self) -> bool:
        return get_origin(self.type) is tuple and get_args(self.type)[-1] is Ellipsis

    @property
    def _default_typed(self) -> Any:
        if self.option.unit:
            return round(self._default / self.option.unit, 1)
        if self.type is bool:
            return False  # a flag turns the default round
        return None if self._is_several else self._default


def _flags(
    config_type: type[ScoreConfig], reworded: Mapping[str, Mapping[str, Any]]
) -> Iterator[_Flag]:
    """The options in the order of the help: those without a heading first."""
    flags = []
    usual = config_type()
    for name, (kind, option) in described_fields(config_type).items():
        if is_dataclass(kind):
            kinds = get_type_hints(kind)
            flags += [
                _Flag(name, part, kinds[part], getattr(usual, name), part_option)
                for part, part_option in option.parts.items()
            ]
        elif option.is_typed:
            worded = replace(option, **reworded.get(name, {}))
            flags.append(_Flag(name, None, kind, getattr(usual, name), worded))
    yield from sorted(flags, key=lambda flag: flag.option.panel is not None)


@cache
def _completing(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What typer asks for the values that go on from what was typed."""

    def complete(incomplete: str) -> list[str]:  # a partial function has no types that it reads
        return sorted(value for value in values() if value.startswith(incomplete))

    return complete


def hash_all(paths: Iterable[Path]) -> set[str]:
    """SHA-256 of every file that is named or in a folder that is."""
    hashes = set()
    for found in find_images(paths):
        with suppress(BadImage):
            if found.problem is None:
                hashes.add(hash_file(found.path)[0])
    return hashes


def addresses(paths: Iterable[Path]) -> list[AnyPath]:
    """The paths that were typed, with the addresses among them as they were."""
    return [with_two_slashes(path) for path in paths]


def refuse_addresses(paths: Iterable[Path]) -> None:
    """Raise where an address is named in the place of a file.

    Raises:
        UsageError: There is one; the message names it.
    """
    for address in addresses(paths):
        if is_address(address):
            raise UsageError(
                f"{shown(without_secrets(os.fsdecode(address)))} is an address, and this command "
                "reads files",
                "Download the pictures and name their files; `clipaudit score` and `clipaudit "
                "calibrate` read addresses.",
            )


def read_list(path: Path, option: str, content: str) -> list[str]:
    """Lines of a text file that an option names, or of standard input where that is -.

    Args:
        path: The file.
        option: Name of the option, for the error.
        content: What stands on a line.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        if str(path) == "-":
            return list(read_path_list(sys.stdin.buffer))
        with path.open("rb") as stream:
            return list(read_path_list(stream))
    except OSError as error:
        raise InputError(
            f"cannot read the list {path}: {error.strerror}",
            f"{option} takes a text file with {content} a line, or - for standard input.",
        ) from error
