"""`clipaudit evaluate`: inferrers on pictures whose membership is known."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.cli.progress import progress
from clipaudit.cli.words import command_line
from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.files import make_folder
from clipaudit.pipelines.config import EvaluateConfig, ScoreConfig
from clipaudit.pipelines.evaluate import evaluate as run
from clipaudit.reports import formats as reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit.results.evaluation import Evaluation

DEFAULT = ScoreConfig()
OPTIONS = EncoderOptions()
EVALUATING = EvaluateConfig()

if TYPE_CHECKING:
    Style = str
else:
    Style = Literal[reports.printable(reports.EVALUATION)]

_RESULT = "Result"
_ENDINGS = reports.listed(reports.endings(reports.EVALUATION))


def evaluate(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with members/ and nonmembers/ in it, as `clipaudit build-eval` makes "
            "it.",
            show_default=False,
        ),
    ],
    *,
    no_blind: Annotated[
        bool,
        typer.Option(
            "--no-blind",
            help="Do not try what classifiers can tell that never see the encoder.",
        ),
    ] = not EVALUATING.blind,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap",
            help="Count pictures that are among members and non-members on neither side; else "
            "they are an error.",
        ),
    ] = EVALUATING.allow_overlap,
    include_hidden: options.IncludeHidden = DEFAULT.include_hidden,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most this many files of each side.", show_default="all"),
    ] = DEFAULT.limit,
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
    inferrer: Annotated[
        list[str] | None,
        typer.Option(
            help="A shipped inferrer, or the folder of another; may be repeated. "
            "`clipaudit inferrers` lists them.",
            show_default="all shipped ones that fit, of every shadow data set",
            rich_help_panel="Views and inferrers",
        ),
    ] = None,
    views: options.Views = DEFAULT.n_views,
    similarity: options.SimilarityOf = DEFAULT.similarity,
    seed: options.Seed = DEFAULT.seed,
    batch_size: options.BatchSize = DEFAULT.batch_size,
    workers: options.Workers = DEFAULT.workers,
    no_cache: options.NoCache = not DEFAULT.use_store,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    style: Annotated[
        Style,
        typer.Option("--format", "-f", help="What is printed.", rich_help_panel=_RESULT),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help=f"Write a {_ENDINGS} file too.", rich_help_panel=_RESULT),
    ] = None,
    force: options.Force = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Draw histogram.png and roc.png into this folder.", rich_help_panel=_RESULT
        ),
    ] = None,
) -> None:
    """Say how well inferrers tell known members of an encoder from known non-members.

    Every figure stands with its 95 % interval. Classifiers that never see the encoder try the
    same: where they succeed, the set is confounded, and the inferrers' figures on it prove
    nothing by themselves. Nothing leaves the machine.
    """
    if out is not None:
        reports.check_destination(out, reports.EVALUATION, force=force)
    if figures is not None:
        make_folder(figures)
    config = EvaluateConfig(
        scoring=ScoreConfig(
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
        ),
        blind=not no_blind,
        allow_overlap=allow_overlap,
    )
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # also for what open_clip and timm do by themselves
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        evaluation = run(folder, config, on_progress=advance)
    writers = [partial(reports.write, evaluation, out)] if out else []
    deliver(evaluation, style, [*writers, *_drawn(evaluation, figures)])


def _drawn(evaluation: Evaluation, folder: Path | None) -> Iterator[Callable[[], object]]:
    if folder is not None:
        from clipaudit.reports.evaluation.figures import draw_all

        yield partial(draw_all, evaluation, folder)
