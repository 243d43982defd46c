"""A result on its way out: into files, and to the screen or through a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console

from clipaudit.errors import ClipAuditError
from clipaudit.reports import formats as reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clipaudit.reports.formats import Result


def deliver(
    result: Result,
    style: str,
    writers: Iterable[Callable[[], object]] = (),
    *,
    details: bool = False,
) -> None:
    """Write the files and print the result: where one fails, the others are still there.

    Args:
        result: What to print.
        style: Name of its format.
        writers: Each writes a file, or several.
        details: Whether a table for people is to hold all facts of the run.

    Raises:
        ClipAuditError: The first that a file met.
    """
    failures = []
    for write in writers:
        try:
            write()
        except ClipAuditError as error:
            failures.append(error)
    if not (sys.stdout.isatty() and reports.show(result, style, Console(), details=details)):
        reports.dump(result, style, sys.stdout.buffer, details=details)
        sys.stdout.buffer.flush()
    if failures:
        raise failures[0]
