"""`clipaudit doctor`: what was found, and what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from clipaudit.reports.names import shown

_MARKS = {
    "ok": ("ok", "green"),
    "note": ("note", "dim"),
    "warning": ("warning", "yellow"),
    "problem": ("problem", "bold red"),
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what was found, and what is wrong.

    Opens no connection. Exits with 4 where something that clipaudit needs does not work.
    """
    from clipaudit.doctor import examine

    checks = examine()
    if as_json:
        document = {"schema_version": "1.0", "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(document, indent=2))
    else:
        console = Console()
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark, style = _MARKS[check.state]
            head = Text.assemble((f"{mark:8}", style), (f"{check.name:{width}}  ", "bold"))
            indent = 8 + width + 2
            lines = Text.assemble(head, shown(check.found))
            console.print(lines, soft_wrap=True)
            if check.advice:
                console.print(Padding(Text(f"→ {shown(check.advice)}"), (0, 0, 0, indent)))
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(4)
