"""A `Lookup` as JSON, JSON lines, CSV and Parquet.

Schema: docs/schemas/lookup-1.schema.json. CSV and Parquet are the long form: a record a row of a
list that was found, and one for what was not found, so that nothing asked for is missing.
"""

from __future__ import annotations

import csv
from dataclasses import asdict
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.reports.audit.json_document import dump_document, dump_records
from clipaudit.text.escaping import as_json, as_utf8, exact, exact_unless_utf8, in_a_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.lookup import Answer, Lookup

COLUMNS = (
    "asked",
    "asked_b64",
    "kind",
    "status",
    "error",
    "sha256",
    "md5",
    "phash",
    "compared",
    "way",
    "n_matches",
    "file",
    "row",
    "key",
    "url",
    "text",
    "bits",
)
"""Columns of the long form; CSV has `schema_version` and `command` too."""

_NUMBERS = ("n_matches", "row", "bits")


def dump_json(found: Lookup, file: BinaryIO) -> None:
    """One document, with an answer a line."""
    dump_document(_head(found), "answers", map(_record, found), file)


def dump_json_lines(found: Lookup, file: BinaryIO) -> None:
    """The run first, with lists and sites; then an answer a line."""
    dump_records("answer", _head(found), map(_record, found), file)


def dump_csv(found: Lookup, file: BinaryIO) -> None:
    """The long form; text is safe to look at and to open in a spreadsheet."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, (*COLUMNS, "schema_version", "command"), lineterminator="\n")
    writer.writeheader()
    shared = {"schema_version": SCHEMA_VERSION, "command": in_a_cell(found.run.command)}
    for record in _long(found):
        safe = {
            name: in_a_cell(value) if isinstance(value, str) else value
            for name, value in record.items()
        }
        changed = safe["asked"] != record["asked"]
        safe["asked_b64"] = exact(record["asked"]) if changed else None
        writer.writerow(safe | shared)
    text.flush()
    text.detach()


def dump_parquet(found: Lookup, file: BinaryIO) -> None:
    """The long form with typed columns; run, lists and sites as JSON in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [(name, pa.int64() if name in _NUMBERS else pa.string()) for name in COLUMNS]
    metadata = {
        "clipaudit.schema_version": SCHEMA_VERSION,
        "clipaudit.lookup": as_json(_head(found)),
    }
    records = [
        {
            name: as_utf8(value) if isinstance(value, str) else value
            for name, value in record.items()
        }
        | {"asked_b64": exact_unless_utf8(record["asked"])}
        for record in _long(found)
    ]
    schema = pa.schema(kinds, metadata=metadata)
    pq.write_table(pa.Table.from_pylist(records, schema=schema), file)


def _head(found: Lookup) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run": asdict(found.run),
        "summary": found.summary(),
        "lists": [asdict(list_file) for list_file in found.lists],
        "sites": [asdict(site) for site in found.sites],
        "notes": list(found.notes),
    }


def _record(answer: Answer) -> dict[str, Any]:
    asked = {"asked": answer.asked, "asked_b64": exact_unless_utf8(answer.asked)}
    return asked | asdict(answer)


def _long(found: Lookup) -> Iterator[dict[str, Any]]:
    """A record a row that was found; one with empty fields for an answer without any."""
    for answer in found:
        shared = asdict(answer)
        matches, counts = shared.pop("matches"), shared.pop("n_matches")
        shared["compared"] = " ".join(shared["compared"])
        blank = dict.fromkeys(("way", "file", "row", "key", "url", "text", "bits"))
        for match in matches or [blank]:
            yield shared | match | {"n_matches": counts.get(match["way"])}
