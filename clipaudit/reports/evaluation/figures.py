"""An `Evaluation` as figures: the two histograms, and the ROC curves on a log axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipaudit.files import make_folder, replacing
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clipaudit.results.evaluation import Evaluation, Histogram, MethodFigures

HISTOGRAM, ROC = "histogram.png", "roc.png"

_MEMBERS, _OTHERS = "#d1495b", "#1b6ca8"
_COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8d6a9f", "#c28f2c", "#123f63", "#7f1d2c", "#5f7470")
_DASHES = ("-", "--", ":", "-.")


def draw_all(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `roc.png` and, where the run made views, `histogram.png`.

    Args:
        evaluation: What to draw.
        folder: Folder for the files; it is made where it is missing.

    Returns:
        The files.

    Raises:
        FileError: A file cannot be written.
    """
    make_folder(folder)
    files = []
    drawn = {ROC: roc(evaluation)}
    if evaluation.similarity:
        drawn = {HISTOGRAM: histogram(evaluation, evaluation.similarity), **drawn}
    for name, figure in drawn.items():
        path = folder / name
        with replacing(path) as file:
            # No version of the program in it: the same numbers give the same file.
            figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
        files.append(path)
    return files


def histogram(evaluation: Evaluation, found: Histogram) -> Figure:
    """How the mean similarity is spread among members and among non-members; on no screen."""
    figure, ax = _figure(evaluation)
    for counts, name, n, colour in (
        (found.members, "members", evaluation.members.n, _MEMBERS),
        (found.nonmembers, "non-members", evaluation.nonmembers.n, _OTHERS),
    ):
        percent = 100 * np.array(counts) / n
        label = f"{name}, n = {n:,}"
        ax.stairs(percent, found.edges, fill=True, alpha=0.35, color=colour, label=label)
        ax.stairs(percent, found.edges, color=colour, linewidth=1)
    ax.set_xlabel(f"mean {evaluation.run.similarity} similarity of the views of a picture")
    ax.set_ylabel("share of the pictures in %")
    ax.legend(frameon=False, fontsize=8)
    return figure


def roc(evaluation: Evaluation) -> Figure:
    """The ROC curves with FPR on a log axis, and 95 % intervals at low FPR; on no screen."""
    figure, ax = _figure(evaluation)
    lowest = 0.5 / evaluation.nonmembers.n
    for index, method in enumerate(evaluation.methods):
        _curve(ax, method, index, lowest)
    chance = np.geomspace(lowest, 1, 100)
    ax.plot(chance, chance, color="#999999", linewidth=0.8, linestyle="--", label="chance")
    ax.set_xscale("log")
    ax.set_xlim(lowest, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("false-positive rate")
    ax.set_ylabel("true-positive rate")
    ax.grid(color="#eeeeee", zorder=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _curve(ax: Axes, method: MethodFigures, index: int, lowest: float) -> None:
    auc = method.figures.auc
    colour = _COLOURS[index % len(_COLOURS)]
    style = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    name = shown(method.inferrer.name).replace("$", r"\$")  # else matplotlib takes it for a formula
    ax.plot(
        # What no non-member reaches has an FPR of 0, which is at no place of a log axis.
        np.maximum(method.curve.fpr, lowest),
        method.curve.tpr,
        color=colour,
        linestyle=style,
        linewidth=1.2,
        label=f"{name}: AUC {auc.value:.3f} ({auc.low:.2f} to {auc.high:.2f})",
    )
    for at in method.figures.at_fpr:
        if at.tpr is not None:
            reach = [[at.tpr.value - at.tpr.low], [at.tpr.high - at.tpr.value]]
            place = at.fpr * 1.06 ** (index - 2)  # side by side, so that each can be seen
            ax.errorbar([place], [at.tpr.value], yerr=reach, color=colour, capsize=2, linewidth=1)


def _figure(evaluation: Evaluation) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "axes.titlesize": 9}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        ax = figure.subplots()
    warning = "\nconfounded: these figures prove nothing by themselves"
    spec = shown(evaluation.run.encoder.spec).replace("$", r"\$")
    ax.set_title(
        f"{spec}: {evaluation.members.n:,} members, {evaluation.nonmembers.n:,} non-members"
        + (warning if evaluation.is_confounded else ""),
        fontsize=9,
    )
    return figure, ax
