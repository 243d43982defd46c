"""An `Evaluation` for people: what the pictures give away, the figures, and two histograms.

Where the screen is narrow, the figures stand in several tables, and none of them leaves. Of what is
left after adjusting, the number of counterparts leaves first, then the AUC before it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from rich.console import Group
from rich.text import Text

from clipaudit.reports.tables import Column, Facts, fitted_table, panel, plain_text
from clipaudit.reports.wording import captions_lines, views_lines
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.panel import Panel

    from clipaudit.results.evaluation import Evaluation, Histogram, MethodFigures
    from clipaudit.statistics.metrics import AtFpr, Estimate

_NAMES, _CELL = 16, 10
"""Widths of the first column and of the others, with the edges and one space between."""
_BOX = 4
"""Cells that a box takes of a line."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROWS = 3
"""Height of a histogram in lines."""

Figure = tuple[str, "Callable[[MethodFigures], Text]"]


def dump(evaluation: Evaluation, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100; text is UTF-8."""
    file.write(plain_text(partial(show, evaluation)).encode())


def show(evaluation: Evaluation, console: Console) -> None:
    """Print it, in the width and the colours of the console."""
    console.print(Group(*_parts(evaluation, console.width)))


def _parts(evaluation: Evaluation, width: int) -> Iterator[RenderableType]:
    if evaluation.is_confounded:
        yield _confounded(evaluation, width)
    for title, columns in _tables(width):
        yield _figures(evaluation, title, columns, width)
        yield Text()
    yield Text(
        "% with 95 % interval below it; AUC in 0 to 1, where 0.5 is guessing. "
        + (" ".join(_needs(evaluation))),
        style="dim",
    )
    yield Text()
    yield from _histogram(evaluation, width)
    yield Text()
    yield _facts(evaluation)


def _confounded(evaluation: Evaluation, width: int) -> Panel:
    """The line that has to be read before any figure, and what is left of the AUCs."""
    rows = []
    for method in evaluation.methods:
        adjusted = method.adjusted
        assert adjusted is not None
        left = "cannot be said" if adjusted.adjusted is None else _rate(adjusted.adjusted)
        matched = f"{adjusted.n_matched:,} of {adjusted.n_members:,}"
        rows.append((shown(method.inferrer.name), _rate(adjusted.raw), left, matched))
    names, aucs, adjusted_aucs, counts = zip(*rows, strict=True)
    columns = (
        Column("inferrer", names, least=13),
        Column("AUC", aucs, leaves=2, is_number=True),
        Column("left after\nadjusting", adjusted_aucs, is_number=True),
        Column("members with\ncounterparts", counts, leaves=1, is_number=True),
    )
    table = fitted_table(columns, width - _BOX)
    reasons = dict.fromkeys(
        method.adjusted.reason
        for method in evaluation.methods
        if method.adjusted and method.adjusted.reason
    )
    notes = [Text(f"Cannot be said: {reason}.", style="dim") for reason in reasons]
    reading = (
        "Left after adjusting: the AUC among pictures that look equally like members without the "
        "encoder. Above 0.5 it is due to membership, or to differences that the classifiers did "
        "not see."
    )
    reports = evaluation.blind_reports
    sentences = [Text(found.sentence(), style="bold") for found in reports if found.is_confounded]
    return panel(
        "Confounded",
        *sentences,
        Text(),
        table,
        Text(),
        *notes,
        Text(reading, style="italic"),
        colour="yellow",
    )


def _tables(width: int) -> Iterator[tuple[str, Sequence[Figure]]]:
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


def _figures(evaluation: Evaluation, title: str, figures: Sequence[Figure], width: int) -> Group:
    names = []
    places = [(method.method, method.shadow_data) for method in evaluation.methods]
    for method, place in zip(evaluation.methods, places, strict=True):
        method_name = shown(method.method).replace(" + ", "\n+ ")
        name = Text.assemble(method_name, (f"\n{shown(method.shadow_data)}", "dim"))
        if places.count(place) > 1:
            name.append(f"\n{shown(method.inferrer.name)}", "dim")
        names.append(name)
    columns = [Column("method\nshadow data", names, least=_NAMES - 3)]
    for heading, cell in figures:
        cells = [cell(method) for method in evaluation.methods]
        columns.append(Column(heading, cells, is_number=True))
    return fitted_table(columns, width, title)


def _share(estimate: Estimate | None) -> Text:
    if estimate is None:
        return Text("–")
    low, value, high = (100 * end for end in (estimate.low, estimate.value, estimate.high))
    return Text.assemble(f"{_digits(value)}\n", (f"{_digits(low)}–{_digits(high)}", "dim"))


def _digits(percent: float) -> str:
    """One decimal, in four characters at most, so that columns do not outgrow their room."""
    return "100" if percent >= 99.95 else f"{percent:.1f}"


def _auc(estimate: Estimate) -> Text:
    return Text.assemble(
        (f"{estimate.value:.3f}\n", "bold"), (f"{estimate.low:.2f}–{estimate.high:.2f}", "dim")
    )


def _at(index: int) -> Callable[[MethodFigures], Text]:
    return lambda method: _share(method.figures.at_fpr[index].tpr)


_COUNTED: tuple[Figure, ...] = (
    ("accuracy", lambda method: _share(method.figures.accuracy)),
    ("precision", lambda method: _share(method.figures.precision)),
    ("recall", lambda method: _share(method.figures.recall)),
    ("F1", lambda method: _share(method.figures.f1)),
    ("FPR", lambda method: _share(method.figures.fpr)),
)
_RANKED: tuple[Figure, ...] = (
    ("AUC", lambda method: _auc(method.figures.auc)),
    ("TPR at\n1 % FPR", _at(0)),
    ("TPR at\n0.1 % FPR", _at(1)),
)


def _needs(evaluation: Evaluation) -> Iterator[str]:
    """What a dash stands for."""
    missing: list[AtFpr] = [at for at in evaluation.methods[0].figures.at_fpr if at.tpr is None]
    if missing:
        takes = " and ".join(f"{at.n_needed:,} at {100 * at.fpr:g} %" for at in missing)
        yield (
            f"–: a TPR at so low an FPR takes more non-members: {takes}, and there are "
            f"{evaluation.nonmembers.n:,}."
        )
    if any(method.figures.precision is None for method in evaluation.methods):
        yield "–: no precision, as no picture was called a member."


def _histogram(evaluation: Evaluation, width: int) -> Iterator[Text]:
    found = evaluation.similarity
    if found is None:
        return
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
    facts = Facts()
    called = "potential members" if evaluation.label == "potential-member" else "members"
    facts.add(
        "Pictures",
        f"{evaluation.members.n:,} {called}, {evaluation.nonmembers.n:,} non-members of "
        f"{evaluation.folder}",
        *_left_out(evaluation),
    )
    if evaluation.label == "potential-member":
        facts.add(
            "",
            "a potential member was public when the encoder was trained, so perhaps it was used; "
            "those that were not pull every figure down",
        )
    silent = [report for report in evaluation.blind_reports if not report.is_confounded]
    facts.add("Blind baseline", *(report.sentence() for report in silent))
    if evaluation.blind is None:
        why = evaluation.blind_missing or "left out with --no-blind"
        facts.add(
            "Blind baseline",
            f"none: {why}; so whether the pictures alone give membership away is not known",
        )
    for name, encoder in run.named_encoders:
        facts.add(
            name,
            f"{encoder.spec}, output {encoder.output}, fingerprint {encoder.fingerprint[:12]}",
        )
    facts.add("Views", *views_lines(run))
    if run.captions:
        facts.add("Captions", *captions_lines(run.captions))
    facts.add("Note", *run.notes)
    facts.add(
        "Inferrers",
        *(
            f"{method.inferrer.name}: threshold {method.inferrer.threshold:.4g}, trained on "
            f"{method.inferrer.trained_on}"
            for method in evaluation.methods
        ),
    )
    return panel("Summary", facts, Text(), Text(evaluation.summary, style="italic"))


def _left_out(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.n_same:
        same = count(evaluation.n_same, "copy or near-duplicate", "copies and near-duplicates")
        yield f"{same} of others {'was' if evaluation.n_same == 1 else 'were'} passed over"
    if n_shared := len(evaluation.shared):
        first = evaluation.shared[0]
        yield (
            f"{count(n_shared, 'pair')} of pictures {'is' if n_shared == 1 else 'are'} on both "
            "sides and count on neither, such as "
            f"{first.member} and {first.nonmember}"
        )
    if evaluation.skipped:
        reasons = (f"{n:,} {why.replace('_', ' ')}" for why, n in evaluation.skipped.items())
        yield "without a score: " + ", ".join(reasons)


def _rate(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.2f}–{estimate.high:.2f})"
