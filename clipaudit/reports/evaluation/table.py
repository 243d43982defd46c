"""An `Evaluation` for people: what the pictures give away, the figures, and two histograms."""

from __future__ import annotations

from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from clipaudit.results.evaluation import Evaluation, Histogram, MethodFigures
    from clipaudit.statistics.metrics import AtFpr, Estimate

_WIDTH_OF_A_PIPE = 100
_MIN_WIDTH = 60
_NAMES, _CELL = 16, 10
"""Widths of the first column and of the others, with the edges and one space between."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROWS = 3
"""Height of a histogram in lines."""

Column = tuple[str, "Callable[[MethodFigures], Text]"]


def dump(evaluation: Evaluation, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100; text is UTF-8."""
    file.write(as_text(evaluation, get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns).encode())


def as_text(evaluation: Evaluation, width: int) -> str:
    """The same without colour, in lines of at most `width` cells."""
    text = StringIO()
    show(evaluation, Console(file=text, width=max(width, _MIN_WIDTH), color_system=None))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def show(evaluation: Evaluation, console: Console) -> None:
    """Print it, in the width and the colours of the console."""
    console.print(Group(*_parts(evaluation, console.width)))


def _parts(evaluation: Evaluation, width: int) -> Iterator[RenderableType]:
    if evaluation.is_confounded:
        yield _confounded(evaluation)
    for title, columns in _tables(width):
        yield _figures(evaluation, title, columns, width)
    yield Text(
        "% with 95 % interval below it; AUC in 0 to 1, where 0.5 is guessing. "
        + (" ".join(_needs(evaluation))),
        style="dim",
    )
    yield Text()
    yield from _histogram(evaluation, width)
    yield Text()
    yield _facts(evaluation)


def _confounded(evaluation: Evaluation) -> Panel:
    """The line that has to be read before any figure, and what is left of the AUCs."""
    assert evaluation.blind is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for title in ("inferrer", "AUC", "left after adjusting", "members with counterparts"):
        table.add_column(title, justify="left" if title == "inferrer" else "right")
    for one in evaluation.methods:
        adjusted = one.adjusted
        assert adjusted is not None
        left = "cannot be said" if adjusted.adjusted is None else _rate(adjusted.adjusted)
        matched = f"{adjusted.n_matched:,} of {adjusted.n_members:,}"
        table.add_row(shown(one.inferrer.name), _rate(adjusted.raw), left, matched)
    reasons = dict.fromkeys(
        one.adjusted.reason for one in evaluation.methods if one.adjusted and one.adjusted.reason
    )
    notes = [Text(f"Cannot be said: {reason}.", style="dim") for reason in reasons]
    return Panel(
        Group(
            Text(evaluation.blind.sentence(), style="bold"),
            table,
            *notes,
            Text(
                "Left after adjusting: the AUC among pictures that look equally like members "
                "without the encoder. Above 0.5 it is due to membership, or to differences that "
                "the classifiers did not see.",
                style="italic",
            ),
        ),
        title="Confounded",
        title_align="left",
        border_style="yellow",
        padding=(1, 2),
    )


def _tables(width: int) -> Iterator[tuple[str, Sequence[Column]]]:
    """Titles and columns: one table where there is room, else as many as it takes."""
    n_columns = max(1, (width - _NAMES) // _CELL)
    every = _COUNTED + _RANKED
    if len(every) <= n_columns:
        yield "Members told from non-members", every
        return
    for title, columns in (
        ("Members told from non-members at each inferrer's own threshold", _COUNTED),
        ("Members told from non-members at any threshold", _RANKED),
    ):
        for first in range(0, len(columns), n_columns):
            yield title, columns[first : first + n_columns]


def _figures(evaluation: Evaluation, title: str, columns: Sequence[Column], width: int) -> Table:
    has_room = width >= _NAMES + (_CELL + 1) * (len(columns) + 1)
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, int(has_room), 0, 0),
        header_style="dim",
    )
    table.add_column("method\nshadow data", overflow="fold", min_width=13)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    places = [(one.method, one.shadow_data) for one in evaluation.methods]
    for one, place in zip(evaluation.methods, places, strict=True):
        method = shown(one.method).replace(" + ", "\n+ ")
        name = Text.assemble(method, (f"\n{shown(one.shadow_data)}", "dim"))
        if places.count(place) > 1:
            name.append(f"\n{shown(one.inferrer.name)}", "dim")
        table.add_row(name, *(cell(one) for _, cell in columns))
    return table


def _share(estimate: Estimate | None) -> Text:
    if estimate is None:
        return Text("–")
    low, value, high = (100 * one for one in (estimate.low, estimate.value, estimate.high))
    return Text.assemble(f"{_digits(value)}\n", (f"{_digits(low)}–{_digits(high)}", "dim"))


def _digits(percent: float) -> str:
    """One decimal, in four characters at most, so that columns do not outgrow their room."""
    return "100" if percent >= 99.95 else f"{percent:.1f}"


def _auc(estimate: Estimate) -> Text:
    return Text.assemble(
        (f"{estimate.value:.3f}\n", "bold"), (f"{estimate.low:.2f}–{estimate.high:.2f}", "dim")
    )


def _at(index: int) -> Callable[[MethodFigures], Text]:
    return lambda one: _share(one.figures.at_fpr[index].tpr)


