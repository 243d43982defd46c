"""`clipaudit score`: the main job."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.cli.progress import progress
from clipaudit.errors import InputError, UsageError
from clipaudit.pictures.sharding import Shard
from clipaudit.pipelines.audit import audit as run
from clipaudit.pipelines.config import JudgeConfig, ScoreConfig
from clipaudit.pipelines.score import StoppedError
from clipaudit.pipelines.scoring_options import RUN
from clipaudit.reports import formats as reports
from clipaudit.text.escaping import shown
from clipaudit.verdicts.series import By

if TYPE_CHECKING:
    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.audit import Audit

JUDGING = JudgeConfig()

if TYPE_CHECKING:
    Style = str
else:
    Style = Literal[reports.printable(reports.AUDIT)]

_VERDICTS = "Verdicts"


@options.with_scoring_options()
def score(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Pictures, archives and folders of them, or addresses: s3://, gs://, https://.",
            show_default=False,
        ),
    ] = None,
    *,
    from_file: Annotated[
        Path | None,
        typer.Option(
            help="A text file with a path a line, or - for standard input; NUL-separated will do.",
            allow_dash=True,
        ),
    ] = None,
    scoring: ScoreConfig,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Take one part of the files: 2/5 is the second of five. Each file falls into one, "
            "by a hash of its path; `clipaudit merge` puts the results together.",
            show_default="all files",
            rich_help_panel=RUN,
        ),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    fpr: Annotated[
        float,
        typer.Option(
            help="Share of the non-members that a calibration may call members.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.fpr,
    fnr: Annotated[
        float,
        typer.Option(
            help="Share of the members that it may call non-members, where it has known members.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.fnr,
    fdr: Annotated[
        float,
        typer.Option(
            help="Share of non-members, on average, among the pictures that are picked out of all.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.fdr,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of a calibration; may be repeated.",
            show_default="those of `clipaudit calibrate` that fit",
            rich_help_panel=_VERDICTS,
        ),
    ] = None,
    no_calibration: Annotated[
        bool,
        typer.Option(
            "--no-calibration",
            help="Leave predictions as they are: uncalibrated.",
            rich_help_panel=_VERDICTS,
        ),
    ] = False,
    control: Annotated[
        list[Path] | None,
        typer.Option(
            help="Pictures of the same kind, or folders of them, that cannot have been in the "
            "training set, for a verdict on all suspects as a set; may be repeated.",
            rich_help_panel=_VERDICTS,
        ),
    ] = None,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap",
            help="Leave pictures that are among the suspects out of the control; else they are "
            "an error.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.allow_overlap,
    alpha: Annotated[
        float,
        typer.Option(help="Level of the test against the control.", rich_help_panel=_VERDICTS),
    ] = JUDGING.alpha,
    seeds: Annotated[
        int,
        typer.Option(
            help="Seeds, from --seed on, whose scores are averaged for the test against the "
            "control; each takes as long as the whole run.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.n_seeds,
    series: Annotated[
        By,
        typer.Option(
            help="How pictures are known to be of one series, which count together in that test: "
            "they look alike, they are in one folder, or none are.",
            rich_help_panel=_VERDICTS,
        ),
    ] = JUDGING.series,
    style: Annotated[Style, options.PRINTED] = "table",
    details: options.Details = False,
    out: Annotated[Path | None, options.written(reports.AUDIT)] = None,
    shown_paths: options.Paths = "names",
    force: options.Force = False,
) -> None:
    """Say which pictures the encoder was probably trained on.

    Predictions are uncalibrated hints; after `clipaudit calibrate` there are p-values and verdicts
    with a known error rate. With --control there is a verdict on all pictures as a set.
    The result is printed, and all else goes to stderr, so it pipes.
    A file that gives no picture is a row with its reason, and never ends the run.
    """
    if out is not None:
        reports.check_destination(out, force=force)
    if no_calibration and calibration:
        raise UsageError("--calibration and --no-calibration exclude each other", "Leave one out.")
    how = JudgeConfig(
        fpr=fpr,
        fnr=fnr,
        fdr=fdr,
        calibrations=tuple(calibration or ()) if calibration or no_calibration else None,
        control=tuple(options.addresses(control or ())),
        allow_overlap=allow_overlap,
        alpha=alpha,
        n_seeds=seeds,
        series=series,
    )
    if shard is not None:
        scoring = replace(scoring, shard=str(Shard.read(shard)))
    named = _named(paths or [], from_file)
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    failure: StoppedError | None = None
    gallery = reports.gallery_for(out)
    with progress(console, quiet=quiet) as advance:
        try:
            audit = run(named, scoring, how, on_progress=advance, gallery=gallery)
        except StoppedError as stop:
            audit, failure = stop.audit, stop
    if failure is None or audit.rows:
        writers = []
        if out:
            writers = [partial(reports.write, audit, out, gallery=gallery, paths=shown_paths)]
        deliver(audit, style, writers, details=details)
    if failure is not None:
        raise failure
    if audit.run.interrupted:
        raise typer.Exit(130)
    if not audit.scored:
        raise InputError(
            f"no picture could be scored: {_reasons(audit)}",
            "The result says of every file why. Name other files or folders.",
        )


def _named(paths: list[Path], from_file: Path | None) -> list[AnyPath]:
    """All paths that were named, in order."""
    if from_file is None:
        if not paths:
            raise UsageError(
                "no pictures are named",
                "Name files or folders: clipaudit score ./images; or --from-file LIST.",
            )
        return options.addresses(paths)
    return [*options.addresses(paths), *options.read_list(from_file, "--from-file", "a path")]


def _reasons(audit: Audit) -> str:
    reasons = audit.skip_reasons().items()
    counts = ", ".join(f"{count:,} {shown(reason.replace('_', ' '))}" for reason, count in reasons)
    return counts or "there are no files"
