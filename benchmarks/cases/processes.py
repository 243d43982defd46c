"""Programs that a case starts, from their start to their end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> Callable[[], str]:
    """What runs Python with these arguments in a process of its own, and gives its output."""

    def run() -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout

    return run


def clipaudit(*arguments: str | Path) -> Callable[[], str]:
    """What runs the command in a process of its own, and gives its output."""
    return python("-m", "clipaudit", *map(str, arguments))


def require_equal(product: Any, naive: Any) -> None:
    """Raise an AssertionError where two results are not equal."""
    assert product == naive, f"{str(product)[:200]!r} is not {str(naive)[:200]!r}"