_COUNTED: tuple[Column, ...] = (
    ("accuracy", lambda one: _share(one.figures.accuracy)),
    ("precision", lambda one: _share(one.figures.precision)),
    ("recall", lambda one: _share(one.figures.recall)),
    ("F1", lambda one: _share(one.figures.f1)),
    ("FPR", lambda one: _share(one.figures.fpr)),
)
_RANKED: tuple[Column, ...] = (
    ("AUC", lambda one: _auc(one.figures.auc)),
    ("TPR at\n1 % FPR", _at(0)),
    ("TPR at\n0.1 % FPR", _at(1)),
)


def _needs(evaluation: Evaluation) -> Iterator[str]:
    """What a dash stands for."""
    missing: list[AtFpr] = [one for one in evaluation.methods[0].figures.at_fpr if one.tpr is None]
    if missing:
        takes = " and ".join(f"{one.n_needed:,} at {100 * one.fpr:g} %" for one in missing)
        yield (
            f"–: a TPR at so low an FPR takes more non-members: {takes}, and there are "
            f"{evaluation.nonmembers.n:,}."
        )
    if any(one.figures.precision is None for one in evaluation.methods):
        yield "–: no precision, as no picture was called a member."


def _histogram(evaluation: Evaluation, width: int) -> Iterator[Text]:
    found = evaluation.similarity
    stretch = max(1, min(80, width - 14) // len(found.members))
    run = evaluation.run
    yield Text(
        f"Mean {run.similarity} similarity of the views of a picture, to {shown(run.encoder.spec)}",
        style="bold",
    )
    most = max(max(counts) / max(1, sum(counts)) for counts in (found.members, found.nonmembers))
    for name, counts, style in (
        ("members", found.members, "yellow"),
        ("non-members", found.nonmembers, "cyan"),
    ):
        for number, line in enumerate(_blocks(counts, most, stretch)):
            label = f"{name:<12}" if number == _ROWS - 1 else " " * 12
            yield Text.assemble(label, (line, style))
    yield Text(" " * 12 + _axis(found, stretch), style="dim")


def _blocks(counts: Sequence[int], most: float, stretch: int) -> list[str]:
    """Lines from top to bottom; a bin that holds anything shows at least a trace."""
    heights = np.array(counts) / max(1, sum(counts)) / most * _ROWS * 8
    eighths = np.maximum(np.round(heights), np.array(counts) > 0).astype(int)
    return [
        "".join(_BLOCKS[level] * stretch for level in np.clip(eighths - 8 * row, 0, 8))
        for row in reversed(range(_ROWS))
    ]


def _axis(found: Histogram, stretch: int) -> str:
    ends = [f"{found.edges[0]:.3f}", f"{found.edges[-1]:.3f}"]
    return ends[0] + ends[1].rjust(len(found.members) * stretch - len(ends[0]))


def _facts(evaluation: Evaluation) -> Panel:
    run = evaluation.run
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")

    def fact(name: str, *lines: str) -> None:
        for index, line in enumerate(lines):
            facts.add_row("" if index else Text(name), Text(shown(line)))

    called = "potential members" if evaluation.label == "potential-member" else "members"
    fact(
        "Pictures",
        f"{evaluation.members.n:,} {called}, {evaluation.nonmembers.n:,} non-members of "
        f"{evaluation.folder}",
        *_left_out(evaluation),
    )
    if evaluation.label == "potential-member":
        fact(
            "",
            "a potential member was public when the encoder was trained, so perhaps it was used; "
            "those that were not pull every figure down",
        )
    if evaluation.blind is not None and not evaluation.is_confounded:
        fact("Blind baseline", evaluation.blind.sentence())
    elif evaluation.blind is None:
        why = evaluation.blind_missing or "left out with --no-blind"
        fact(
            "Blind baseline",
            f"none: {why}; so whether the pictures alone give membership away is not known",
        )
    for encoder, name in (
        (run.encoder, "Encoder"),
        *((one, "Reference") for one in run.references),
    ):
        fact(
            name,
            f"{encoder.spec}, output {encoder.output}, fingerprint {encoder.fingerprint[:12]}",
        )
    fact("Views", f"{run.n_views} an image by recipe {run.recipe}, seed {run.seed}")
    fact(
        "Inferrers",
        *(
            f"{one.inferrer.name}: threshold {one.inferrer.threshold:.4g}, trained on "
            f"{one.inferrer.trained_on}"
            for one in evaluation.methods
        ),
    )
    return Panel(
        Group(facts, Text(), Text(evaluation.summary, style="italic")),
        title="Summary",
        title_align="left",
        border_style="dim",
        padding=(1, 2),
    )


def _left_out(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.n_same:
        yield f"{evaluation.n_same:,} copies and near-duplicates of others were passed over"
    if n_shared := len(evaluation.shared):
        first = evaluation.shared[0]
        yield (
            f"{n_shared:,} pairs of pictures are on both sides and count on neither, such as "
            f"{first.member} and {first.nonmember}"
        )
    if evaluation.skipped:
        reasons = (f"{n:,} {why.replace('_', ' ')}" for why, n in evaluation.skipped.items())
        yield "without a score: " + ", ".join(reasons)


def _rate(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.2f}–{estimate.high:.2f})"
