"""`clipaudit calibrate`: scores of pictures whose membership is known."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.cli.calibrations import described
from clipaudit.cli.progress import progress
from clipaudit.cli.words import command_line
from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.pipelines.calibrate import calibrate as run
from clipaudit.pipelines.config import JudgeConfig, ScoreConfig
from clipaudit.reports.wording import percent
from clipaudit.statistics.calibration import needed
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from clipaudit.pipelines.calibrate import Calibrated

DEFAULT = ScoreConfig()
OPTIONS = EncoderOptions()
JUDGING = JudgeConfig()


def calibrate(
    ctx: typer.Context,
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
) -> None:
    """Learn from known non-members how high scores of an encoder run by chance.

    From then on `clipaudit score` gives p-values and verdicts with a known error rate for this
    encoder, for pictures of this kind. Nothing is trained, and nothing leaves the machine.
    """
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
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # also for what open_clip and timm do by themselves
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        made = run(nonmembers, members or (), config, on_progress=advance)
    _tell(made, Console())


def _tell(made: Calibrated, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    for kept, path in zip(made.calibrations, made.files, strict=True):
        for line in described(kept, JUDGING.fpr):
            say(line)
        say(f"  kept in {shown(str(path))}")
    audits = [one for one in (made.nonmembers, made.members) if one]
    notes = [f"{sum(len(one) for one in audits):,} files read"]
    if n_skipped := sum(len(one.skipped) for one in audits):
        notes.append(f"{n_skipped:,} skipped, which give no picture")
    if made.n_same:
        notes.append(f"{made.n_same:,} copies and near-duplicates passed over")
    say(", ".join(notes))
    n_null = made.calibrations[0].nonmembers.n
    if n_null < needed(JUDGING.fpr):
        say(
            f"An FPR of {percent(JUDGING.fpr)}, which `clipaudit score` takes, needs "
            f"{needed(JUDGING.fpr):,} non-members, and there are {n_null:,}: add pictures, or "
            f"pass it --fpr {_rate(n_null)}."
        )


def _rate(n_null: int) -> str:
    """The lowest rate of two digits that so many non-members allow."""
    rates = (first / 10**places for places in range(4, 0, -1) for first in range(1, 10))
    return f"{next((rate for rate in rates if needed(rate) <= n_null), 0.5):g}"
