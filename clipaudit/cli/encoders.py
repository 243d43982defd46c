"""`clipaudit encoders`: what can be named after `--encoder`, and what it was trained on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.encoders.spec import DEFAULT_SCHEME, SCHEMES, find_scheme, parse
from clipaudit.errors import EncoderError, did_you_mean
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.encoders.training_data import TrainingFacts

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List the encoders that can be audited.\n\n`show` says what is known of the training "
    "data of one, `references` which others could stand beside it.",
)

_NAMELESS = ", ".join(f"{name}:{row.takes}" for name, row in SCHEMES.items() if row.takes)
FILES_AND_FOLDERS = f"Files and folders need no list: MODEL/CHECKPOINT, {_NAMELESS}."

Search = Annotated[
    str | None,
    typer.Option("--search", "-s", help="Words that the name or the training data holds."),
]


@app.callback(invoke_without_command=True)
def encoders(ctx: typer.Context, search: Search = None) -> None:
    """List them where no command is given."""
    if ctx.invoked_subcommand is None:
        list_(search)


@app.command("list", epilog=FILES_AND_FOLDERS)
def list_(search: Search = None) -> None:
    """List the encoders that can be audited; the same as without a command.

    These have published weights, which are downloaded when they are first used. Through a pipe
    a line is the name, its default output, its training data, its cut-off (the first day that is
    certainly not in the training data, where that is known) and "captions" where the encoder has
    a text tower that embeds them, with tabs between.
    """
    from clipaudit.encoders.catalog import list_encoders

    console = messages.set_up()
    entries = list_encoders(search)
    if not entries:
        raise EncoderError(
            f"no encoder looks like {search!r}",
            "Leave out --search to list all, or take fewer letters.",
        )
    if search and not _holds(f"{entries[0].spec} {entries[0].note}", search):
        console.print(Text(f"none holds {shown(search)}; the nearest are:"), style="dim")
    if not sys.stdout.isatty():
        for entry in entries:
            captions = "captions" if entry.has_text_tower else ""
            cells = (shown(entry.spec), entry.output, shown(entry.note), _day(entry.cutoff))
            typer.echo("\t".join((*cells, captions)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("encoder", overflow="fold")
    table.add_column("output")
    table.add_column("captions")
    table.add_column("trained on", overflow="fold", style="dim")
    table.add_column("cut-off", style="dim", no_wrap=True)
    for entry in entries:
        name = Text(shown(entry.spec), style="bold")
        captions = "yes" if entry.has_text_tower else ""
        table.add_row(name, entry.output, captions, Text(shown(entry.note)), _day(entry.cutoff))
    Console().print(table)


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help="An encoder, as --encoder takes it.")],
) -> None:
    """Show what is published about an encoder's training data, and how it can be tested.

    Its list of training pictures serves `clipaudit lookup`, and `clipaudit build-eval` as true
    members. The cut-off is the first day that is certainly not in the training data.
    """
    from clipaudit.encoders.training_data import training_facts

    messages.set_up()
    name_of_weights = _published_name(spec)
    facts = training_facts(name_of_weights)
    if not sys.stdout.isatty():
        for name, text in _facts(name_of_weights, facts):
            typer.echo(f"{name}: {shown(text)}")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    last = ""
    for name, text in _facts(name_of_weights, facts):
        style = "bold" if name == "encoder" else ""
        grid.add_row("" if name == last else name, Text(shown(text), style=style))
        last = name
    Console().print(grid)


@app.command()
def references(
    spec: Annotated[str, typer.Argument(help="An encoder, as --encoder takes it.")],
    base: Annotated[
        str | None,
        typer.Option(help="What it was fine-tuned from, where its files do not say."),
    ] = None,
) -> None:
    """List encoders that could serve as --reference, and what could spoil each.

    A reference is like the encoder, and was not trained on the pictures in question: the base of a
    fine-tune, an encoder of the same architecture with another list of training pictures, an
    earlier checkpoint. Only files on this machine are read. `--reference auto` takes the first
    that is here. Through a pipe a line is the name, `here` or `elsewhere`, why it could serve, and
    what could spoil it, with tabs between.
    """
    from clipaudit.encoders.references import find_references

    console = messages.set_up()
    found = find_references(spec, base)
    if not found:
        console.print(
            Text(f"nothing is known that could stand beside {shown(spec)}; see --base"), style="dim"
        )
    if not sys.stdout.isatty():
        for reference in found:
            where = "here" if reference.is_here else "elsewhere"
            cells = (reference.spec, where, reference.reason, " ".join(reference.caveats))
            typer.echo("\t".join(map(shown, cells)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("reference", overflow="fold", ratio=2)
    table.add_column("here", no_wrap=True)
    table.add_column("why, and what could spoil it", overflow="fold", ratio=5)
    for reference in found:
        style = "yellow" if reference.is_spoilt else "dim"
        reasons = Text.assemble(
            shown(reference.reason), (f"\n{shown(' '.join(reference.caveats))}", style)
        )
        name = Text(shown(reference.spec), style="bold")
        table.add_row(name, "yes" if reference.is_here else "", reasons)
    Console().print(table)


def _facts(spec: str, facts: TrainingFacts) -> Iterator[tuple[str, str]]:
    from clipaudit.encoders.text_towers import has_text_tower
    from clipaudit.encoders.training_length import training_length

    yield "encoder", spec
    if "-quickgelu/" in spec:
        yield "note", "trained with QuickGELU; `--encoder` takes the weights by this name"
    if has_text_tower(spec):
        yield "captions", "embedded too, by its text tower"
    else:
        yield "captions", "not embedded: it has no text tower"
    yield "trained on", facts.about or "unknown: nothing is published under this name"
    if facts.n_pairs is not None:
        yield "size", f"{facts.n_pairs:,} pictures or pairs in the data set"
    length = training_length(spec)
    if length.n_seen is not None:
        times = f", each {length.epochs:.3g} times on average" if length.epochs else ""
        yield "seen", f"{length.n_seen:,} in all{times}: {length.basis}"
    else:
        yield "seen", length.basis
    yield "members", facts.members or "no list is published"
    if facts.others is not None:
        yield "non-members", facts.others
    yield "as a test", facts.quality
    yield "cut-off", f"{_day(facts.cutoff) or 'unknown'}: {facts.basis}"
    if facts.files is not None:
        wanted = "./images" if facts.has_hashes else "--urls addresses.txt"
        yield "try", f"clipaudit lookup {wanted} --metadata {facts.files}"
    if facts.files is not None and facts.other_files is not None:
        lists = f"--from-metadata {facts.files} --nonmembers-from {facts.other_files}"
        yield "try", f"clipaudit build-eval {lists}"
    elif facts.cutoff is not None:
        newer = f"--nonmembers after-cutoff --encoder {spec}"
        yield "try", f"clipaudit build-eval --keywords cifar10 --source flickr {newer}"


def _published_name(spec: str) -> str:
    """The name under which `--encoder` takes what a spec means.

    Raises:
        EncoderError: It is in no list: a slip is not to be taken for an unknown encoder.
    """
    from clipaudit.encoders.published_names import names_at_release
    from clipaudit.encoders.training_data import is_file

    scheme, name = parse(spec)
    if not find_scheme(scheme).published or is_file(name):
        return spec
    wanted = name if scheme == DEFAULT_SCHEME else f"{scheme}:{name}"
    spellings = [wanted]
    model, slash, tag = wanted.partition("/")
    if scheme == DEFAULT_SCHEME and slash:
        clean = tag.lower().replace("-", "_")  # as open_clip reads tags
        spellings += [f"{model}/{clean}", f"{model}-quickgelu/{clean}"]
    known = names_at_release()
    if not known.intersection(spellings):
        known |= _names_of_libraries()
    for spelling in spellings:
        if spelling in known:
            return spelling
    raise EncoderError(
        f"no encoder is called {spec!r}",
        did_you_mean(wanted, known, otherwise="`clipaudit encoders` lists all."),
    )


def _names_of_libraries() -> frozenset[str]:
    from clipaudit.encoders.catalog import list_encoders

    try:
        return frozenset(entry.spec for entry in list_encoders())
    except ImportError:  # without torch, the names of this release have to do
        return frozenset()


def _day(day: object) -> str:
    return "" if day is None else str(day)


def _holds(text: str, words: str) -> bool:
    return all(word in text.lower() for word in words.lower().split())
