"""A contest: clipaudit's way, the way one would write first, and the floor, timed in turn."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["product", "naive", "floor"]


class DifferentResultError(Exception):
    """Two ways that ought to give the same did not, so their times say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to do the work of a case.

    Attributes:
        role: Whose it is: `product`, `naive`, or `floor` for the part that nobody can save.
        about: What it does, in a few words.
        run: Does all of it once, and gives the result.
    """

    role: Role
    about: str
    run: Callable[[], object]


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """The ways of a case at one size, ready to run.

    Attributes:
        ways: One a role; the floor may do less than the others.
        require_same: Takes the results of the product and of the naive way, and raises an
            `AssertionError` where they differ.
    """

    ways: tuple[Way, ...]
    require_same: Callable[[Any, Any], None]  # what the ways of the case give


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a case is prepared.

    Attributes:
        folder: Its own, empty at first.
        stack: What is closed after the case, such as a store or a server.
    """

    folder: Path
    stack: ExitStack


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Something that clipaudit does, which can be timed.

    Attributes:
        about: What is timed.
        unit: What a size counts.
        sizes: Sizes, from small to large.
        quick_sizes: Sizes of a quick run.
        prepare: Makes the contest of a size; not timed.
    """

    about: str
    unit: str
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    prepare: Callable[[int, Workplace], Contest]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the ways of a case took at one size.

    Attributes:
        case: Name of the case.
        unit: What `size` counts.
        size: Number of them.
        about: What each way does, by role.
        seconds: Wall time of each round, by role; the rounds ran in turn.
    """

    case: str
    unit: str
    size: int
    about: dict[Role, str]
    seconds: dict[Role, list[float]] = field(default_factory=dict)

    def median(self, role: Role) -> float:
        """Median seconds of a way."""
        return statistics.median(self.seconds[role])

    def ratios(self, role: Role, base: Role) -> list[float]:
        """Time of one way over that of another, round by round."""
        pairs = zip(self.seconds[role], self.seconds[base], strict=True)
        return [taken / least for taken, least in pairs]


def measure(name: str, case: Case, size: int, rounds: int, folder: Path) -> Measured:
    """Time every way of a case in turn, after one round that warms up and is compared.

    Raises:
        DifferentResultError: The product's way and the naive way gave different results.
    """
    with ExitStack() as stack:
        contest = case.prepare(size, Workplace(folder, stack))
        results = {way.role: way.run() for way in contest.ways}
        try:
            contest.require_same(results["product"], results["naive"])
        except AssertionError as error:
            raise DifferentResultError(
                f"{name}, {size} {case.unit}: the two ways differ. {error}"
            ) from error
        del results
        about = {way.role: way.about for way in contest.ways}
        measured = Measured(name, case.unit, size, about, {role: [] for role in about})
        for _ in range(rounds):
            for way in contest.ways:
                gc.collect()
                began = time.perf_counter()
                way.run()
                measured.seconds[way.role].append(time.perf_counter() - began)
    return measured


def table(measured: Sequence[Measured]) -> str:
    """All measurements as a table in Markdown."""
    lines = [
        "| case | size | way | median | a unit | ratio to clipaudit (least to most) |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured:
        for number, (role, about) in enumerate(row.about.items()):
            case, size = (row.case, f"{row.size:,} {row.unit}") if not number else ("", "")
            who = {"product": "clipaudit", "naive": "naive", "floor": "floor"}[role]
            median = row.median(role)
            ratios = row.ratios(role, "product")
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(
                f"| {case} | {size} | {who}: {about} | {duration(median)} | "
                f"{duration(median / row.size)} | {'1' if role == 'product' else ratio} |"
            )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time with three digits.

    >>> duration(0.01234), duration(75.0), duration(3e-6)
    ('12.3 ms', '75.0 s', '3.00 µs')
    """
    factors = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))
    factor, unit = next((row for row in factors if seconds * row[0] >= 1), factors[-1])
    value = seconds * factor
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
