"""Write docs/cli.md from what `--help` is made of: `python docs/make_cli.py`.

With `--check` it writes nothing and exits with 1 where the page is stale. It reads the functions
of the commands, not the screen, whose look changes with every version of typer.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[1]))

import typer
from typer.models import ArgumentInfo, OptionInfo

from clipaudit.cli.app import COMMANDS, EXIT_CODES

PAGE = Path(__file__).with_name("cli.md")

HEAD = """# The command line

Made by `python docs/make_cli.py` from what `--help` is made of; a test fails when it is stale.
From Python the same is in `import clipaudit`. What the files hold: [schemas](schemas/README.md).

`clipaudit --version` prints the version, `clipaudit COMMAND --help` the help of a command,
`clipaudit --install-completion` makes the shell complete words. A variable of the environment
gives the value of an option that is not given.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_exit_codes()]
    for name, (where, summary) in COMMANDS.items():
        module, _, attribute = where.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            parts += [f"## `clipaudit {name}`", "", inspect.cleandoc(str(found.info.help)), ""]
            for command in found.registered_commands:
                assert command.callback is not None
                below = command.name or command.callback.__name__
                parts += _command(f"### `clipaudit {name} {below}", command.callback)
                parts += [f"{command.epilog}\n"] if command.epilog else []
        else:
            assert (inspect.getdoc(found) or "").startswith(summary)
            parts += _command(f"## `clipaudit {name}", found)
    return "\n".join(parts).rstrip("\n") + "\n"


def _exit_codes() -> Iterator[str]:
    title, *lines = EXIT_CODES.strip().splitlines()
    yield f"## {title.rstrip(':')}\n\n| Code | Means |\n|---|---|"
    for line in lines:
        code, _, meaning = line.strip().partition(" ")
        yield f"| {code} | {meaning.strip()} |"
    yield ""


def _command(title: str, function: Callable[..., Any]) -> Iterator[str]:
    parameters = [
        (name, _bare(annotation), info, default)
        for name, annotation, info, default in _parameters(function)
    ]
    arguments = [
        f"[{name.upper()}]{'...' if get_origin(annotation) is list else ''}"
        if default is not inspect.Parameter.empty
        else name.upper()
        for name, annotation, info, default in parameters
        if isinstance(info, ArgumentInfo)
    ]
    yield " ".join([title, *arguments]) + "`"
    yield ""
    yield inspect.getdoc(function) or ""
    yield ""
    for name, _, info, _ in parameters:
        if isinstance(info, ArgumentInfo):
            yield f"`{name.upper()}`: {info.help}"
            yield ""
    panel = None
    for name, annotation, info, default in parameters:
        if not isinstance(info, OptionInfo):
            continue
        if panel != (panel := info.rich_help_panel or "Options"):
            yield f"\n| {panel} | Default | |\n|---|---|---|"
        words = ", ".join(f"`{word}`" for word in _words(name, annotation, info))
        shown = f"{words} {_values(annotation, info)}".strip()
        variables = [info.envvar] if isinstance(info.envvar, str) else info.envvar or []
        named = f" Variable: {', '.join(f'`{one}`' for one in variables)}." if variables else ""
        yield f"| {shown} | {_default(default, info)} | {info.help}{named} |"
    yield ""


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if get_origin(hints[name]) is Annotated:
            annotation, info = get_args(hints[name])
            yield name, annotation, info, parameter.default


def _bare(annotation: Any) -> Any:
    """The type without its None."""
    if isinstance(annotation, UnionType) or str(get_origin(annotation)) == "typing.Union":
        return next(one for one in get_args(annotation) if one is not type(None))
    return annotation


def _words(name: str, annotation: Any, info: OptionInfo) -> list[str]:
    given = [info.default, *(info.param_decls or ())]  # typer takes the first as a default
    if words := [word for word in given if isinstance(word, str) and word.startswith("-")]:
        return words
    word = name.replace("_", "-")
    return [f"--{word}", f"--no-{word}"] if annotation is bool else [f"--{word}"]


def _values(annotation: Any, info: OptionInfo) -> str:
    if annotation is bool or info.count:
        return ""
    if get_origin(annotation) is Literal:
        return " \\| ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return " ".join("N" for _ in get_args(annotation))
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return {int: "N", float: "X", Path: "PATH", str: "TEXT"}.get(inner, "")


def _default(default: Any, info: OptionInfo) -> str:
    if isinstance(info.show_default, str):
        return info.show_default
    if default is inspect.Parameter.empty:
        return "required"
    if default is None or default is False or info.count or default == ():
        return ""
    if isinstance(default, list | tuple):
        return ", ".join(f"`{one}`" for one in default)
    return f"`{default}`"


def main() -> None:
    """Write the page, or compare it."""
    fresh = page()
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh
        sys.exit("docs/cli.md is stale: python docs/make_cli.py" if stale else 0)
    PAGE.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
