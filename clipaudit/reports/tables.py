"""What the tables for people have in common: columns that leave, titles, facts, plain text.

A table is as wide as the screen at most. Where its columns do not fit, those that fill a line are
narrowed first, each to its least; then columns leave, in the order of `Column.leaves`; those that
never leave are narrowed last of all. Names of files keep at least `LEAST_NAME` cells of their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

_WIDTH_OF_A_PIPE = 100
_MIN_WIDTH = 40
_MIN_WIDTH_OF_TWO_COLUMNS = 60

LEAST_NAME = 22
"""Cells of a file's name that are always there: twenty of its end, the mark before them, and half
of a wide character that is cut."""


def plain_text(show: Callable[[Console], None], width: int | None = None) -> str:
    """What a function prints on a console, without colour.

    Args:
        show: Prints it.
        width: Cells a line, 40 at least; None takes `COLUMNS`, or 100.
    """
    if width is None:
        width = get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns
    text = StringIO()
    show(Console(file=text, width=max(width, _MIN_WIDTH), color_system=None))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class FileName:
    """A file's name in one line; where it is too long, its end, which tells most."""

    path: str

    @property
    def plain(self) -> str:
        """The whole of it, safe to print."""
        return shown(self.path)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        length = cell_len(self.plain)
        return Measurement(min(length, LEAST_NAME), length).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = self.plain
        if cell_len(name) > options.max_width:
            while name and cell_len(name) > options.max_width - 1:
                name = name[1:]
            name = "…" + name
        yield Text(name, no_wrap=True, end="")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that fits the screen.

    Attributes:
        heading: What stands above it.
        cells: One a row, already safe to print.
        least: Fewest cells that it may be narrowed to; None where no line of it may be broken.
        leaves: Its turn to leave where there is no room, 1 for the first; None where it stays.
        is_number: Whether it is set to the right.
        style: Of its cells.
    """

    heading: str
    cells: Sequence[str | Text | FileName]
    least: int | None = None
    leaves: int | None = None
    is_number: bool = False
    style: str = ""

    @property
    def widest(self) -> int:
        """Width of its longest line."""
        texts = (cell if isinstance(cell, str) else cell.plain for cell in self.cells)
        lines = (line for text in (self.heading, *texts) for line in text.split("\n"))
        return max(map(cell_len, lines), default=0)

    @property
    def narrowest(self) -> int:
        """Width below which it does not go while others can leave."""
        return self.widest if self.least is None else min(self.least, self.widest)


def fitted_table(
    columns: Sequence[Column], width: int, title: str = "", rows: slice = slice(None)
) -> Group:
    """A table of no more than `width` cells a line; see the top of this module.

    Args:
        columns: Those that there would be with room enough, from left to right.
        width: Cells a line.
        title: What stands above the table.
        rows: The rows to show; the widths are those of all, so that several parts line up.
    """
    staying, widths, gap = fit(columns, width)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
        header_style="dim",
    )
    for column, cells in zip(staying, widths, strict=True):
        table.add_column(
            Text(column.heading),
            width=cells,
            justify="right" if column.is_number else "left",
            overflow="fold",
            style=column.style,
        )
    for row in zip(*(column.cells[rows] for column in staying), strict=True):
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return Group(*([Text(title, style="bold")] if title else []), table)


def fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[int], int]:
    """The columns that stay, the width of each, and the gap between two."""
    staying = list(columns)
    gap = 2 if _total([column.widest for column in staying], 2) <= width else 1
    for turn in sorted(column.leaves for column in columns if column.leaves is not None):
        if _total([column.narrowest for column in staying], gap) <= width:
            break
        staying = [column for column in staying if column.leaves != turn]
    return staying, _widths(staying, width, gap), gap


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * len(widths) - 1


def _widths(columns: Sequence[Column], width: int, gap: int) -> list[int]:
    """Each at its least; then what room there is goes, cell by cell, to the narrowest."""
    widths, widest = [c.narrowest for c in columns], [c.widest for c in columns]
    while (room := width - _total(widths, gap)) < 0 and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    while room > 0:
        growing = [i for i, now in enumerate(widths) if now < widest[i]]
        if not growing:
            break
        widths[min(growing, key=widths.__getitem__)] += 1
        room -= 1
    return widths


def answer_box(title: str, *parts: RenderableType, colour: str) -> Group:
    """Parts between two lines, without edges, so that a command in it can be copied."""
    head = Rule(Text(title, style="bold"), align="left", style=colour, characters="━")
    return Group(head, *parts, Rule(style=colour, characters="━"))


def panel(title: str, *parts: RenderableType, colour: str = "dim") -> Panel:
    """A box around some parts."""
    return Panel(
        Group(*parts), title=title, title_align="left", border_style=colour, padding=(0, 1)
    )


class Facts:
    """Names, each with lines beside it or, where the screen is narrow, below it."""

    def __init__(self) -> None:
        self._facts: list[tuple[str, list[Text]]] = []

    def add(self, name: str, *lines: str | Text) -> None:
        """Add a fact; one without lines is left out."""
        if lines:
            texts = [Text(shown(line)) if isinstance(line, str) else line for line in lines]
            self._facts.append((shown(name), texts))

    def fitted(self, console: Console, width: int, most: int) -> Facts:
        """The first of them, as many as fit in a number of lines."""
        fitting = Facts()
        options = console.options.update_width(width)
        for fact in self._facts:
            fitting._facts.append(fact)
            if len(console.render_lines(fitting, options)) > most:
                fitting._facts.pop()
                break
        return fitting

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < _MIN_WIDTH_OF_TWO_COLUMNS - 4:
            for name, lines in self._facts:
                yield Text(name, style="dim")
                for line in lines:
                    yield Padding(line, (0, 0, 0, 2))
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, lines in self._facts:
            for index, line in enumerate(lines):
                grid.add_row("" if index else Text(name), line)
        yield grid
