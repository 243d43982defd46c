"""`clipaudit score`: the main job."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from clipaudit import reports
from clipaudit.cli import messages
from clipaudit.cli.progress import progress
from clipaudit.cli.words import command_line
from clipaudit.encoders.base import EncoderOptions, InputOverrides, Output
from clipaudit.errors import ClipAuditError, InputError, UsageError
from clipaudit.images import Interpolation, Limits, read_path_list
from clipaudit.pipelines.score import ScoreConfig
from clipaudit.pipelines.score import score as run
from clipaudit.reports.names import shown
from clipaudit.similarity import Similarity

if TYPE_CHECKING:
    from clipaudit.verdicts import Audit

DEFAULT = ScoreConfig()
OPTIONS = EncoderOptions()

Style = Literal["table", "json", "jsonl", "csv"]
Backend = Literal["auto", "torch", "onnx"]
Channels = tuple[float, float, float]

_ENCODER = "Encoder"
_VIEWS = "Views and inferrers"
_RUN = "Run"
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
    include_hidden: Annotated[
        bool, typer.Option("--include-hidden", help="Hidden files and folders too.")
    ] = DEFAULT.include_hidden,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many files.", show_default="all")
    ] = DEFAULT.limit,
    max_megapixels: Annotated[
        float,
        typer.Option(min=0.001, help="Skip larger pictures, which may be decompression bombs."),
    ] = round(DEFAULT.limits.max_pixels / 1e6, 1),
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first file that gives no picture.")
    ] = DEFAULT.strict,
    encoder: Annotated[
        str,
        typer.Option(
            envvar="CLIPAUDIT_ENCODER",
            help="The encoder that is audited: MODEL/TAG of open_clip, or SCHEME:NAME; "
            "`clipaudit encoders` lists them.",
            rich_help_panel=_ENCODER,
        ),
    ] = DEFAULT.encoder,
    output: Annotated[
        Output | None,
        typer.Option(
            help="Which output of the encoder to read.",
            show_default="what its loss saw",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.output,
    device: Annotated[
        str,
        typer.Option(
            envvar="CLIPAUDIT_DEVICE",
            help="auto, cpu, cuda, cuda:1 or mps.",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.device,
    backend: Annotated[
        Backend,
        typer.Option(
            envvar="CLIPAUDIT_BACKEND", help="What runs the encoder.", rich_help_panel=_ENCODER
        ),
    ] = OPTIONS.backend,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            envvar=["CLIPAUDIT_OFFLINE", "HF_HUB_OFFLINE"],
            help="Open no connection; take the weights that are on this machine.",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.offline,
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="Load a file that is a program (TorchScript). Only from people you trust.",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.allow_code,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Of a file that is a bare state dict: ViT-B-32, timm:NAME, torchvision:NAME.",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.architecture,
    input_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the encoder's input in pixels; this and the next three are for files "
            "that carry no preprocessing.",
            rich_help_panel=_ENCODER,
        ),
    ] = OPTIONS.input.size_px,
    mean: Annotated[
        Channels | None,
        typer.Option(help="Mean of its input: three numbers, R G B.", rich_help_panel=_ENCODER),
    ] = OPTIONS.input.mean,
    std: Annotated[
        Channels | None,
        typer.Option(
            help="Standard deviation of its input: three numbers.", rich_help_panel=_ENCODER
        ),
    ] = OPTIONS.input.std,
    interpolation: Annotated[
        Interpolation | None,
        typer.Option(help="How its input is resized.", rich_help_panel=_ENCODER),
    ] = OPTIONS.input.interpolation,
    inferrer: Annotated[
        list[str] | None,
        typer.Option(
            help="A shipped inferrer, or the folder of another; may be repeated. "
            "`clipaudit inferrers` lists them.",
            show_default="all shipped ones that fit",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    views: Annotated[
        int, typer.Option(min=2, help="Views an image.", rich_help_panel=_VIEWS)
    ] = DEFAULT.n_views,
    similarity: Annotated[
        Similarity | None,
        typer.Option(
            help="How two views are compared.",
            show_default="what the inferrers read",
            rich_help_panel=_VIEWS,
        ),
    ] = DEFAULT.similarity,
    seed: Annotated[int, typer.Option(help="Of the views.", rich_help_panel=_VIEWS)] = DEFAULT.seed,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="CLIPAUDIT_BATCH_SIZE",
            help="Images a forward pass; no score depends on it.",
            show_default="what suits the device",
            rich_help_panel=_RUN,
        ),
    ] = DEFAULT.batch_size,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="CLIPAUDIT_WORKERS",
            help="Processes that decode pictures.",
            show_default="one a core",
            rich_help_panel=_RUN,
        ),
    ] = DEFAULT.workers,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            envvar="CLIPAUDIT_NO_CACHE",
            help="Neither read nor keep features; see `clipaudit cache`.",
            rich_help_panel=_RUN,
        ),
    ] = not DEFAULT.use_store,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress, no warnings.", rich_help_panel=_RUN),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Say what is done; twice: all details.",
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = 0,
    style: Annotated[
        Style,
        typer.Option("--format", "-f", help="What is printed.", rich_help_panel=_RESULT),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write a file too: .csv, .json, .jsonl or .parquet, by its ending.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
) -> None:
    """Say which pictures the encoder was probably trained on.

    The result is printed, and all else goes to stderr, so it pipes.
    A file that gives no picture is a row with its reason, and never ends the run.
    """
    if out is not None:
        reports.check_destination(out)
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
        limits=replace(DEFAULT.limits, max_pixels=_pixels(max_megapixels)),
        command=command_line(ctx),
    )
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # also for what open_clip and timm do by themselves
    given = _given(paths or [], from_file)
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        audit = run(given, config, on_progress=advance)
    _deliver(audit, style, out)
    if audit.run.interrupted:
        raise typer.Exit(130)
    if not audit.scored:
        raise InputError(
            f"no picture could be scored: {_reasons(audit)}",
            "The result says of every file why. Name other files or folders.",
        )


def _pixels(megapixels: float) -> int:
    """The limit itself where it was left as it is: the help shows it rounded."""
    unchanged = megapixels == round(DEFAULT.limits.max_pixels / 1e6, 1)
    return DEFAULT.limits.max_pixels if unchanged else Limits(int(megapixels * 1e6)).max_pixels


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
        from clipaudit.reports.table import show

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
