"""Tables of a lab on a terminal, or in Markdown, beside the paper's own numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from clipaudit.lab.tables import DOWNSTREAM, costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from clipaudit.lab.results import Results
    from clipaudit.lab.tables import ResultTable
    from clipaudit.statistics.metrics import Estimate

_FOOTNOTE = (
    "Means over the repetitions, each with its own pictures, target and shadow encoder; in "
    "brackets 95 % intervals: the wider of Clopper and Pearson's over all pictures and Student's t "
    "over the repetitions. Members and non-members are as many."
)


def print_tables(console: Console, results: Results, tables: Sequence[ResultTable]) -> None:
    """Print the tables of a lab, and what it cost."""
    console.print(Text(_heading(results), style="bold"))
    for table in tables:
        grid = Table(title_justify="left", title_style="bold", pad_edge=False)
        grid.title = escape(table.title)
        for column in _columns(table):
            grid.add_column(Text(column), overflow="fold")
        for line in _lines(table):
            grid.add_row(*map(_stacked, line))
        console.print()
        console.print(grid)
        if (words := table.facts.remark) and table.output == tables[0].output:
            console.print(Text(words, style="dim"))
    console.print()
    console.print(Text(_FOOTNOTE, style="dim"))
    _print_costs(console, results)


def print_markdown(console: Console, results: Results, tables: Sequence[ResultTable]) -> None:
    """Print the tables of a lab as Markdown."""
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    say(_heading(results))
    for table in tables:
        columns = _columns(table)
        say(f"\n### {table.title}\n")
        if (words := table.facts.remark) and table.output == tables[0].output:
            say(f"{words}\n")
        say(f"| {' | '.join(columns)} |")
        say(f"|{'---|' * len(columns)}")
        for line in _lines(table):
            say(f"| {' | '.join(line)} |")
    say(f"\n{_FOOTNOTE}")


def _heading(results: Results) -> str:
    """What was run, and at what scale."""
    cost = costs(results)["all"]
    return (
        f"{results.matrix}, scale {results.scale}: {results.about}. {cost.n_encoders} encoders, "
        f"{cost.hours:.1f} hours of pre-training on {results.device} ({cost.outside:.0%} of it "
        "outside forward and backward pass)."
    )


def _print_costs(console: Console, results: Results) -> None:
    table = Table(title="What it cost", title_justify="left", title_style="bold", pad_edge=False)
    for column in ("encoders", "how many", "hours", "outside forward and backward pass"):
        table.add_column(column)
    for name, cost in costs(results).items():
        table.add_row(name, str(cost.n_encoders), f"{cost.hours:.2f}", f"{cost.outside:.1%}")
    console.print()
    console.print(table)


def _columns(table: ResultTable) -> list[str]:
    columns = [table.facts.setting, *table.methods]
    if any(row.downstream for row in table.rows):
        columns.append(DOWNSTREAM)
    if any(row.paper for row in table.rows):
        columns.append("paper")
    return [*columns, "seeds"]


def _lines(table: ResultTable) -> list[list[str]]:
    """Cells of a table as text, row by row."""
    columns = _columns(table)
    lines = []
    for row in table.rows:
        line = [row.setting, *(_figure(row.figures[method]) for method in table.methods)]
        if DOWNSTREAM in columns:
            line.append(_figure(row.downstream))
        if "paper" in columns:
            line.append(", ".join(f"{method} {figure}" for method, figure in row.paper.items()))
        n = max((figure.n for figure in row.figures.values() if figure), default=0)
        lines.append([*line, f"{row.n_seeds} (n = {n})"])
    return lines


def _stacked(cell: str) -> Text:
    """What stands in brackets on a line of its own, so that a table fits into 80 columns."""
    first, _, rest = cell.partition(" (")
    return Text(f"{first}\n{rest.removesuffix(')')}" if rest else cell)


def _figure(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
