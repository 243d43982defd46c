"""How far a collection of pictures is, keyword by keyword."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clipaudit.cli.progress import Log
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from clipaudit.evaluation_sets.collecting import Step, Tally

_MOST_LINES = 12


@contextmanager
def progress(
    console: Console, n_wants: int, *, quiet: bool = False
) -> Iterator[Callable[[Step], None]]:
    """A function to call with every step: a live table on a terminal, now and then a line in a log.

    Args:
        console: stderr's.
        n_wants: Keywords, counted twice where each is searched twice.
        quiet: Whether to draw nothing.
    """
    if quiet:
        yield lambda _step: None
    elif not console.is_terminal:
        log = Log(console)
        yield lambda step: log.write_if_due(lambda _elapsed_s: _line(step, n_wants))
    else:
        board = _Board(n_wants)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda step: live.update(board.draw(step))


class _Board:
    """The keywords at work and those that ended last."""

    def __init__(self, n_wants: int) -> None:
        self._n_wants = n_wants
        self._tallies: list[Tally] = []
        self._started = time.monotonic()

    def draw(self, step: Step) -> Group:
        if not self._tallies or self._tallies[-1] is not step.tally:
            self._tallies = [*self._tallies, step.tally][-_MOST_LINES:]
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("keyword", "for", "", "found", "left out"):
            table.add_column(name, no_wrap=True)
        for tally in self._tallies:
            table.add_row(
                Text(shown(tally.keyword)[:32]),
                tally.role,
                ProgressBar(total=tally.wanted, completed=len(tally.pictures), width=20),
                f"{len(tally.pictures)}/{tally.wanted}",
                _reasons(tally),
            )
        speed = step.n_bytes / 1e6 / max(time.monotonic() - self._started, 1e-3)
        return Group(table, Text(f"{_summary(step, self._n_wants)}, {speed:.1f} MB/s", style="dim"))


def _summary(step: Step, n_wants: int) -> str:
    return f"{step.n_done} of {n_wants} keywords, {step.n_bytes / 1e6:.1f} MB"


def _line(step: Step, n_wants: int) -> str:
    keyword = f", at {shown(step.tally.keyword)}" if step.tally.keyword else ""
    return _summary(step, n_wants) + keyword


def _reasons(tally: Tally) -> str:
    return ", ".join(f"{n} {shown(reason)}" for reason, n in tally.dropped.most_common(3))
