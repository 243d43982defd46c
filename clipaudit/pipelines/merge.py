"""Saved results of shards → one result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.results.audit import Audit
from clipaudit.verdicts import merging

if TYPE_CHECKING:
    from collections.abc import Sequence


def merge(results: Sequence[Audit | str | os.PathLike[str]], command: str = "") -> Audit:
    """One result out of those of `score(..., shard="1/3")` and its siblings; `clipaudit merge`.

    Args:
        results: Results, or files that they were saved in.
        command: The command line, for the facts of the run.

    Raises:
        InputError: As `clipaudit.verdicts.merging.merge`, or a file is no saved result.
    """
    from clipaudit.reports.audit.saved import read

    return merging.merge(
        [
            merging.Part(f"result {number}", result)
            if isinstance(result, Audit)
            else merging.Part(os.fspath(result), read(Path(result)))
            for number, result in enumerate(results, 1)
        ],
        command,
    )
