"""Comma-separated values: a record a file and inferrer, with the run's facts as columns.

The facts stand in every record, so they cannot be lost, and files may be concatenated. `path`
is safe to look at and to open in a spreadsheet; where that changed it, `path_b64` has its exact
bytes.
"""

from __future__ import annotations

import csv
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit.reports.names import exact, in_a_cell
from clipaudit.verdicts import SCHEMA_VERSION

if TYPE_CHECKING:
    from clipaudit.verdicts import Audit, Run

COLUMNS = (
    "path",
    "path_b64",
    "sha256",
    "status",
    "error",
    "mean_similarity",
    "inferrer",
    "score",
    "prediction",
    "notes",
    "threshold",
    "inferrer_sha256",
    "schema_version",
    "encoder",
    "encoder_output",
    "encoder_fingerprint",
    "recipe",
    "n_views",
    "similarity",
    "seed",
    "started_at",
    "interrupted",
    "versions",
    "command",
)


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it, a record a line, whatever the names hold; see `clipaudit.reports.Dump`."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    shared = _facts(audit.run)
    by_name = {facts.name: facts for facts in audit.run.inferrers}
    for record in audit.to_dicts():
        facts = by_name.get(record["inferrer"])
        cells = {
            **record,
            **shared,
            "notes": "; ".join(record["notes"]),
            "threshold": facts.threshold if facts else None,
            "inferrer_sha256": facts.sha256 if facts else None,
        }
        safe = {
            name: in_a_cell(value) if isinstance(value, str) else value
            for name, value in cells.items()
        }
        changed = safe["path"] != record["path"]
        writer.writerow({**safe, "path_b64": exact(record["path"]) if changed else None})
    text.flush()
    text.detach()


def _facts(run: Run) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "encoder": run.encoder.get("spec"),
        "encoder_output": run.encoder.get("output"),
        "encoder_fingerprint": run.encoder.get("fingerprint"),
        "recipe": run.recipe,
        "n_views": run.n_views,
        "similarity": run.similarity,
        "seed": run.seed,
        "started_at": run.started_at,
        "interrupted": str(run.interrupted).lower(),
        "versions": "; ".join(f"{name} {version}" for name, version in run.versions.items()),
        "command": run.command,
    }
