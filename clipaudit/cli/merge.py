"""`clipaudit merge`: one result out of those of shards."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.cli.words import command_line
from clipaudit.pipelines.merge import merge as merge_results
from clipaudit.reports import formats as reports

if TYPE_CHECKING:
    Style = str
else:
    Style = Literal[reports.printable(reports.AUDIT)]


def merge(
    ctx: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Results that `clipaudit score --shard I/N -o` wrote, .json or .jsonl.",
            show_default=False,
        ),
    ],
    *,
    style: Annotated[Style, options.PRINTED] = "table",
    out: Annotated[Path | None, options.written(reports.AUDIT)] = None,
    force: options.Force = False,
) -> None:
    """Put the results of several runs together: those of `clipaudit score --shard`.

    They must be of the same encoder, inferrers, views and seed, and judged by the same
    calibrations; no file may stand in two. Counts, q-values and the pictures that are picked are
    computed anew for the whole. Shards that are missing are named.
    """
    if out is not None:
        reports.check_destination(out, force=force)
    messages.set_up()
    audit = merge_results(results, command_line(ctx))
    deliver(audit, style, [partial(reports.write, audit, out)] if out else [])
