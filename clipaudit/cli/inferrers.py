"""`clipaudit inferrers`: what ships with the package, and what each one's card says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from clipaudit.inferrers.base import Card, Reads

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List the inferrers, and show their cards.",
)


@app.callback(invoke_without_command=True)
def inferrers(ctx: typer.Context) -> None:
    """List them where no command is given."""
    if ctx.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """List the inferrers that come with the package."""
    from clipaudit.inferrers.library import list_inferrers

    cards = list_inferrers()
    if not cards:
        typer.echo("No inferrer came with this package; `clipaudit train` makes some.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True)
    table.add_column("output", no_wrap=True)
    table.add_column("reads")
    table.add_column("accuracy, 95 % interval")
    for card in cards:
        accuracy = card.evidence.accuracy
        table.add_row(
            Text(shown(card.name), style="bold"),
            card.reads.output,
            _reads(card.reads),
            f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})",
        )
    console = Console()
    console.print(table)
    for where in dict.fromkeys(_where(card) for card in cards):
        console.print(Text(shown(where)))
    console.print(
        "On another encoder expect more errors: `clipaudit inferrers show NAME` says why."
    )


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


def _where(card: Card) -> str:
    """What the figures of a card were measured on; one line serves all cards of one run."""
    n, reads = card.evidence.accuracy.n, card.reads
    references = count(card.shadow.n_references, "reference")
    views = f"{reads.n_views} views of recipe {reads.recipe}" if reads.n_views else "no views"
    note = f" Beside {references}." if reads.has_reference else ""
    return (
        f"Accuracy with {count(n, 'picture')}, on {card.judged_on}. Trained on {card.shadow}. "
        f"Each reads {views}.{note}"
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped one, or the folder of another.")],
) -> None:
    """Print an inferrer's card: what it reads, how it does, and where it fails."""
    from clipaudit.inferrers.card_text import render
    from clipaudit.inferrers.library import find

    card = render(find(name).card)
    if sys.stdout.isatty():
        Console().print(Markdown(card))
    else:
        typer.echo(card, nl=False)
