"""`clipaudit demo`: the whole chain on ground truth."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clipaudit.cli import messages
from clipaudit.errors import UsageError
from clipaudit.pipelines.demo import SEEN, UNSEEN, DemoConfig
from clipaudit.pipelines.demo import demo as run
from clipaudit.reports.audit.table import show
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipaudit.pipelines.demo import Demonstration
    from clipaudit.shadow.pretrain import Epoch

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
    show(target.audit, stdout)
    stdout.print(_table(target, control))
    stdout.print(
        f"\nAUC is the chance that a picture which the encoder was trained on scores above one "
        f"that it was not trained on; 0.5 is guessing. The first column should be near 1: that "
        f"encoder was trained on the {SEEN} pictures for {count(epochs, 'round')}, until it knew "
        "them by heart. The second must be near 0.5: that encoder was trained on neither group, so "
        "any difference would come from the pictures and not from training. Encoders such as CLIP "
        "saw their pictures a few times only, and give much fainter signals than this one.",
        width=min(100, stdout.width),
        highlight=False,
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


def _table(target: Demonstration, control: Demonstration) -> Table:
    n = next(iter(target.aucs.values())).n
    table = Table(
        title="Do the scores tell the seen pictures from the unseen ones?",
        caption=f"AUC with 95 % interval; n = {n} pictures, half of them seen",
    )
    table.add_column("score")
    table.add_column(f"encoder trained on\nthe {SEEN} pictures", justify="right")
    table.add_column("encoder trained on\nneither", justify="right")
    for name, of_target in target.aucs.items():
        both = (of_target, control.aucs[name])
        table.add_row(name, *(f"{e.value:.3f} ({e.low:.2f} to {e.high:.2f})" for e in both))
    return table
