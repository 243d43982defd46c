"""What the tables for people have in common: widths, titles, facts, and text without colour."""

from __future__ import annotations

from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

_WIDTH_OF_A_PIPE = 100
_MIN_WIDTH = 60


def plain_text(show: Callable[[Console], None], width: int | None = None) -> str:
    """What a function prints on a console, without colour.

    Args:
        show: Prints it.
        width: Cells a line, 60 at least; None takes `COLUMNS`, or 100.
    """
    if width is None:
        width = get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns
    text = StringIO()
    show(Console(file=text, width=max(width, _MIN_WIDTH), color_system=None))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def titled_table(title: str, *, expand: bool = False, gap: int = 1) -> Table:
    """A table with its title above it, as wide as its content or as there is room."""
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        expand=expand,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        header_style="dim",
    )


def panel(title: str, *parts: RenderableType, colour: str = "dim") -> Panel:
    """A box around some parts."""
    return Panel(
        Group(*parts), title=title, title_align="left", border_style=colour, padding=(1, 2)
    )


class Facts:
    """Names, each with lines beside it."""

    def __init__(self) -> None:
        self.grid = Table.grid(padding=(0, 2))
        self.grid.add_column(style="dim", no_wrap=True)
        self.grid.add_column(overflow="fold")

    def add(self, name: str, *lines: str | Text) -> None:
        """Add a fact; one without lines is left out."""
        for index, line in enumerate(lines):
            text = Text(shown(line)) if isinstance(line, str) else line
            self.grid.add_row("" if index else Text(shown(name)), text)
