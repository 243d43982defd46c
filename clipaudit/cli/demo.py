"""`clipaudit demo`: the whole chain on ground truth."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.bar import Bar
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.errors import UsageError
from clipaudit.pipelines.demo import MEAN_SIMILARITY, SEEN, UNSEEN, DemoConfig
from clipaudit.pipelines.demo import demo as run
from clipaudit.reports.audit.table import show
from clipaudit.reports.tables import Column, fitted_table
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipaudit.pipelines.demo import Demonstration
    from clipaudit.shadow.pretrain import Epoch
    from clipaudit.statistics.metrics import Estimate

DEFAULT = DemoConfig()

_TITLES = {
    "target": f"an encoder that is trained on the {SEEN} pictures",
    "control": f"an encoder that is trained on neither {SEEN} nor {UNSEEN}",
}


def demo(
    pictures: Annotated[
        int, typer.Option(min=10, max=100_000, help="Pictures in each of the three groups.")
    ] = DEFAULT.n_pictures,
    epochs: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Passes of each encoder over its pictures.")
    ] = DEFAULT.epochs,
    keep: Annotated[
        Path | None,
        typer.Option(help="New folder for the pictures and encoders, to look at and score again."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = DEFAULT.device,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = DEFAULT.seed,
    details: Annotated[
        bool,
        typer.Option("--details", help="Print the table of the pictures too, and every AUC."),
    ] = False,
) -> None:
    """Show the whole chain on pictures and encoders made here, where the truth is known.

    Draws small pictures, trains one encoder on some of them and another on none of them, and
    scores them with both. It takes minutes, and needs no network and no other files.
    """
    config = DemoConfig(pictures, epochs, device, seed)
    stderr = messages.set_up()
    with ExitStack() as stack:
        target, control = run(_folder(keep, stack), config, _progress(stderr, epochs, stack))
    stdout = Console()
    tell_story(target, control, config, stdout)
    if details:
        stdout.print()
        show(target.audit, stdout, details=True)
        stdout.print()
        stdout.print(_table(target, control, stdout.width))


def tell_story(
    target: Demonstration, control: Demonstration, config: DemoConfig, stdout: Console
) -> None:
    """Print what was done, the AUCs as bars, what they mean, and what to do next."""
    inferrers = (name for name in target.aucs if name != MEAN_SIMILARITY)
    name = next(inferrers, MEAN_SIMILARITY)
    n, epochs = f"{config.n_pictures:,}", count(config.epochs, "round")
    done = (
        f"Done: {n} pictures were drawn ({SEEN}), and an encoder was trained on them for {epochs}. "
        f"{n} more of the same kind ({UNSEEN}) were kept from it. A second encoder was trained on "
        f"neither. Then `clipaudit score` looked at all {2 * config.n_pictures:,} through both, "
        "and was not told which is which."
    )
    expected = (
        "To be seen: whether the seen pictures score higher. AUC is the chance that one of them "
        "scores above an unseen one: 1 is always, 0.5 is guessing. Only the encoder that was "
        "trained on them can tell."
    )
    first, second = target.aucs[name], control.aucs[name]
    found = (
        f"So what was found comes from training, and not from the pictures. This is the easy "
        f"case: the encoder knew {n} pictures by heart. Those such as CLIP saw each of hundreds of "
        "millions a few times, and give much fainter signals."
    )
    if not first.low > 0.5 >= second.low:
        found = (
            "That does not show here: with so few pictures or rounds the encoder has learned too "
            "little by heart, or luck is too large. Leave out --pictures and --epochs."
        )
    text = partial(stdout.print, highlight=False)
    text(Text("Can a score tell what an encoder was trained on?", "bold"))
    for paragraph in (done, expected):
        text(Text(paragraph), Text(), sep="\n")
    text(_bars(first, second, name, stdout.width))
    text(Text(), Text(found), Text(), sep="\n")
    text(Text("Next, with pictures of your own (here, --details shows every picture):", "dim"))
    text(Text("clipaudit score ./images", style="bold"))


def _bars(target: Estimate, control: Estimate, name: str, width: int) -> Group:
    """An AUC each, from 0 to 1, with its number."""
    rows = ((f"trained on {SEEN}", target, "yellow"), ("trained on neither", control, "cyan"))
    labels = max(len(label) for label, _, _ in rows) + 1
    numbers = len("0.000 (0.00 to 0.00)")
    has_room = width >= labels + numbers + 12
    room = min(50, width - labels - (numbers + 1 if has_room else 6))
    lines: list[Table] = []
    for label, auc, colour in rows:
        grid = Table.grid()
        grid.add_column(width=labels)
        grid.add_column(width=room + 1)
        grid.add_column(no_wrap=True)
        number = f"{auc.value:.3f}" + (f" ({auc.low:.2f} to {auc.high:.2f})" if has_room else "")
        bar = Bar(1, 0, auc.value, width=room, color=colour)
        grid.add_row(label, bar, number)
        lines.append(grid)
    axis = "0" + "0.5".rjust(room // 2 + 1) + "1".rjust(room - room // 2 - 2)
    interval = f"AUC by {name}, 95 % interval, n = {target.n:,}"
    return Group(
        *lines, Text(" " * labels + axis, style="dim"), Text(" " * labels + interval, style="dim")
    )


def _folder(keep: Path | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipaudit-demo-")))
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UsageError(f"{keep} already exists", "Name a new folder for --keep.")
    return keep


def _progress(console: Console, epochs: int, stack: ExitStack) -> Callable[[str, Epoch], None]:
    """A bar an encoder on a terminal; a line each in a log."""
    if not console.is_terminal:

        def log(name: str, epoch: Epoch) -> None:
            if epoch.number in {1, epochs}:
                done = "begins" if epoch.number == 1 else "is done"
                console.print(f"{_TITLES[name]}: {done}", soft_wrap=True, highlight=False)

        return log
    bar = stack.enter_context(
        Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("loss {task.fields[loss]:.2f}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
    )
    tasks = {
        name: bar.add_task(title, total=epochs, loss=float("nan"), start=False)
        for name, title in _TITLES.items()
    }

    def advance(name: str, epoch: Epoch) -> None:
        bar.start_task(tasks[name])
        bar.update(tasks[name], completed=epoch.number, loss=epoch.loss)

    return advance


def _table(target: Demonstration, control: Demonstration, width: int) -> Group:
    n = next(iter(target.aucs.values())).n
    columns = [Column("score", list(target.aucs), least=15)]
    for title, found in ((f"trained on\n{SEEN}", target), ("trained on\nneither", control)):
        aucs = [f"{auc.value:.3f} ({auc.low:.2f} to {auc.high:.2f})" for auc in found.aucs.values()]
        columns.append(Column(title, aucs, least=12, is_number=True))
    return fitted_table(
        columns, width, f"AUC with 95 % interval; n = {n} pictures, half of them seen"
    )
