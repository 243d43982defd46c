"""Parquet: the long form with typed columns, and the facts as JSON in the file's metadata.

The metadata keys are `clipaudit.schema_version` and `clipaudit.audit`, which holds what the JSON
document holds without its rows.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.reports.audit.json_document import head
from clipaudit.results.rows import DECIDED
from clipaudit.text.escaping import as_json, as_utf8, exact_unless_utf8

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit

_AT_ONCE = 1 << 16
"""Records of a part of the file, which are in memory together."""

_DECIDED = dict.fromkeys(DECIDED, "float64") | {
    "verdict": "string",
    "reason": "string",
    "picked": "bool_",
}
"""Name of a column → its type."""


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it; see `clipaudit.reports.formats.Dump`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("path", pa.string()),
            ("path_b64", pa.string()),
            ("sha256", pa.string()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("mean_similarity", pa.float64()),
            ("inferrer", pa.string()),
            ("score", pa.float64()),
            ("prediction", pa.string()),
            ("notes", pa.list_(pa.string())),
            ("reference_mean_similarity", pa.float64()),
            ("reference_norm", pa.float64()),
            *((name, getattr(pa, _DECIDED[name])()) for name in DECIDED),
        ],
        metadata={
            "clipaudit.schema_version": SCHEMA_VERSION,
            "clipaudit.audit": as_json(head(audit)),
        },
    )
    records = map(_storable, audit.records())
    with pq.ParquetWriter(file, schema) as writer:
        while part := [*islice(records, _AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


def _storable(record: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: as_utf8(v) if isinstance(v, str) else v for key, v in record.items()},
        "path_b64": exact_unless_utf8(record["path"]),
        "notes": [as_utf8(note) for note in record["notes"]],
    }
