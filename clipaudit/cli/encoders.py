"""`clipaudit encoders`: what can be named after `--encoder`, and what it was trained on."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.encoders.spec import DEFAULT_SCHEME, SCHEMES, find_scheme, parse
from clipaudit.errors import EncoderError, did_you_mean
from clipaudit.reports.tables import LEAST_NAME, Column, Facts, fitted_table
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Group

    from clipaudit.encoders.catalog import EncoderEntry
    from clipaudit.encoders.references import Reference
    from clipaudit.encoders.training_data import TrainingFacts

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List the encoders that can be audited.\n\n`show` says what is known of the training "
    "data of one, `references` which others could stand beside it.",
)

_NAMELESS = ", ".join(f"{name}:{row.takes}" for name, row in SCHEMES.items() if row.takes)
_LEAST_SPEC, _LEAST_TEXT = 40, 17
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
    stdout = Console()
    stdout.print(encoders_table(entries, stdout.width))


def encoders_table(entries: Sequence[EncoderEntry], width: int) -> Group:
    """The list on a screen; captions leave first, then output, cut-off and training data."""
    columns = (
        Column("encoder", [Text(shown(e.spec), style="bold") for e in entries], _LEAST_SPEC),
        Column("output", [e.output for e in entries], leaves=2),
        Column("captions", ["yes" if e.has_text_tower else "" for e in entries], leaves=1),
        Column("trained on", [shown(e.note) for e in entries], _LEAST_TEXT, 4, style="dim"),
        Column("cut-off", [_day(e.cutoff) for e in entries], leaves=3, style="dim"),
    )
    return fitted_table(columns, width)


def references_table(found: Sequence[Reference], width: int) -> Group:
    """References on a screen; whether each is here leaves first."""
    reasons = [
        Text.assemble(
            shown(reference.reason),
            (f"\n{shown(' '.join(reference.caveats))}", "yellow" if reference.is_spoilt else "dim"),
        )
        for reference in found
    ]
    columns = (
        Column("reference", [Text(shown(ref.spec), style="bold") for ref in found], LEAST_NAME),
        Column("here", ["yes" if ref.is_here else "" for ref in found], leaves=1),
        Column("why, and what could spoil it", reasons, _LEAST_TEXT),
    )
    return fitted_table(columns, width)


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
    screen = Facts()
    for name, lines in groupby(_facts(name_of_weights, facts), key=lambda fact: fact[0]):
        style = "bold" if name == "encoder" else ""
        screen.add(name, *(Text(shown(text), style=style) for _, text in lines))
    Console().print(screen)


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
    stdout = Console()
    stdout.print(references_table(found, stdout.width))


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
