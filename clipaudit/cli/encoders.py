"""`clipaudit encoders`: what can be named after `--encoder`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.errors import EncoderError
from clipaudit.reports.names import shown


def encoders(
    search: Annotated[
        str | None,
        typer.Option("--search", "-s", help="Words that the name or the training data holds."),
    ] = None,
) -> None:
    """List the encoders that can be audited.

    These have published weights, which are downloaded when they are first used. Through a pipe
    a line is the name, its default output and its training data, with tabs between.

    Files and folders need no list: MODEL/CHECKPOINT, hf-hub:ORG/NAME, local-dir:FOLDER,
    onnx:FILE, torch-export:FILE, torchscript:FILE, state-dict:FILE.
    """
    from clipaudit.encoders.catalog import list_encoders

    console = messages.set_up()
    found = list_encoders(search)
    if not found:
        raise EncoderError(
            f"no encoder looks like {search!r}",
            "Leave out --search to list all, or take fewer letters.",
        )
    if search and not _holds(f"{found[0].spec} {found[0].note}", search):
        console.print(Text(f"none holds {shown(search)}; the nearest are:"), style="dim")
    if not sys.stdout.isatty():
        for entry in found:
            typer.echo(f"{shown(entry.spec)}\t{entry.output}\t{shown(entry.note)}")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("encoder", overflow="fold")
    table.add_column("output")
    table.add_column("trained on", overflow="fold", style="dim")
    for entry in found:
        table.add_row(Text(shown(entry.spec), style="bold"), entry.output, Text(shown(entry.note)))
    Console().print(table)


def _holds(text: str, words: str) -> bool:
    return all(word in text.lower() for word in words.lower().split())
