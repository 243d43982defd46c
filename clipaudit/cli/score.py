"""`clipaudit score`: the main job."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.cli.progress import progress
from clipaudit.cli.words import command_line
from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.errors import ClipAuditError, InputError, UsageError
from clipaudit.pictures.finding import read_path_list
from clipaudit.pipelines.audit import JudgeConfig
from clipaudit.pipelines.audit import audit as run
from clipaudit.pipelines.score import ScoreConfig
from clipaudit.reports import formats as reports
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit

DEFAULT = ScoreConfig()
OPTIONS = EncoderOptions()
JUDGING = JudgeConfig()

Style = Literal["table", "json", "jsonl", "csv"]

_VERDICTS = "Verdicts"
_RESULT = "Result"


def score(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures, and folders of them.", show_default=False),
    ] = None,
    *,
    from_file: Annotated[
        Path | None,
        typer.Option(
            help="A text file with a path a line, or - for standard input; NUL-separated will do.",
            allow_dash=True,
        ),
    ] = None,
    include_hidden: options.IncludeHidden = DEFAULT.include_hidden,
    limit: options.Limit = DEFAULT.limit,
    max_megapixels: options.MaxMegapixels = options.MEGAPIXELS,
    strict: options.Strict = DEFAULT.strict,
    encoder: options.Encoder = DEFAULT.encoder,
    reference: options.References = None,
    output: options.OutputOf = OPTIONS.output,
    device: options.Device = OPTIONS.device,
    backend: options.BackendOf = OPTIONS.backend,
    offline: options.Offline = OPTIONS.offline,
    allow_code: options.AllowCode = OPTIONS.allow_code,
    architecture: options.Architecture = OPTIONS.architecture,
    input_size: options.InputSize = OPTIONS.input.size_px,
    mean: options.Mean = OPTIONS.input.mean,
    std: options.Std = OPTIONS.input.std,
    interpolation: options.InterpolationOf = OPTIONS.input.interpolation,
    inferrer: options.Inferrers = None,
    views: options.Views = DEFAULT.n_views,
    similarity: options.SimilarityOf = DEFAULT.similarity,
    seed: options.Seed = DEFAULT.seed,
    batch_size: options.BatchSize = DEFAULT.batch_size,
    workers: options.Workers = DEFAULT.workers,
    no_cache: options.NoCache = not DEFAULT.use_store,
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
    style: Annotated[
        Style,
        typer.Option("--format", "-f", help="What is printed.", rich_help_panel=_RESULT),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write a file too: .html, .csv, .json, .jsonl or .parquet, by its ending.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
) -> None:
    """Say which pictures the encoder was probably trained on.

    Predictions are uncalibrated hints; after `clipaudit calibrate` there are p-values and verdicts
    with a known error rate. With --control there is a verdict on all pictures as a set.
    The result is printed, and all else goes to stderr, so it pipes.
    A file that gives no picture is a row with its reason, and never ends the run.
    """
    if out is not None:
        reports.check_destination(out)
    if no_calibration and calibration:
        raise UsageError("--calibration and --no-calibration exclude each other", "Leave out one.")
    config = ScoreConfig(
        encoder=encoder,
        options=EncoderOptions(
            output=output,
            device=device,
            backend=backend,
            allow_code=allow_code,
            architecture=architecture,
            input=InputOverrides(input_size, mean, std, interpolation),
            offline=offline,
        ),
        references=tuple(reference or ()),
        inferrers=tuple(inferrer or ()),
        n_views=views,
        similarity=similarity,
        seed=seed,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        use_store=not no_cache,
        strict=strict,
        include_hidden=include_hidden,
        limits=replace(DEFAULT.limits, max_pixels=options.pixels(max_megapixels)),
        command=command_line(ctx),
    )
    how = JudgeConfig(
        fpr=fpr,
        fnr=fnr,
        fdr=fdr,
        calibrations=tuple(calibration or ()) if calibration or no_calibration else None,
        control=tuple(control or ()),
        allow_overlap=allow_overlap,
        alpha=alpha,
    )
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # also for what open_clip and timm do by themselves
    given = _given(paths or [], from_file)
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        audit = run(given, config, how, on_progress=advance)
    _deliver(audit, style, out)
    if audit.run.interrupted:
        raise typer.Exit(130)
    if not audit.scored:
        raise InputError(
            f"no picture could be scored: {_reasons(audit)}",
            "The result says of every file why. Name other files or folders.",
        )


def _given(paths: list[Path], from_file: Path | None) -> list[Path | str]:
    """All paths that were named, in order."""
    if from_file is None:
        if not paths:
            raise UsageError(
                "no pictures are named",
                "Name files or folders: clipaudit score ./images; or --from-file LIST.",
            )
        return list(paths)
    if str(from_file) == "-":
        return [*paths, *read_path_list(sys.stdin.buffer)]
    try:
        with from_file.open("rb") as stream:
            return [*paths, *read_path_list(stream)]
    except OSError as error:
        raise InputError(
            f"cannot read the list {from_file}: {error.strerror}",
            "--from-file takes a text file with a path a line, or - for standard input.",
        ) from error


def _deliver(audit: Audit, style: Style, out: Path | None) -> None:
    """Write the file and print the result: where one fails, the other is still there."""
    failure = None
    if out is not None:
        try:
            reports.write(audit, out)
        except ClipAuditError as error:
            failure = error
    if style == "table" and sys.stdout.isatty():
        from clipaudit.reports.audit.table import show

        show(audit, Console())
    else:
        reports.dump(audit, style, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    if failure is not None:
        raise failure


def _reasons(audit: Audit) -> str:
    reasons = audit.skip_reasons().items()
    counts = ", ".join(f"{count:,} {shown(reason.replace('_', ' '))}" for reason, count in reasons)
    return counts or "there are no files"
