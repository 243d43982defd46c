"""Results → figures, as PNG and SVG: ours with intervals, and what the paper reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.files import make_folder, replacing
from clipaudit.inferrers import RULES, find_rule
from clipaudit.lab.judging import WITH_REFERENCE
from clipaudit.lab.tables import DOWNSTREAM, SPOKEN, ResultTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clipaudit.lab.results import Results
    from clipaudit.statistics.metrics import Estimate

FOLDER = "figures"

_GREY, _DARK_GREY = "#999999", "#444444"


def draw_all(found: Results, tables: Sequence[ResultTable], folder: Path) -> list[Path]:
    """Draw a figure an experiment, with a panel an output, as PNG and SVG.

    Args:
        found: The results.
        tables: Their tables, as `tables` makes them.
        folder: Where the files go.

    Returns:
        The files, PNG before SVG.

    Raises:
        FileError: A file cannot be written.
    """
    from matplotlib import rc_context

    make_folder(folder)
    files = []
    for experiment in dict.fromkeys(table.experiment for table in tables):
        panels = [table for table in tables if table.experiment == experiment]
        figure = draw(found, panels)
        for ending in ("png", "svg"):
            path = folder / f"{found.matrix}-{found.scale}-{experiment}.{ending}"
            with replacing(path) as file, rc_context({"svg.hashsalt": "clipaudit"}):
                # No date, and no random names: the same results give the same file.
                metadata = {"Date": None} if ending == "svg" else {"Software": None}
                figure.savefig(file, format=ending, dpi=150, metadata=metadata)
            files.append(path)
    return files


def draw(found: Results, panels: Sequence[ResultTable]) -> Figure:
    """Draw the figure of an experiment, on no screen.

    Args:
        found: The results, which tell the scale.
        panels: Tables of the experiment, one an output.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    first = panels[0]
    with rc_context({"font.size": 9, "axes.titlesize": 9}):
        height = 3.6 if first.facts.is_numeric else 2.2 + 0.32 * len(first.rows)
        figure = Figure(figsize=(4.6 * len(panels), height), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, table in zip(axes, panels, strict=True):
            (_lines if table.facts.is_numeric else _points)(ax, table)
            ax.set_title(f"{table.output} output")
        n_seeds = max(row.n_seeds for row in first.rows)
        scale = f"scale {found.scale}, mean of {n_seeds} repetitions with 95 % intervals"
        figure.suptitle(f"{first.facts.title}, {first.data}\n{scale}", fontsize=9)
        by_label: dict[str, Artist] = {}
        for ax in axes:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                by_label.setdefault(label, handle)
        figure.legend(
            list(by_label.values()),
            list(by_label),
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
    return figure


def _lines(ax: Axes, table: ResultTable) -> None:
    """Draw figures against a number."""
    xs = [float(row.setting) for row in table.rows]
    for method in table.methods:
        _errors(ax, table, xs, [row.figures[method] for row in table.rows], method, joined=True)
    if any(row.downstream for row in table.rows):
        _errors(ax, table, xs, [row.downstream for row in table.rows], DOWNSTREAM, joined=True)
    for x, row in zip(xs, table.rows, strict=True):
        for method, reported in row.paper.items():
            _report(ax, table, [x, x], [reported.low, reported.high], method)
    if table.facts.is_logarithmic:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(xs, [row.setting for row in table.rows])
    ax.set_xlabel(table.facts.setting)
    ax.set_ylabel(SPOKEN.get(table.quantity, table.quantity))
    ax.axhline(0.5, color="#cccccc", linewidth=0.8, zorder=0)
    ax.grid(axis="y", color="#eeeeee", zorder=0)


def _points(ax: Axes, table: ResultTable) -> None:
    """Draw figures of settings that are words, from top to bottom."""
    names = [*table.methods]
    if any(row.downstream for row in table.rows):
        names.append(DOWNSTREAM)
    for place, name in enumerate(names):
        offset = (place - (len(names) - 1) / 2) * 0.8 / max(len(names), 3)
        ys = [position + offset for position in range(len(table.rows))]
        found = [row.downstream if name == DOWNSTREAM else row.figures[name] for row in table.rows]
        _errors(ax, table, ys, found, name, across=True)
        for y, row in zip(ys, table.rows, strict=True):
            if name in row.paper:
                reported = row.paper[name]
                _report(ax, table, [reported.low, reported.high], [y, y], name)
    ax.set_yticks(range(len(table.rows)), [row.setting for row in table.rows])
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    ax.set_xlabel(SPOKEN.get(table.quantity, table.quantity))
    ax.axvline(0.5, color="#cccccc", linewidth=0.8, zorder=0)
    ax.grid(axis="x", color="#eeeeee", zorder=0)


def _style(table: ResultTable, method: str) -> tuple[str, str]:
    """Colour and mark of a method: those of its rule, or what the experiment says."""
    kind = method.removesuffix(WITH_REFERENCE)
    if kind in RULES:
        rule = find_rule(kind)
        return (rule.colour if kind == method else rule.reference_colour), rule.mark
    if method == DOWNSTREAM:
        return _GREY, "."
    return table.facts.colours.get(method, _DARK_GREY), "."


def _errors(
    ax: Axes,
    table: ResultTable,
    at: Sequence[float],
    found: Sequence[Estimate | None],
    name: str,
    *,
    joined: bool = False,
    across: bool = False,
) -> None:
    """Draw means with their intervals."""
    known = [(place, figure) for place, figure in zip(at, found, strict=True) if figure]
    if not known:
        return
    places = [place for place, _ in known]
    values = [figure.value for _, figure in known]
    reach = [
        [figure.value - figure.low for _, figure in known],
        [figure.high - figure.value for _, figure in known],
    ]
    colour, mark = _style(table, name)
    ax.errorbar(
        values if across else places,
        places if across else values,
        xerr=reach if across else None,
        yerr=None if across else reach,
        label=name,
        color=colour,
        marker=mark,
        markersize=4,
        linewidth=1,
        linestyle="-" if joined else "none",
        capsize=2,
    )


def _report(
    ax: Axes, table: ResultTable, x: Sequence[float], y: Sequence[float], method: str
) -> None:
    """Draw what the paper reports, as hollow diamonds."""
    ax.plot(
        x,
        y,
        "D",
        markerfacecolor="none",
        markeredgecolor=_style(table, method)[0],
        markersize=7,
        label=f"{method} in the paper",
    )
