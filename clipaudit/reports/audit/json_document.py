"""JSON: one document with a row a line, or JSON lines with the facts of the run in the first one.

Schema: docs/schemas/audit-1.schema.json; that of a line is `$defs/line`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.text.escaping import as_json, exact_unless_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clipaudit.results.audit import Audit
    from clipaudit.results.rows import Row


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write the document, a row at a time; see `clipaudit.reports.formats.Dump`."""
    dump_document(head(audit), "rows", map(record, audit), file)


def dump_lines(audit: Audit, file: BinaryIO) -> None:
    """Write the lines one by one; see `clipaudit.reports.formats.Dump`."""
    dump_records("image", head(audit), map(record, audit), file)


def dump_document(
    facts: Mapping[str, Any], name: str, records: Iterable[Mapping[str, Any]], file: BinaryIO
) -> None:
    """Write one object: facts, and at its end a list of records, each on a line of its own."""
    opened = as_json(facts, indent=2).removesuffix("\n}")
    file.write(f'{opened},\n  "{name}": ['.encode())
    between = "\n    "
    for item in records:
        file.write(f"{between}{as_json(item)}".encode())
        between = ",\n    "
    file.write(b"]\n}\n" if between == "\n    " else b"\n  ]\n}\n")


def dump_records(
    kind: str, facts: Mapping[str, Any], records: Iterable[Mapping[str, Any]], file: BinaryIO
) -> None:
    """Write an object a line: the facts as the record `run`, then the others."""
    file.write(as_json({"record": "run", **facts}).encode() + b"\n")
    for item in records:
        file.write(as_json({"record": kind, **item}).encode() + b"\n")


def head(audit: Audit) -> dict[str, Any]:
    """All but the rows, as plain values."""
    facts = asdict(replace(audit, rows=()))
    del facts["rows"]
    return {"schema_version": SCHEMA_VERSION, **facts, "summary": summary(audit)}


def summary(audit: Audit) -> dict[str, Any]:
    """The counts that a reader would make first."""
    calibrated = [facts.inferrer for facts in audit.calibrations]
    return {
        "n_files": len(audit),
        "n_scored": len(audit.scored),
        "n_skipped": len(audit.skipped),
        "skip_reasons": audit.skip_reasons(),
        "n_predicted_members": {
            facts.name: audit.n_predicted(facts.name) for facts in audit.run.inferrers
        },
        "verdicts": {name: audit.n_verdicts(name) for name in calibrated},
        "n_picked": {name: audit.n_picked(name) for name in calibrated},
    }


def record(row: Row) -> dict[str, Any]:
    """A row as plain values; `path_b64` is None where the path is valid UTF-8."""
    return {"path": row.path, "path_b64": exact_unless_utf8(row.path)} | asdict(row)
