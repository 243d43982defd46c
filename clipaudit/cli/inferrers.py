"""`clipaudit inferrers`: what ships with the package, and what each one's card says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from clipaudit.reports.names import shown

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
    from clipaudit.inferrers import list_inferrers

    cards = list_inferrers()
    if not cards:
        typer.echo("No inferrer came with this package; `clipaudit train` makes some.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in ("name", "reads", "trained on", "accuracy on held-out shadow data"):
        table.add_column(name, overflow="fold")
    for card in cards:
        reads = card.reads
        table.add_row(
            Text(shown(card.name), style="bold"),
            Text(f"{reads.n_views} views, {reads.similarity}, {reads.output}, {reads.recipe}"),
            Text(shown(str(card.shadow))),
            Text(str(card.evidence.accuracy)),
        )
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped one, or the folder of another.")],
) -> None:
    """Print an inferrer's card: what it reads, how it does, and where it fails."""
    from clipaudit.inferrers import find
    from clipaudit.inferrers.card_text import render

    card = render(find(name).card)
    if sys.stdout.isatty():
        Console().print(Markdown(card))
    else:
        typer.echo(card, nl=False)
