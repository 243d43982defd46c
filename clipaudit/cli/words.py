"""Words that were typed: those that an option takes, and the whole line."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, TypeVar

from clipaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import typer

Word = TypeVar("Word", bound=str)


def among(words: list[str], allowed: tuple[Word, ...], option: str) -> tuple[Word, ...]:
    """The given words as the ones that are allowed, in the order given, none twice.

    Raises:
        UsageError: One is not allowed; the message names the option.
    """
    known: dict[str, Word] = {word: word for word in allowed}
    for word in words:
        if word not in known:
            raise UsageError(f"{option} {word} is not known", f"Choose among {', '.join(allowed)}.")
    return tuple(known[word] for word in dict.fromkeys(words))


def either(words: Iterable[str]) -> str:
    """Words to choose among.

    >>> either(["V", "S", "T"])
    'V, S or T'
    """
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def command_line(ctx: typer.Context, rewrite: Callable[[str], str] = str) -> str:
    """The command as it was typed, for cards and results that say how to repeat them.

    Args:
        ctx: Where the command runs.
        rewrite: What each word becomes.
    """
    return shlex.join(map(rewrite, ctx.obj or ("clipaudit", *sys.argv[1:])))
