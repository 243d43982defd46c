"""Values that were typed, whatever the option: what no command has to ask itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from clipaudit.files import NoHomeError, expand_home

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 2**63


def check_values(command: Any) -> None:
    """Have every parameter of a command, and of those below it, read by `read_value`."""
    for parameter in _parameters(command):
        if parameter.callback is None:
            parameter.callback = read_value


def read_value(ctx: typer.Context, parameter: Any, value: Any) -> Any:
    """The value with the user's home in the place of `~`, which no shell expands after `=`.

    Raises:
        typer.BadParameter: It is a number that no computer works with, or not finite.
        NoHomeError: There is no home folder.
    """
    if isinstance(value, list | tuple):
        return type(value)(read_value(ctx, parameter, item) for item in value)
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).parts[:1] == ("~",)):
        return type(value)(_expand(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number.", ctx=ctx, param=parameter)
    if isinstance(value, int | float) and not -_LARGEST <= value < _LARGEST:
        raise typer.BadParameter(f"{value:.3g} is too large.", ctx=ctx, param=parameter)
    return value


def _expand(path: str | Path) -> Path:
    try:
        return expand_home(path)
    except NoHomeError as error:
        raise NoHomeError(hint=f"Write {str(path)!r} in full, without ~.") from error


# Any: the types are those of the Click that typer carries inside, which has no public name.
def _parameters(command: Any) -> Iterator[Any]:
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from _parameters(below)
