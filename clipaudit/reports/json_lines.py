"""JSON lines: the run first, then a record an image.

Schema of a line: docs/schemas/audit-1.schema.json, `$defs/line`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from clipaudit.reports.audit.json_document import as_json, record, summary

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it, a line at a time; see `clipaudit.reports.Dump`."""
    run = {
        "record": "run",
        "schema_version": audit.run.schema_version,
        **audit.run.to_dict(),
        "summary": summary(audit),
    }
    file.write(as_json(run).encode() + b"\n")
    for row in audit:
        file.write(as_json({"record": "image", **record(row)}).encode() + b"\n")
