"""`clipaudit expect`: what an audit can be expected to find, before it is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.encoders.expectation import expect as run
from clipaudit.errors import UsageError
from clipaudit.pictures.finding import find_images
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.reports import expectation as report
from clipaudit.reports.tables import plain_text
from clipaudit.text.escaping import as_json

DEFAULT = ScoreConfig()


def expect(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Pictures or folders that would be audited; they are counted and not opened.",
            show_default=False,
        ),
    ] = None,
    *,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", help="The encoder that would be audited.", envvar="CLIPAUDIT_ENCODER"
        ),
    ] = DEFAULT.encoder,
    pictures: Annotated[
        int | None,
        typer.Option(min=1, help="Number of pictures, in the place of paths."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="What it was fine-tuned from, where its own files do not say."),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pictures or pairs that it was trained on, where nothing is published."
        ),
    ] = None,
    style: Annotated[
        Literal["table", "json"],
        typer.Option("--format", "-f", help="What is printed.", rich_help_panel=options.RESULT),
    ] = "table",
) -> None:
    """Say before the run what an audit of an encoder can be expected to find.

    From what is published of its training: which AUC can be hoped for, how many pictures a folder
    needs for a test, and which way to an answer is the most promising: its list, a folder with a
    control, captions, or a fine-tune against its base. Every figure has its source, and where
    nobody knows, that is said. Nothing is loaded and no network used.
    """
    messages.set_up()
    if paths and pictures is not None:
        raise UsageError(
            "both paths and --pictures say how many pictures there are",
            "Name paths, or leave them out and pass --pictures N.",
        )
    n_pictures = _count(paths) if paths else pictures
    found = run(encoder, n_pictures, base=base, n_pairs=pairs)
    if style == "json":
        typer.echo(as_json(report.document(found), indent=2))
        return
    stdout = Console()
    if stdout.is_terminal:
        report.show(found, stdout)
    else:
        typer.echo(plain_text(lambda page: report.show(found, page)), nl=False)


def _count(paths: list[Path]) -> int:
    """Files below the paths that may be pictures.

    Raises:
        UsageError: There is none.
    """
    found = find_images([os.fspath(path) for path in paths], within=paths)
    n_files = sum(file.problem is None for file in found)
    if not n_files:
        raise UsageError(
            "there are no pictures in what was named", "Name others, or pass --pictures N."
        )
    return n_files
