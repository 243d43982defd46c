"""`clipaudit inferrers`: the methods, what ships of each, and what each one's card says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.inferrers.base import Card, Reads
    from clipaudit.inferrers.methods import Method

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List the methods and the inferrers that ship, and show their cards.",
)

_READS_FROM, _REACHED_FROM, _PASSES_FROM = 120, 76, 50
_OUTPUT_FROM, _FIGURES_FROM = 70, 84
"""Widths from which on a table has these columns; below them they leave, in this order."""


@app.callback(invoke_without_command=True)
def inferrers(ctx: typer.Context) -> None:
    """List the methods where no command is given."""
    if ctx.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    folders: Annotated[
        bool, typer.Option("--folders", help="Every shipped inferrer, as --inferrer takes it.")
    ] = False,
) -> None:
    """List the methods that --method takes, or every inferrer that comes with the package."""
    from clipaudit.inferrers.library import list_inferrers
    from clipaudit.inferrers.methods import shipped_methods

    cards = list_inferrers()
    if not cards:
        typer.echo("No inferrer came with this package; `clipaudit train` makes some.")
        return
    console = Console()
    if folders:
        console.print(_folders(cards, console.width))
        console.print(
            "On another encoder expect more errors: `clipaudit inferrers show NAME` says why."
        )
        return
    console.print(_methods(shipped_methods(), console.width))
    if console.width >= _REACHED_FROM:
        console.print(
            "reached: pictures that were called rightly, on encoders that saw so many pictures so "
            "often; elsewhere, by its kind, on encoders that were made otherwise. On yours nobody "
            "knows: `clipaudit calibrate` tells.",
            highlight=False,
        )
    console.print(
        "`clipaudit inferrers show METHOD` has the figures, and says where it is the default; "
        "`clipaudit inferrers list --folders` lists what ships.",
        highlight=False,
    )


def _methods(methods: tuple[Method, ...], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("method", no_wrap=True)
    table.add_column("needs", no_wrap=True)
    if width >= _PASSES_FROM:
        table.add_column("passes", no_wrap=True, justify="right")
    if width >= _REACHED_FROM:
        table.add_column("reached")
    if width >= _READS_FROM:
        table.add_column("reads", max_width=30)
    for method in methods:
        name = Text(method.name, style="bold")
        cells = (method.needs, method.passes, method.reached, method.brief)
        table.add_row(name, *cells[: len(table.columns) - 1])
    return table


def _folders(cards: list[Card], width: int) -> Table:
    from clipaudit.inferrers.card_text import measured_line

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=width >= _OUTPUT_FROM, overflow="fold")
    if width >= _OUTPUT_FROM:
        table.add_column("output", no_wrap=True)
    if width >= _FIGURES_FROM:
        table.add_column("measured", min_width=20)
    if width >= _READS_FROM:
        table.add_column("reads", max_width=20)
    for card in cards:
        name = Text(shown(card.name), style="bold")
        cells = (card.reads.output, shown(measured_line(card)), _reads(card.reads))
        table.add_row(name, *cells[: len(table.columns) - 1])
    return table


def _reads(reads: Reads) -> str:
    """What an inferrer reads, in a few words."""
    what = {
        "similarities": reads.similarity,
        "norm": "length",
        "summary": f"{reads.similarity}, lengths",
        "caption": "caption, lengths",
        "caption-loss": "caption",
    }[reads.what]
    return f"{what}, reference" if reads.has_reference else what


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A method, the name of a shipped inferrer, or the folder of another.",
            metavar="NAME",
        ),
    ],
) -> None:
    """Print what is known of a method, or an inferrer's card: how it does, and where it fails."""
    from clipaudit.inferrers.card_text import render
    from clipaudit.inferrers.library import find
    from clipaudit.inferrers.methods import shipped_methods

    method = next((method for method in shipped_methods() if method.name == name), None)
    if method is not None:
        _show_method(method, Console())
        return
    card = render(find(name).card)
    if sys.stdout.isatty():
        Console().print(Markdown(card))
    else:
        typer.echo(card, nl=False)


def _show_method(method: Method, console: Console) -> None:
    console.print(Text(method.name, style="bold"))
    for line in _about(method):
        console.print(line, highlight=False, markup=False)
    for card in method.cards:
        console.print()
        console.print(Text(shown(card.name), style="bold"))
        for line in _figures(card):
            console.print(Padding(Text(shown(line)), (0, 0, 0, 2)))


def _about(method: Method) -> Iterator[str]:
    from clipaudit.inferrers.methods import DEFAULTS

    yield f"{method.about}."
    yield f"Needs {method.needs}; {method.passes} forward passes of the encoder a picture."
    for default in DEFAULTS:
        if default.method == method.name:
            yield f"The default where a run has {default.offer}: {default.reason}."
    yield (
        "Figures are of encoders that were made to know the truth, and tell little of another: "
        "`clipaudit calibrate` measures yours, `clipaudit expect` says what to hope for."
    )


def _figures(card: Card) -> Iterator[str]:
    from clipaudit.inferrers.card_text import measured_line

    reads = card.reads
    views = f"{reads.n_views} views of recipe {reads.recipe}" if reads.n_views else "no views"
    yield f"reads {_reads(reads)}, the {reads.output} output; {views}"
    yield f"learned from {card.shadow}"
    yield measured_line(card)
