"""What is kept of a run: every time as JSON, and cost against size as a drawing."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contest import Measured, Role, duration

_SCHEMA_VERSION = 1
_WIDTH, _HEIGHT = 340, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 320, 40, 195
_COLOURS: dict[Role, str] = {"product": "#0072b2", "naive": "#d55e00", "floor": "#767676"}
_NAMES: dict[Role, str] = {"product": "clipaudit", "naive": "naive", "floor": "floor"}


def machine() -> dict[str, object]:
    """What figures depend on, beside the code."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "n_cores": os.cpu_count(),
        "load": [*os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions("clipaudit", "torch", "numpy", "pillow", "duckdb"),
    }


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def processor() -> str:
    """Name of the processor, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def write_document(path: Path, facts: Mapping[str, object]) -> None:
    """Write facts, with the machine they were found on."""
    document = {"schema_version": _SCHEMA_VERSION, "machine": machine(), **facts}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_json(path: Path, measured: Sequence[Measured], rounds: int) -> None:
    """Write every time of every round."""
    rows = [
        {
            "case": row.case,
            "size": row.size,
            "unit": row.unit,
            "ways": {
                role: {"about": about, "median_s": row.median(role), "seconds": row.seconds[role]}
                for role, about in row.about.items()
            },
        }
        for row in measured
    ]
    write_document(path, {"rounds": rounds, "cases": rows})


def plot(measured: Sequence[Measured]) -> str:
    """Seconds against size, a panel a case, both axes logarithmic, as SVG.

    A case of one size has nothing to be drawn against, and is left out.
    """
    cases: dict[str, list[Measured]] = {}
    for row in measured:
        cases.setdefault(row.case, []).append(row)
    drawn = [rows for rows in cases.values() if len(rows) > 1]
    n_columns = min(3, max(1, len(drawn)))
    n_rows = max(1, math.ceil(len(drawn) / n_columns))
    panels = [
        f'<g transform="translate({place % n_columns * _WIDTH},{place // n_columns * _HEIGHT})">'
        f"{_panel(rows)}</g>"
        for place, rows in enumerate(drawn)
    ]
    width, height = n_columns * _WIDTH, n_rows * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(rows: Sequence[Measured]) -> str:
    roles = [*rows[0].about]
    sizes = [row.size for row in rows]
    medians = [row.median(role) for row in rows for role in roles]
    low, high = (math.floor(math.log10(min(medians))), math.ceil(math.log10(max(medians))))

    def across(size: float) -> float:
        return _between(math.log(size), math.log(min(sizes)), math.log(max(sizes)), _LEFT, _RIGHT)

    def down(seconds: float) -> float:
        return _between(math.log10(seconds), low, max(high, low + 1), _BOTTOM, _TOP)

    parts = [_text(_LEFT, 16, rows[0].case, 'font-weight="bold"')]
    for power in range(low, max(high, low + 1) + 1):
        y = down(10.0**power)
        parts += [
            f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#ddd"/>',
            _text(_LEFT - 6, y + 4, duration(10.0**power), 'text-anchor="end"'),
        ]
    centred = 'text-anchor="middle"'
    parts += [_text(across(size), _BOTTOM + 16, f"{size:,}", centred) for size in sizes]
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 32, rows[0].unit, centred))
    for number, role in enumerate(roles):
        points = [(across(row.size), down(row.median(role))) for row in rows]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = _COLOURS[role]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(_LEFT + 80 * number, 31, _NAMES[role], f'fill="{colour}"'))
    return "\n".join(parts)


def _text(x: float, y: float, text: str, how: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(text)}</text>'


def _between(value: float, low: float, high: float, start: float, end: float) -> float:
    """The place of a value of a range on a line from start to end."""
    return start + (end - start) * (value - low) / (high - low)
