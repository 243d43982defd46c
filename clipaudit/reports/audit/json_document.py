"""One JSON document: the run, a summary, and a row a file on a line of its own.

Schema: docs/schemas/audit-1.schema.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit.results.audit import DECIDED
from clipaudit.text.escaping import exact_unless_utf8

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit, Row


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it, a row at a time; see `clipaudit.reports.Dump`."""
    head = {
        "schema_version": audit.run.schema_version,
        "run": audit.run.to_dict(),
        "summary": summary(audit),
    }
    opened = as_json(head, indent=2).removesuffix("\n}")
    file.write(f'{opened},\n  "rows": ['.encode())
    for index, row in enumerate(audit):
        file.write((",\n    " if index else "\n    ").encode() + as_json(record(row)).encode())
    file.write(b"\n  ]\n}\n" if len(audit) else b"]\n}\n")


def summary(audit: Audit) -> dict[str, Any]:
    """The counts that a reader would make first; verdicts where there is a calibration."""
    calibrated = [facts.inferrer for facts in audit.run.calibrations]
    verdicts = {
        "verdicts": {name: audit.n_verdicts(name) for name in calibrated},
        "n_picked": {name: audit.n_picked(name) for name in calibrated},
    }
    return {
        "n_files": len(audit),
        "n_scored": len(audit.scored),
        "n_skipped": len(audit.skipped),
        "skip_reasons": audit.skip_reasons(),
        "n_predicted_members": {
            facts.name: audit.n_predicted(facts.name) for facts in audit.run.inferrers
        },
        **(verdicts if calibrated else {}),
    }


def record(row: Row) -> dict[str, Any]:
    """A row as plain values.

    `path_b64` is there where the path is not valid UTF-8, `reference` where there is one, and so
    is what a calibration gave.
    """
    fields = asdict(row)
    for finding in fields["findings"]:
        for name in DECIDED:
            if finding[name] is None:
                del finding[name]
    if row.reference is None:
        del fields["reference"]
    path = {"path": fields.pop("path")}
    if (path_b64 := exact_unless_utf8(row.path)) is not None:
        path["path_b64"] = path_b64
    return path | fields


def as_json(value: object, indent: int | None = None) -> str:
    """ASCII alone, so that no name can do harm, and no NaN, which is not JSON."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent, default=str)
