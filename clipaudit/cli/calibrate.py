"""`clipaudit calibrate`: scores of pictures whose membership is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.cli.calibrations import describe
from clipaudit.cli.progress import progress
from clipaudit.pipelines.calibrate import calibrate as run
from clipaudit.pipelines.config import JudgeConfig, ScoreConfig
from clipaudit.statistics.calibration import needed
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count, percent
from clipaudit.verdicts import calibration_files

if TYPE_CHECKING:
    from clipaudit.pipelines.calibrate import Calibrated

JUDGING = JudgeConfig()


@options.with_scoring_options()
def calibrate(
    *,
    nonmembers: Annotated[
        list[Path],
        typer.Option(
            help="Pictures, or a folder of them, that the encoder cannot have been trained on, of "
            "the kind that is to be judged; may be repeated."
        ),
    ],
    members: Annotated[
        list[Path] | None,
        typer.Option(
            help="The same of pictures that it was trained on: they show how many it misses, and "
            "make it possible to call a picture a non-member."
        ),
    ] = None,
    scoring: ScoreConfig,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Learn from known non-members how high scores of an encoder run by chance.

    From then on `clipaudit score` gives p-values and verdicts with a known error rate for this
    encoder, for pictures of this kind. Nothing is trained, and nothing leaves the machine.
    """
    calibration_files.folder()  # where there is none, say so before hours of work
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        calibrated = run(
            options.addresses(nonmembers),
            options.addresses(members or ()),
            scoring,
            on_progress=advance,
        )
    _print(calibrated, Console())


def _print(calibrated: Calibrated, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    for calibration, path in zip(calibrated.calibrations, calibrated.files, strict=True):
        for line in describe(calibration, JUDGING.fpr):
            say(line)
        say(f"  kept in {shown(str(path))}")
    audits = [audit for audit in (calibrated.nonmembers, calibrated.members) if audit]
    notes = [f"{count(sum(map(len, audits)), 'file')} read"]
    if n_skipped := sum(len(audit.skipped) for audit in audits):
        notes.append(f"{n_skipped:,} skipped, which give{'s' if n_skipped == 1 else ''} no picture")
    if calibrated.n_same:
        same = count(calibrated.n_same, "copy or near-duplicate", "copies and near-duplicates")
        notes.append(f"{same} passed over")
    say(", ".join(notes))
    n_null = calibrated.calibrations[0].nonmembers.n
    if n_null < needed(JUDGING.fpr):
        say(
            f"An FPR of {percent(JUDGING.fpr)}, which `clipaudit score` takes, needs "
            f"{count(needed(JUDGING.fpr), 'non-member')}, and there "
            f"{'is' if n_null == 1 else 'are'} {n_null:,}: add pictures, or pass it "
            f"--fpr {_rate(n_null)}."
        )


def _rate(n_null: int) -> str:
    """The lowest rate of two digits that so many non-members allow."""
    rates = (first / 10**places for places in range(4, 0, -1) for first in range(1, 10))
    return f"{next((rate for rate in rates if needed(rate) <= n_null), 0.5):g}"
