"""How far the encoders of a lab are: a live table on a terminal, lines in a log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clipaudit.cli.progress import Log
from clipaudit.text.numbers import count, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from clipaudit.lab.run import Progress

_MOST_LINES = 12
_ORDER = {"running": 0, "failed": 1, "done": 2, "waiting": 3, "there": 4}


@contextmanager
def progress(console: Console) -> Iterator[Callable[[list[Progress]], None]]:
    """A function to call with how far every encoder is; draws on the console, which is stderr's."""
    if not console.is_terminal:
        yield _EndsLog(console).add
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda runs: live.update(_table(runs))


def _table(runs: list[Progress]) -> Group:
    """What runs, what just ended, what failed; and how much there is of each."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "data", "role", "seed", "encoder", "members", "epochs", "loss", "time"):
        table.add_column(name, no_wrap=True)
    in_order = sorted(runs, key=lambda run: (_ORDER[run.state], -run.since))
    for run in in_order[:_MOST_LINES]:
        unit, pretrain = run.unit, run.unit.pretrain
        bar = ProgressBar(total=pretrain.epochs, completed=run.epoch, width=14)
        table.add_row(
            Text(run.state, style="red" if run.state == "failed" else ""),
            unit.data,
            unit.role,
            str(unit.seed),
            f"{pretrain.architecture} {pretrain.algorithm} {pretrain.recipe.partition('@')[0]}",
            str(unit.n_members),
            bar if run.state == "running" else f"{pretrain.epochs}",
            "" if run.loss is None else f"{run.loss:.3f}",
            duration(run.seconds) if run.seconds else "",
        )
    if len(runs) > _MOST_LINES:
        table.add_row("…")
    return Group(table, Text(_summary(runs)))


def _summary(runs: list[Progress]) -> str:
    counts = {
        state: sum(run.state == state for run in runs)
        for state in ("there", "done", "running", "waiting", "failed")
    }
    text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    finished = [run for run in runs if run.state == "done"]
    if finished and counts["running"]:
        n_left = counts["waiting"] + counts["running"] / 2
        mean_s = sum(run.seconds for run in finished) / len(finished)
        text += f"; about {duration(n_left * mean_s / counts['running'])} left"
    return f"encoders: {text}"


class _EndsLog:
    """A line now and then, and a line for each encoder that ends."""

    def __init__(self, console: Console) -> None:
        self._log = Log(console)
        self._ended: set[str] = set()

    def add(self, runs: list[Progress]) -> None:
        for run in runs:
            if run.state in {"done", "failed"} and run.unit.key not in self._ended:
                self._ended.add(run.unit.key)
                self._log.write(_end(run))
        self._log.write_if_due(lambda _elapsed_s: _summary(runs))


def _end(run: Progress) -> str:
    unit, pretrain = run.unit, run.unit.pretrain
    error = f": {run.error[0]}" if run.error else ""
    return (
        f"{run.state}: {unit.data} {unit.role} {unit.seed}, {pretrain.architecture}, "
        f"{pretrain.algorithm}, {count(unit.n_members, 'member')}, "
        f"{count(pretrain.epochs, 'epoch')}, {duration(run.seconds)}{error}"
    )
