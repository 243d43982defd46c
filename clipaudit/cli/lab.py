"""`clipaudit lab`: the paper's experiments, run and shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.cli.lab_progress import progress
from clipaudit.cli.words import among, command_line, either
from clipaudit.errors import ClipAuditError, UsageError, extra_imports
from clipaudit.features.signals import SIMILARITIES
from clipaudit.files import expand_home, refuse_link
from clipaudit.inferrers import RULES
from clipaudit.lab.printing import print_markdown, print_tables
from clipaudit.text.numbers import count

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run the experiments of the EncoderMI paper, and show them beside its own numbers.",
    no_args_is_help=True,
)

LAB = Path("lab")


@app.callback()
def lab() -> None:
    """Run the experiments of the EncoderMI paper, and show them beside its own numbers."""


STYLES = ("table", "md")


@app.command()
def run(
    matrix: Annotated[str, typer.Argument(help="A TOML file, or one that comes along: encodermi.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the lab; what is there is not made again."),
    ] = LAB,
    scale: Annotated[str, typer.Option(help="A scale of the matrix: cpu, paper, …")] = "cpu",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=PATH: folder or zip file of a data set of the matrix; may be repeated. "
            "Those without one are downloaded."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Kind or name of an experiment to run; may be repeated."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Encoders at a time; by default one a core, or one on a GPU."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train all encoders that a matrix needs and are not there yet, and judge inferrers on them.

    Run it again to continue after a stop. `clipaudit lab show` prints what came out.
    """
    from clipaudit.lab.matrix import read_matrix
    from clipaudit.lab.run import LabConfig, run_lab

    config = LabConfig(
        matrix=read_matrix(matrix),
        scale=scale,
        lab=output,
        data=dict(map(_pair, data or ())),
        jobs=jobs,
        device=device,
        only=tuple(only or ()),
    )
    console = messages.set_up()
    with progress(console) as on_progress:
        ran = run_lab(config, on_progress=on_progress)
    for encoder in ran.failed[1:]:
        message, hint = encoder.error or ("it failed", "")
        console.print(Text(f"failed: {message}. {hint}"), soft_wrap=True)
    typer.echo(f"{ran.file}: {ran.n_filled} of {ran.results.n_cells} cells filled")
    if ran.failed:
        first = ran.failed[0]
        message, hint = first.error or ("it failed", "Run the same command again.")
        raise _FailedError(
            f"{len(ran.failed)} of {count(ran.n_encoders, 'encoder')} failed; the first: {message}",
            hint,
            ran.exit_code,
        )
    typer.echo(f"clipaudit lab show {output}")


@app.command()
def show(
    lab: Annotated[Path, typer.Argument(help="Folder of a lab.")] = LAB,
    quantity: Annotated[
        str, typer.Option(help="accuracy, precision, recall, fpr, auc or tpr-at-1-percent.")
    ] = "accuracy",
    style: Annotated[str, typer.Option("--format", "-f", help="table; md for Markdown.")] = "table",
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for the figures, PNG and SVG; by default one in the lab."),
    ] = None,
    with_figures: Annotated[
        bool, typer.Option("--draw/--no-draw", help="Whether to draw the figures.")
    ] = True,
) -> None:
    """Print a table and draw a figure of every experiment, beside the paper's own numbers."""
    from clipaudit.lab import figures as drawing
    from clipaudit.lab.results import all_results
    from clipaudit.lab.tables import QUANTITIES, tables

    if with_figures:
        with extra_imports("Drawing figures", "--no-draw does without."):
            import matplotlib  # noqa: F401
    (measured,) = among([quantity], QUANTITIES, "--quantity")
    (form,) = among([style], STYLES, "--format")
    console = Console(soft_wrap=form == "md")
    print_all = print_markdown if form == "md" else print_tables
    for results in all_results(lab):
        shown = tables(results, measured)
        print_all(console, results, shown)
        if with_figures and shown:
            folder = figures or lab / drawing.FOLDER
            if figures is None:
                refuse_link(folder)
            files = drawing.draw_all(results, shown, folder)
            Console(stderr=True).print(
                Text(f"{count(len(files), 'figure')} in {folder}", style="dim"), soft_wrap=True
            )


@app.command()
def export(
    ctx: typer.Context,
    matrix: Annotated[str, typer.Argument(help="A TOML file, or one that comes along: encodermi.")],
    data_set: Annotated[str, typer.Option(help="Data set of the matrix.")],
    into: Annotated[Path, typer.Option(help="Folder that gets a folder for each inferrer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the lab.")] = LAB,
    scale: Annotated[str, typer.Option(help="A scale of the matrix: cpu, paper, …")] = "cpu",
    similarity: Annotated[
        list[str] | None, typer.Option(help="cosine, pearson or euclidean; may be repeated.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"{either(RULES)}; may be repeated. By default those of the matrix."),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Kind of the experiment whose encoders they are made of, such as clip or "
            "fine-tune; by default background, or reference --with-reference."
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(min=2, max=1000, help="Views an image; by default those of the scale."),
    ] = None,
    with_reference: Annotated[
        bool,
        typer.Option(
            "--with-reference", help="Inferrers that read the lab's reference encoders too."
        ),
    ] = False,
) -> None:
    """Make inferrers with cards out of a finished lab.

    They learn from all shadow encoders that were trained as the targets are, and their cards say
    how they do on the targets, which they never met.
    """
    from clipaudit.lab.export import ExportConfig
    from clipaudit.lab.export import export as make
    from clipaudit.lab.matrix import read_matrix
    from clipaudit.lab.run import LabConfig, read_plan

    messages.set_up()
    experiments = read_matrix(matrix)
    plan = read_plan(LabConfig(matrix=experiments, scale=scale, lab=output))
    trained_by = ["clipaudit", "lab", "run", matrix, "--scale", scale, "-o", str(output)]
    config = ExportConfig(
        data=data_set,
        into=into,
        similarities=among(similarity or ["cosine"], SIMILARITIES, "--similarity"),
        n_views=views or experiments.scale[scale].views,
        kinds=among(kind, tuple(RULES), "--kind") if kind else None,
        has_reference=with_reference,
        experiment=experiment,
        usual_views=experiments.scale[scale].views,
        command=f"{shlex.join(trained_by)} && {command_line(ctx)}",
    )
    for inferrer in make(plan, experiments, config):
        card = inferrer.card
        typer.echo(f"{into / card.name}: accuracy {card.evidence.accuracy} on {card.judged_on}")


class _FailedError(ClipAuditError):
    """Some encoders could not be made; the exit code is that of the first."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable elsewhere


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise UsageError(
            f"--data {text} is not NAME=PATH", "Write --data cifar10=path/to/cifar10.zip."
        )
    return name, str(expand_home(path))
