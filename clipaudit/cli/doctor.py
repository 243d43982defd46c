"""`clipaudit doctor`: what was found, and what is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipaudit._version import SCHEMA_VERSION
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.pipelines.doctor import Check

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "problem": "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what was found, and what is wrong.

    Opens no connection. Exits with 4 where something that clipaudit needs does not work.
    """
    from clipaudit.pipelines.doctor import examine

    checks = examine()
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(document, indent=2))
    else:
        show(checks)
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(4)


def show(checks: Sequence[Check]) -> None:
    """A line a check, its advice below; wrapped on a terminal alone."""
    if not sys.stdout.isatty():
        width = max(len(check.name) for check in checks)
        for check in checks:
            typer.echo(f"{check.state:8}{check.name:{width}}  {shown(check.found)}")
            if check.advice:
                typer.echo(f"{'':{8 + width}}  → {shown(check.advice)}")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for check in checks:
        text = Text(shown(check.found))
        if check.advice:
            text.append(f"\n→ {shown(check.advice)}")
        grid.add_row(Text(check.state, style=_STYLES[check.state]), check.name, text)
    Console().print(grid)
