"""Known pictures through the command: all that is wanted of them is in the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.pictures import make_jpegs, random_weights
from benchmarks.cases.processes import clipaudit, python
from benchmarks.contest import Case, Contest, Way, Workplace


def _prepare(size: int, place: Workplace) -> Contest:
    make_jpegs(place.folder / "jpegs", size, 64, 48)
    encoder = random_weights(place.folder)
    typed: list[str | Path] = ["score", place.folder / "jpegs", "--encoder", encoder]
    typed += ["--offline", "--quiet"]
    again = clipaudit(*typed, "--format", "json")
    anew = clipaudit(*typed, "--format", "json", "--no-cache")
    return Contest(
        (
            Way("product", "`clipaudit score`, all from the store", lambda: _scores(again)),
            Way("naive", "with --no-cache", lambda: _scores(anew)),
            Way("floor", "Python alone", python("-c", "pass")),
        ),
        _require_same,
    )


def _scores(command: Callable[[], str]) -> list[list[float]]:
    rows = json.loads(command())["rows"]
    return [[found["score"] for found in row["findings"]] for row in rows]


def _require_same(product: Any, naive: Any) -> None:
    np.testing.assert_allclose(product, naive, rtol=1e-4)


CASE = Case("known pictures, from process to process", "pictures", (1, 10, 100), (1,), _prepare)
