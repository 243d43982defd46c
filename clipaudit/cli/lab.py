"""`clipaudit lab`: the paper's experiments, run and shown."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.cli.progress import LINE_EVERY_S, duration
from clipaudit.cli.words import among, command_line, either
from clipaudit.errors import ClipAuditError, UsageError
from clipaudit.features.signals import SIMILARITIES
from clipaudit.files import refuse_link
from clipaudit.inferrers import RULES
from clipaudit.lab.tables import DOWNSTREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipaudit.lab.results import Results
    from clipaudit.lab.run import Progress
    from clipaudit.lab.tables import ResultTable
    from clipaudit.statistics.metrics import Estimate

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
_MOST_LINES = 12


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
        typer.Option(min=1, help="Encoders at a time; by default one a core, or one on a GPU."),
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
    with _progress(console) as on_progress:
        ran = run_lab(config, on_progress=on_progress)
    for one in ran.failed[1:]:
        message, hint = one.error or ("it failed", "")
        console.print(Text(f"failed: {message}. {hint}"), soft_wrap=True)
    typer.echo(f"{ran.file}: {_filled(ran.results.n_cells, ran.n_filled)}")
    if ran.failed:
        first = ran.failed[0]
        message, hint = first.error or ("it failed", "Run the same command again.")
        raise _FailedError(
            f"{len(ran.failed)} of {ran.n_encoders} encoders failed; the first: {message}",
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

    chosen = among([quantity], QUANTITIES, "--quantity")[0]
    (form,) = among([style], STYLES, "--format")
    console = Console(soft_wrap=form == "md")
    for found in all_results(lab):
        made = tables(found, chosen)
        (_print_markdown if form == "md" else _print_tables)(console, found, made)
        if with_figures and made:
            folder = figures or lab / drawing.FOLDER
            if figures is None:
                refuse_link(folder)
            files = drawing.draw_all(found, made, folder)
            Console(stderr=True).print(
                Text(f"{len(files)} figures in {folder}", style="dim"), soft_wrap=True
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
    views: Annotated[
        int | None, typer.Option(help="Views an image; by default those of the scale.")
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
    found = read_matrix(matrix)
    plan = read_plan(LabConfig(matrix=found, scale=scale, lab=output))
    trained_by = ["clipaudit", "lab", "run", matrix, "--scale", scale, "-o", str(output)]
    config = ExportConfig(
        data=data_set,
        into=into,
        similarities=among(similarity or ["cosine"], SIMILARITIES, "--similarity"),
        n_views=views or found.scale[scale].views,
        kinds=among(kind, tuple(RULES), "--kind") if kind else None,
        has_reference=with_reference,
        usual_views=found.scale[scale].views,
        command=f"{shlex.join(trained_by)} && {command_line(ctx)}",
    )
    for inferrer in make(plan, found, config):
        card = inferrer.card
        typer.echo(f"{into / card.name}: accuracy {card.evidence.accuracy}")


def _heading(found: Results) -> str:
    """What was run, and at what scale."""
    from clipaudit.lab.tables import costs

    cost = costs(found)["all"]
    return (
        f"{found.matrix}, scale {found.scale}: {found.about}. {cost.n_encoders} encoders, "
        f"{cost.hours:.1f} hours of pre-training on {found.device} ({cost.outside:.0%} of it "
        "outside forward and backward pass)."
    )


_FOOTNOTE = (
    "Means over the repetitions, each with its own pictures, target and shadow encoder; in "
    "brackets 95 % intervals: the wider of Clopper and Pearson's over all pictures and Student's t "
    "over the repetitions. Members and non-members are as many."
)


def _print_tables(console: Console, found: Results, made: list[ResultTable]) -> None:
    console.print(Text(_heading(found), style="bold"))
    for one in made:
        table = Table(title_justify="left", title_style="bold", pad_edge=False)
        table.title = escape(one.title)
        for column in _columns(one):
            table.add_column(Text(column), overflow="fold")
        for line in _lines(one):
            table.add_row(*map(_stacked, line))
        console.print()
        console.print(table)
        if (words := one.facts.remark) and one.output == made[0].output:
            console.print(Text(words, style="dim"))
    console.print()
    console.print(Text(_FOOTNOTE, style="dim"))
    _print_costs(console, found)


def _print_costs(console: Console, found: Results) -> None:
    from clipaudit.lab.tables import costs

    table = Table(title="What it cost", title_justify="left", title_style="bold", pad_edge=False)
    for column in ("encoders", "how many", "hours", "outside forward and backward pass"):
        table.add_column(column)
    for name, cost in costs(found).items():
        table.add_row(name, str(cost.n_encoders), f"{cost.hours:.2f}", f"{cost.outside:.1%}")
    console.print()
    console.print(table)


def _print_markdown(console: Console, found: Results, made: list[ResultTable]) -> None:
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    say(_heading(found))
    for one in made:
        columns = _columns(one)
        say(f"\n### {one.title}\n")
        if (words := one.facts.remark) and one.output == made[0].output:
            say(f"{words}\n")
        say(f"| {' | '.join(columns)} |")
        say(f"|{'---|' * len(columns)}")
        for line in _lines(one):
            say(f"| {' | '.join(line)} |")
    say(f"\n{_FOOTNOTE}")


def _columns(one: ResultTable) -> list[str]:
    columns = [one.facts.setting, *one.methods]
    if any(row.downstream for row in one.rows):
        columns.append(DOWNSTREAM)
    if any(row.paper for row in one.rows):
        columns.append("paper")
    return [*columns, "seeds"]


def _lines(one: ResultTable) -> list[list[str]]:
    """The cells of a table as text."""
    columns = _columns(one)
    lines = []
    for row in one.rows:
        line = [row.setting, *(_figure(row.figures[method]) for method in one.methods)]
        if DOWNSTREAM in columns:
            line.append(_figure(row.downstream))
        if "paper" in columns:
            line.append(", ".join(f"{method} {some}" for method, some in row.paper.items()))
        n = max((figure.n for figure in row.figures.values() if figure), default=0)
        lines.append([*line, f"{row.n_seeds} (n = {n})"])
    return lines


def _stacked(cell: str) -> Text:
    """What stands in brackets on a line of its own, so that a table fits into 80 columns."""
    first, _, rest = cell.partition(" (")
    return Text(f"{first}\n{rest.removesuffix(')')}" if rest else cell)


def _figure(one: Estimate | None) -> str:
    return "–" if one is None else f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})"


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
    return name, path


def _filled(n_cells: int, n_filled: int) -> str:
    return f"{n_filled} of {n_cells} cells filled"


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[list[Progress]], None]]:
    """A live table of runs on a terminal; now and then a line in a log."""
    if not console.is_terminal:
        yield _Log(console).add
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(_table(progress))


def _table(progress: list[Progress]) -> Group:
    """What runs, what just ended, what failed; and how much there is of each."""
    from clipaudit.lab.run import Progress as Run

    def rank(one: Run) -> tuple[int, float]:
        order = {"running": 0, "failed": 1, "done": 2, "waiting": 3, "there": 4}
        return order[one.state], -one.since

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "data", "role", "seed", "encoder", "members", "epochs", "loss", "time"):
        table.add_column(name, no_wrap=True)
    for one in sorted(progress, key=rank)[:_MOST_LINES]:
        unit, how = one.unit, one.unit.pretrain
        bar = ProgressBar(total=how.epochs, completed=one.epoch, width=14)
        table.add_row(
            Text(one.state, style="red" if one.state == "failed" else ""),
            unit.data,
            unit.role,
            str(unit.seed),
            f"{how.architecture} {how.algorithm} {how.recipe.partition('@')[0]}",
            str(unit.n_members),
            bar if one.state == "running" else f"{how.epochs}",
            "" if one.loss is None else f"{one.loss:.3f}",
            duration(one.seconds) if one.seconds else "",
        )
    if len(progress) > _MOST_LINES:
        table.add_row("…")
    return Group(table, Text(_summary(progress)))


def _summary(progress: list[Progress]) -> str:
    counts = {
        state: sum(one.state == state for one in progress)
        for state in ("there", "done", "running", "waiting", "failed")
    }
    text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    finished = [one for one in progress if one.state == "done"]
    work = sum(one.seconds for one in finished)
    if finished and counts["running"]:
        n_left = counts["waiting"] + counts["running"] / 2
        left = n_left * work / len(finished) / counts["running"]
        text += f"; about {duration(left)} left"
    return f"encoders: {text}"


class _Log:
    """A line every `LINE_EVERY_S`, and one for each encoder that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = time.monotonic()
        self._told: set[str] = set()

    def add(self, progress: list[Progress]) -> None:
        for one in progress:
            if one.state in {"done", "failed"} and one.unit.key not in self._told:
                self._told.add(one.unit.key)
                how = one.unit.pretrain
                end = f": {one.error[0]}" if one.error else ""
                self._say(
                    f"{one.state}: {one.unit.data} {one.unit.role} {one.unit.seed}, "
                    f"{how.architecture}, {how.algorithm}, {one.unit.n_members} members, "
                    f"{how.epochs} epochs, {duration(one.seconds)}{end}"
                )
        now = time.monotonic()
        if now - self._said_at >= LINE_EVERY_S:
            self._said_at = now
            self._say(_summary(progress))

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
