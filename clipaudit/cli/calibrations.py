"""`clipaudit calibrations`: those that were made on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.reports.tables import LEAST_NAME, Column, fitted_table
from clipaudit.reports.wording import rate
from clipaudit.statistics.calibration import needed
from clipaudit.statistics.conformal import Levels
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count, percent
from clipaudit.verdicts import calibration_files
from clipaudit.verdicts.by_calibration import estimate_tpr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Group

    from clipaudit.results.evidence import KnownSet
    from clipaudit.verdicts.calibration_files import CalibrationFile

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List, show and remove the calibrations that `clipaudit calibrate` made.\n\n"
    "CLIPAUDIT_CACHE_DIR moves the folder that holds them. Each is a file that may be copied to "
    "another machine: `clipaudit score --calibration FILE` takes it.",
)

Name = Annotated[str, typer.Argument(help="As `clipaudit calibrations` lists it, or its start.")]


@app.callback(invoke_without_command=True)
def calibrations(ctx: typer.Context) -> None:
    """List them where no command is given."""
    if ctx.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """List the calibrations that are kept."""
    messages.set_up()
    calibrations = calibration_files.read_calibrations()
    if not calibrations:
        typer.echo("No calibration is kept; `clipaudit calibrate` makes some.")
        return
    stdout = Console()
    stdout.print(calibrations_table(calibrations, stdout.width))


def calibrations_table(calibrations: Sequence[CalibrationFile], width: int) -> Group:
    """The list on a screen; the day leaves first, then what is known, then the encoder."""
    known = []
    for file in calibrations:
        members = file.calibration.members
        non_members = count(len(file.calibration.null), "non-member")
        known.append(non_members + (f", {count(len(members), 'member')}" if members else ""))
    columns = (
        Column("name", [Text(file.name, style="bold") for file in calibrations], LEAST_NAME),
        Column("encoder", [shown(file.encoder) for file in calibrations], LEAST_NAME, leaves=3),
        Column(
            "inferrer", [shown(file.calibration.scored_by.inferrer) for file in calibrations], 14
        ),
        Column("known", known, 14, leaves=2),
        Column("made", [file.created for file in calibrations], leaves=1),
    )
    return fitted_table(columns, width)


@app.command()
def show(name: Name) -> None:
    """Say what a calibration was made with, from which pictures, and what it can decide."""
    path = calibration_files.find(name)
    for line in describe(calibration_files.load(path), Levels().fpr):
        typer.echo(line)
    typer.echo(f"  kept in {shown(str(path))}")


@app.command()
def remove(name: Name) -> None:
    """Delete a calibration; scores are uncalibrated from then on."""
    typer.echo(f"{shown(str(calibration_files.remove(name)))} is removed")


def describe(file: CalibrationFile, fpr: float) -> Iterator[str]:
    """A calibration in lines for people: what it holds, and what it can decide."""
    calibration, by = file.calibration, file.calibration.scored_by
    yield f"{file.name}: {shown(by.inferrer)} on {shown(file.encoder)}"
    views = f"{by.n_views} views of recipe {by.recipe}, {by.similarity}"
    if not by.n_views:
        views = "no views"
    yield (
        f"  fingerprint {by.encoder[:12]}, {views}, seed {calibration.seed}"
        + (f", {count(len(by.references), 'reference')}" if by.references else "")
        + (f", captions against the bank {by.bank[:12]}" if by.bank else "")
    )
    yield f"  made {file.created} by clipaudit {file.clipaudit_version}"
    yield f"  non-members: {_set(file.nonmembers)}"
    quantiles = np.quantile(np.array(calibration.null.scores), [0, 0.25, 0.5, 0.75, 0.95, 1])
    shares = ("lowest", "25 %", "half", "75 %", "95 %", "highest")
    yield "  their scores: " + ", ".join(
        f"{share} {value:.3f}" for share, value in zip(shares, quantiles, strict=True)
    )
    reaches = len(calibration.null) >= needed(fpr)
    yield (
        f"  smallest p-value {calibration.smallest_p:.2g}; an FPR of {percent(fpr)} "
        + (f"comes to {rate(calibration.fpr(fpr))}" if reaches else "cannot be decided")
    )
    if file.members is not None:
        yield f"  members: {_set(file.members)}"
        found = estimate_tpr(calibration, fpr)
        if found is not None and reaches:
            yield f"  members found at that FPR: {rate(found)}"


def _set(known: KnownSet) -> str:
    return f"{known.n:,} from {shown(known.name)}, SHA-256 of the set {known.sha256[:12]}"
