"""`clipaudit evaluate`: inferrers on pictures whose membership is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.cli.progress import progress
from clipaudit.errors import extra_imports
from clipaudit.evaluation_sets.reading import named_set
from clipaudit.files import make_folder
from clipaudit.pipelines.config import EvaluateConfig, ScoreConfig
from clipaudit.pipelines.evaluate import evaluate as run
from clipaudit.reports import formats as reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit.results.evaluation import Evaluation

EVALUATING = EvaluateConfig()

if TYPE_CHECKING:
    Style = str
else:
    Style = Literal[reports.printable(reports.EVALUATION)]

_ENDINGS = reports.listed(reports.endings(reports.EVALUATION))


@options.with_scoring_options(
    limit={"help": "At most this many files of each side, drawn at random with the seed."},
    methods={"default": "all that fit"},
    shadow={"default": "every one"},
)
def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with members/ and nonmembers/ in it, as `clipaudit build-eval` makes "
            "it.",
            show_default=False,
        ),
    ] = None,
    *,
    members: Annotated[
        list[Path] | None,
        typer.Option(
            help="In the place of such a folder: pictures, folders or tar shards of members; may "
            "be repeated."
        ),
    ] = None,
    nonmembers: Annotated[
        list[Path] | None, typer.Option(help="The same of non-members; may be repeated.")
    ] = None,
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
    scoring: ScoreConfig,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    style: Annotated[Style, options.PRINTED] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help=f"Write a {_ENDINGS} file too.", rich_help_panel=options.RESULT
        ),
    ] = None,
    force: options.Force = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Draw histogram.png and roc.png into this folder.", rich_help_panel=options.RESULT
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
        with extra_imports("--figures"):
            import matplotlib  # noqa: F401 - hours before it is used
        make_folder(figures)
    options.refuse_addresses([*(members or ()), *(nonmembers or ())])
    named = named_set(folder, members or (), nonmembers or ())
    config = EvaluateConfig(scoring, blind=not no_blind, allow_overlap=allow_overlap)
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet) as advance:
        evaluation = run(named, config, on_progress=advance)
    writers = [partial(reports.write, evaluation, out)] if out else []
    deliver(evaluation, style, [*writers, *_drawn(evaluation, figures)])


def _drawn(evaluation: Evaluation, folder: Path | None) -> Iterator[Callable[[], object]]:
    if folder is not None:
        from clipaudit.reports.evaluation.figures import draw_all

        yield partial(draw_all, evaluation, folder)
