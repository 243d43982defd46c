"""How far a run is: a bar on a terminal, a line every half minute in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from clipaudit.text.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from clipaudit.pipelines.score import Progress as Step

LINE_EVERY_S = 30.0


@contextmanager
def progress(
    console: Console, *, quiet: bool = False, doing: str = "scoring"
) -> Iterator[Callable[[Step], None]]:
    """A function to call with every step; draws on the console, which is stderr's."""
    if quiet:
        yield lambda _step: None
    elif not console.is_terminal:
        yield _ScoringLog(Log(console)).advance
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[notes]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            first = "loading the encoder" if doing == "scoring" else doing
            task = bar.add_task(first, total=None, notes="")

            def advance(step: Step) -> None:
                bar.update(
                    task,
                    description=doing,
                    total=step.total,
                    completed=step.done,
                    notes=_notes(step),
                )

            yield advance


def _notes(step: Step) -> str:
    notes = ((step.skipped, "skipped"), (step.from_store, "known"))
    return ", ".join(f"{count:,} {what}" for count, what in notes if count)


class _Speed(ProgressColumn):
    """Images a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s", style="progress.data.speed")


class Log:
    """Lines for logs and batch systems, of which one comes every half minute at most."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._written_at = clock()

    def write(self, line: str) -> None:
        """Write a line, whenever the last one was."""
        self._console.print(Text(line), soft_wrap=True)

    def write_if_due(self, line: Callable[[float], str]) -> None:
        """Write a line where the last one is long ago; it is made from the seconds since then."""
        now = self._clock()
        elapsed_s = now - self._written_at
        if elapsed_s >= LINE_EVERY_S:
            self._written_at = now
            self.write(line(elapsed_s))


class _ScoringLog:
    """How far a run is, and how fast it was since the last line."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._done = 0

    def advance(self, step: Step) -> None:
        self._log.write_if_due(lambda elapsed_s: self._line(step, elapsed_s))

    def _line(self, step: Step, elapsed_s: float) -> str:
        speed = (step.done - self._done) / elapsed_s
        self._done = step.done
        total = "" if step.total is None else f" of {step.total:,}"
        parts = [
            f"{step.done:,}{total} image{'s' if (step.total or step.done) != 1 else ''}",
            f"{speed:.1f} images/s",
        ]
        if step.total is not None and speed > 0:
            parts.append(f"{duration((step.total - step.done) / speed)} left")
        if notes := _notes(step):
            parts.append(notes)
        return ", ".join(parts)
