"""Numbers → the geometry of plots: where each bar and point stands, in units of the drawing.

No markup: the template turns it into SVG, and colours are the page's. Scores go up and to the
right. Nothing here is random, so equal numbers give equal drawings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["suspects", "control", "known"]
"""Whose numbers: a colour, and a word in the legend."""

WIDTH, LEFT, RIGHT = 460.0, 48.0, 440.0
_PANEL, _GAP, _TOP, _BOTTOM = 78.0, 26.0, 40.0, 44.0
_NAME = 17.0
_BINS = 24
_P_BINS = 20
_MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """Numbers of one set of pictures.

    Attributes:
        kind: Whose.
        name: Name of the set in the legend.
        values: Finite.
    """

    kind: Kind
    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled box: left, top, width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the drawing."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where along it, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of pictures in a plot.

    Attributes:
        kind: Whose numbers.
        name: What stands above it.
        top: Upper end of its vertical axis.
        bottom: Lower end of that axis.
        y_ticks: Marks up its side.
        bars: Bars of a histogram.
        points: Pictures by rank.
    """

    kind: Kind
    name: str
    top: float
    bottom: float
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of `WIDTH` times `height`.

    Attributes:
        title: What is shown.
        caption: How to read it.
        summary: What the plot shows in words and numbers, for readers who cannot see it.
        height: Height of the drawing.
        panels: Below each other, on one horizontal axis; or one on top of another.
        x_ticks: Marks on that axis.
        x_label: What it counts.
        y_label: What the other one counts.
        mark: A line across it with a word, vertical.
        level: A horizontal line with a word.
    """

    title: str
    caption: str
    summary: str
    height: float
    panels: tuple[Panel, ...]
    x_ticks: tuple[Tick, ...]
    x_label: str
    y_label: str
    mark: Tick | None = None
    level: Tick | None = None


def histogram(
    samples: Sequence[Sample],
    title: str,
    caption: str,
    x_label: str,
    mark: tuple[float, str] | None = None,
) -> Plot:
    """Each set as a histogram, below each other, all with the same bins and the same scale.

    Args:
        samples: Sets with a number at least.
        title: Title of the plot.
        caption: How to read it.
        x_label: What its horizontal axis counts.
        mark: A value to draw a line at, and what it is.
    """
    every = np.concatenate([np.array(sample.values) for sample in samples])
    marked = [mark[0]] if mark else []
    low, high = _range([float(every.min()), float(every.max()), *marked])
    edges = np.linspace(low, high, _BINS + 1)
    shares = [np.histogram(sample.values, edges)[0] / len(sample.values) for sample in samples]
    most = max(float(share.max()) for share in shares)
    panels = []
    for index, (sample, share) in enumerate(zip(samples, shares, strict=True)):
        top = _TOP + index * (_PANEL + _GAP)
        panels.append(
            Panel(
                sample.kind,
                f"{sample.name}, n = {len(sample.values):,}",
                top,
                top + _PANEL,
                (Tick(top + _PANEL, "0"), Tick(top, f"{100 * most:.0f} %")),
                bars=_bars(share, most, top),
            )
        )
    bottom = panels[-1].bottom
    return Plot(
        title,
        caption,
        " ".join(_in_words(sample) for sample in samples),
        bottom + _BOTTOM,
        tuple(panels),
        tuple(Tick(_along(at, low, high), text) for at, text in _ticks(low, high)),
        x_label,
        "share of the set",
        Tick(_along(mark[0], low, high), mark[1]) if mark else None,
    )


def by_rank(samples: Sequence[Sample], title: str, caption: str, y_label: str) -> Plot:
    """Every picture of each set by its place among the others, all sets in one panel.

    Of more than 300 pictures, 300 at even distances are drawn, the first and the last among them.
    """
    every = np.concatenate([np.array(sample.values) for sample in samples])
    low, high = _range([float(every.min()), float(every.max())])
    top = _NAME * (len(samples) + 1)
    bottom = top + 2 * _PANEL + _GAP
    y_ticks = tuple(
        Tick(bottom - (at - low) / (high - low) * (bottom - top), text)
        for at, text in _ticks(low, high)
    )
    panels = []
    for sample in samples:
        values = np.sort(sample.values)[::-1]
        places = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).round())
        panels.append(
            Panel(
                sample.kind,
                f"{sample.name}, n = {len(values):,}",
                top,
                bottom,
                y_ticks,
                points=tuple(
                    Point(
                        _along((place + 0.5) / len(values), 0, 1),
                        round(
                            bottom - (values[int(place)] - low) / (high - low) * (bottom - top), 1
                        ),
                    )
                    for place in places.tolist()
                ),
            )
        )
    return Plot(
        title,
        caption,
        " ".join(_in_words(sample) for sample in samples),
        bottom + _BOTTOM,
        tuple(panels),
        tuple(
            Tick(_along(share, 0, 1), f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)
        ),
        "place in its set, the highest score first",
        y_label,
    )


def p_values(values: Sequence[float], title: str, caption: str) -> Plot:
    """A histogram of p-values, with the height that all bars would have without any member."""
    top, bottom = _TOP, _TOP + 2 * _PANEL + _GAP
    # p is k / (m + 1): an edge must not part what rounding alone has moved.
    counts = np.histogram(np.array(values) - 1e-12, np.linspace(0, 1, _P_BINS + 1))[0]
    expected = len(values) / _P_BINS
    most = float(max(counts.max(), expected))
    below = int(counts[0])
    ticks = [(at, text) for at, text in _ticks(0, most) if float(at).is_integer()]
    return Plot(
        title,
        caption,
        f"{below:,} of {len(values):,} p-values are 0.05 or lower, where "
        f"{expected:.1f} would be without any member.",
        bottom + _BOTTOM,
        (
            Panel(
                "suspects",
                f"these pictures, n = {len(values):,}",
                top,
                bottom,
                tuple(Tick(bottom - at / most * (bottom - top), text) for at, text in ticks),
                bars=_bars(counts.astype(np.float64), most, top, bottom),
            ),
        ),
        tuple(Tick(_along(at, 0, 1), f"{at:g}") for at in (0, 0.25, 0.5, 0.75, 1)),
        "p-value: how often a known non-member scores as high or higher",
        "pictures",
        level=Tick(
            round(bottom - expected / most * (bottom - top), 1),
            f"dashed: {expected:.1f}, with no member at all",
        ),
    )


def _bars(
    heights: np.ndarray[tuple[int], np.dtype[np.float64]],
    most: float,
    top: float,
    bottom: float | None = None,
) -> tuple[Bar, ...]:
    bottom = top + _PANEL if bottom is None else bottom
    width = (RIGHT - LEFT) / len(heights)
    return tuple(
        Bar(
            round(LEFT + index * width + 0.5, 1),
            round(bottom - height / most * (bottom - top), 1),
            round(width - 1, 1),
            round(height / most * (bottom - top), 1),
        )
        for index, height in enumerate(heights.tolist())
        if height
    )


def _along(value: float, low: float, high: float) -> float:
    return round(LEFT + (value - low) / (high - low) * (RIGHT - LEFT), 1)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        return low, high
    room = 0.5 * max(1.0, abs(low))
    return low - room, high + room


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to six round numbers in a range, with as many digits as tell them apart."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= 0.999 * rough)
    digits = max(0, -math.floor(math.log10(step * 1.0001)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        (number * step, f"{number * step + 0.0:.{digits}f}") for number in range(first, last + 1)
    ]


def _in_words(sample: Sample) -> str:
    low, middle, high = np.quantile(sample.values, [0.25, 0.5, 0.75])
    name = sample.name[:1].upper() + sample.name[1:]
    return (
        f"{name} (n = {len(sample.values):,}): half of them from {low:.3g} to {high:.3g}, "
        f"the middle one {middle:.3g}."
    )
