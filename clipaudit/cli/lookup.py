"""`clipaudit lookup`: is this picture in a published pre-training list?"""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.cli.words import command_line
from clipaudit.errors import InputError, UsageError
from clipaudit.listings.columns import parse_columns
from clipaudit.pictures.base import Limits
from clipaudit.pipelines.lookup import LookupConfig
from clipaudit.pipelines.lookup import lookup as run
from clipaudit.reports import formats as reports
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit.pipelines.lookup import Step

DEFAULT = LookupConfig(metadata=())

if TYPE_CHECKING:
    Style = str
else:
    Style = Literal[reports.printable(reports.LOOKUP)]

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
    max_megapixels: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=100_000,
            help="Larger pictures, and files of more than four bytes for each of so many pixels "
            "(no less than 100 MB), are looked up by their hashes alone, and not decoded.",
        ),
    ] = round(DEFAULT.limits.max_pixels / 1e6, 1),
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
            max=100_000_000,
            help="Megabytes that the search may take; more for lists in large row groups.",
            rich_help_panel=_LISTS,
        ),
    ] = DEFAULT.memory_mb,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress, no warnings.", rich_help_panel=_RESULT),
    ] = False,
    style: Annotated[Style, options.PRINTED] = "table",
    out: Annotated[Path | None, options.written(reports.LOOKUP)] = None,
    force: options.Force = False,
) -> None:
    """Say whether pictures are in a published list of training pictures, and which rows name them.

    A list is the metadata of LAION, DataComp, CommonPool, COYO, CC12M, YFCC100M or the like, on
    this machine. Pictures are found by web address, Flickr photo id, SHA-256 or MD5 of the file,
    or perceptual hash: by whatever the list has. Nothing leaves this machine.

    Listed does not mean trained on, and not listed does not mean the contrary.
    `clipaudit encoders show SPEC` says which list belongs to an encoder.
    """
    if out is not None:
        reports.check_destination(out, reports.LOOKUP, force=force)
    config = LookupConfig(
        metadata=tuple(metadata),
        urls=_addresses(urls) if urls is not None else (),
        domains=tuple(domain or ()),
        columns=parse_columns(columns) if columns is not None else {},
        phash_bits=phash_bits,
        memory_mb=memory,
        include_hidden=include_hidden,
        limits=_limits(max_megapixels),
        command=command_line(ctx),
    )
    if not (paths or config.urls or config.domains):
        raise UsageError(
            "there is nothing to look up",
            "Name pictures, folders or web addresses; or --urls LIST, or --domain example.org.",
        )
    console = messages.set_up(quiet=quiet)
    with _progress(console, quiet=quiet) as on_step:
        result = run(paths or [], config, on_step)
    deliver(result, style, [partial(reports.write, result, out)] if out else [])
    if result.answers and len(result.with_status("skipped")) == len(result) and not result.sites:
        reasons = result.skip_reasons().items()
        counts = ", ".join(f"{n:,} {shown(reason.replace('_', ' '))}" for reason, n in reasons)
        raise InputError(
            f"nothing that was asked for could be compared: {counts}",
            "The result says of each why. Name other pictures or addresses.",
        )


def _limits(max_megapixels: float) -> Limits:
    """The default, to the pixel, where the option was left at what the help shows for it."""
    if max_megapixels == round(DEFAULT.limits.max_pixels / 1e6, 1):
        return DEFAULT.limits
    if not math.isfinite(max_megapixels):
        raise UsageError(
            f"--max-megapixels must be a number, got {max_megapixels:g}",
            "Pass millions of pixels, such as --max-megapixels 400.",
        )
    return Limits(max_pixels=int(max_megapixels * 1e6))


def _addresses(path: Path) -> tuple[str, ...]:
    lines = options.read_list(path, "--urls", "a web address")
    return tuple(line.strip() for line in lines if line.strip())


@contextmanager
def _progress(console: Console, *, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A line that says how far it is, on a terminal alone."""
    if quiet or not console.is_terminal:
        yield lambda _step: None
        return
    with console.status("opening the lists") as status:

        def show(step: Step) -> None:
            if step.stage == "reading":
                status.update(f"{count(step.done, 'picture')} read")
            else:
                status.update(f"searching file {step.done + 1:,} of {step.total:,}")

        yield show
