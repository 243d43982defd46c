"""`clipaudit lookup`: is this picture in a published pre-training list?"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from clipaudit.cli import messages
from clipaudit.cli.words import command_line
from clipaudit.errors import ClipAuditError, InputError, UsageError
from clipaudit.listings.columns import parse_columns
from clipaudit.pictures.finding import read_path_list
from clipaudit.pipelines.lookup import LookupConfig
from clipaudit.pipelines.lookup import lookup as run
from clipaudit.reports import formats as reports
from clipaudit.reports.lookup import files as lookup_files
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit.pipelines.lookup import Step
    from clipaudit.results.lookup import Lookup

DEFAULT = LookupConfig(metadata=())

Style = Literal["table", "json", "jsonl", "csv"]

_LISTS = "Lists"
_RESULT = "Result"


def lookup(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures, folders of them, and web addresses (https://…), which are compared "
            "and never visited.",
            show_default=False,
        ),
    ] = None,
    *,
    urls: Annotated[
        Path | None,
        typer.Option(
            help="A text file with a web address a line, or - for standard input.",
            allow_dash=True,
        ),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(
            help="Count the rows from a site and all below it, such as example.org; may be "
            "repeated."
        ),
    ] = None,
    include_hidden: Annotated[
        bool, typer.Option("--include-hidden", help="Hidden files and folders too.")
    ] = DEFAULT.include_hidden,
    metadata: Annotated[
        list[Path],
        typer.Option(
            "--metadata",
            "-m",
            help="A list: Parquet, TSV or CSV files, or folders of them; may be repeated.",
            rich_help_panel=_LISTS,
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            help="What columns hold where that cannot be told: url=URL,sha256=SHA; in a file "
            "without a header by number, from 1.",
            rich_help_panel=_LISTS,
        ),
    ] = None,
    phash_bits: Annotated[
        int,
        typer.Option(
            help="Of the 64 bits of a perceptual hash, how many may differ.",
            rich_help_panel=_LISTS,
        ),
    ] = DEFAULT.phash_bits,
    memory: Annotated[
        int,
        typer.Option(
            help="Megabytes that the search may take; more for lists in large row groups.",
            rich_help_panel=_LISTS,
        ),
    ] = DEFAULT.memory_mb,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress, no warnings.", rich_help_panel=_RESULT),
    ] = False,
    style: Annotated[
        Style,
        typer.Option("--format", "-f", help="What is printed.", rich_help_panel=_RESULT),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write a file too: .csv, .json, .jsonl or .parquet, by its ending.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
) -> None:
    """Say whether pictures are in a published list of training pictures, and which rows name them.

    A list is the metadata of LAION, DataComp, CommonPool, COYO, CC12M, YFCC100M or the like, on
    this machine. Pictures are found by web address, Flickr photo id, SHA-256 or MD5 of the file,
    or perceptual hash: by whatever the list has. Nothing leaves this machine.

    Listed does not mean trained on, and not listed does not mean the contrary.
    `clipaudit encoders show SPEC` says which list belongs to an encoder.
    """
    if out is not None:
        reports.check_destination(out, lookup_files.ENDINGS)
    config = LookupConfig(
        metadata=tuple(metadata),
        urls=tuple(_lines(urls)) if urls is not None else (),
        domains=tuple(domain or ()),
        columns=parse_columns(columns) if columns is not None else {},
        phash_bits=phash_bits,
        memory_mb=memory,
        include_hidden=include_hidden,
        command=command_line(ctx),
    )
    if not (paths or config.urls or config.domains):
        raise UsageError(
            "nothing is asked for",
            "Name pictures, folders or web addresses; or --urls LIST, or --domain example.org.",
        )
    console = messages.set_up(quiet=quiet)
    with _progress(console, quiet=quiet) as on_step:
        found = run(paths or [], config, on_step)
    _deliver(found, style, out)
    if found.answers and len(found.with_status("skipped")) == len(found) and not found.sites:
        reasons = found.skip_reasons().items()
        counts = ", ".join(f"{n:,} {shown(reason.replace('_', ' '))}" for reason, n in reasons)
        raise InputError(
            f"nothing that was asked for could be compared: {counts}",
            "The result says of each why. Name other pictures or addresses.",
        )


def _lines(path: Path) -> list[str]:
    """The lines of a file, or of standard input, that are not empty."""
    try:
        if str(path) == "-":
            lines = list(read_path_list(sys.stdin.buffer))
        else:
            with path.open("rb") as stream:
                lines = list(read_path_list(stream))
    except OSError as error:
        raise InputError(
            f"cannot read the list {path}: {error.strerror}",
            "--urls takes a text file with a web address a line, or - for standard input.",
        ) from error
    return [line.strip() for line in lines if line.strip()]


@contextmanager
def _progress(console: Console, *, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A line that says how far it is, on a terminal alone."""
    if quiet or not console.is_terminal:
        yield lambda _step: None
        return
    with console.status("opening the lists") as status:

        def show(step: Step) -> None:
            if step.stage == "reading":
                status.update(f"{step.done:,} pictures read")
            else:
                status.update(f"searching file {step.done + 1:,} of {step.total:,}")

        yield show


def _deliver(found: Lookup, style: Style, out: Path | None) -> None:
    """Write the file and print the result: where one fails, the other is still there."""
    from clipaudit.reports.lookup import table as lookup_table

    failure = None
    if out is not None:
        try:
            lookup_files.write(found, out)
        except ClipAuditError as error:
            failure = error
    if style == "table" and sys.stdout.isatty():
        lookup_table.show(found, Console())
    else:
        lookup_files.dump(found, style, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    if failure is not None:
        raise failure
