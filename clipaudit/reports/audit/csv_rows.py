"""Comma-separated values: a record a file and inferrer, with the run's facts as columns.

The facts stand in every record, so they cannot be lost, and files may be concatenated. `path`
is safe to look at and to open in a spreadsheet; where that changed it, `path_b64` has its exact
bytes.
"""

from __future__ import annotations

import csv
from dataclasses import asdict
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.results.rows import DECIDED
from clipaudit.statistics.conformal import Levels
from clipaudit.text.escaping import exact, in_a_cell

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit, Run

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
    "reference_mean_similarity",
    "reference_norm",
    "references",
    "reference_fingerprints",
    *DECIDED,
    "calibration_nonmembers",
    "calibration_n_null",
    "calibration_members",
    "calibration_n_members",
    "calibration_created",
    "fpr",
    "fnr",
    "fdr",
    "control",
    "control_outcome",
    "control_p",
    "control_effect",
    "control_effect_low",
    "control_effect_high",
    "control_n_suspects",
    "control_n_control",
    "control_grade",
    "control_sentence",
    "captions",
    "bank",
    "bank_sha256",
)
"""In this order; what there is nothing of is empty."""


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it, a record a line, whatever the names hold; see `clipaudit.reports.formats.Dump`."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    shared = _facts(audit.run)
    by_name = {facts.name: facts for facts in audit.run.inferrers}
    evidence = {facts.name: _evidence(audit, facts.name) for facts in audit.run.inferrers}
    for record in audit.records():
        facts = by_name.get(record["inferrer"])
        cells = {
            **record,
            **shared,
            **evidence.get(record["inferrer"], {}),
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


def _evidence(audit: Audit, inferrer: str) -> dict[str, Any]:
    """What the verdicts by one inferrer rest on."""
    cells: dict[str, Any] = {}
    for facts in audit.calibrations:
        if facts.inferrer == inferrer:
            cells |= {
                **asdict(audit.levels or Levels()),
                "calibration_nonmembers": facts.nonmembers.name,
                "calibration_n_null": facts.n_null,
                "calibration_members": facts.members and facts.members.name,
                "calibration_n_members": facts.n_members,
                "calibration_created": facts.created,
            }
    for result in audit.comparison.by_inferrer if audit.comparison else ():
        if result.inferrer == inferrer and audit.comparison:
            test = result.unpaired
            cells |= {
                "control": audit.comparison.control,
                "control_outcome": result.outcome,
                "control_p": test.p,
                "control_effect": test.effect and test.effect.value,
                "control_effect_low": test.effect and test.effect.low,
                "control_effect_high": test.effect and test.effect.high,
                "control_n_suspects": test.n_suspects,
                "control_n_control": test.n_control,
                "control_grade": audit.comparison.grade,
                "control_sentence": audit.comparison.sentence,
            }
    return cells


def _facts(run: Run) -> dict[str, Any]:
    return {
        "references": "; ".join(reference.spec for reference in run.references),
        "reference_fingerprints": "; ".join(reference.fingerprint for reference in run.references),
        "schema_version": SCHEMA_VERSION,
        "encoder": run.encoder.spec,
        "encoder_output": run.encoder.output,
        "encoder_fingerprint": run.encoder.fingerprint,
        "recipe": run.recipe,
        "n_views": run.n_views,
        "similarity": run.similarity,
        "seed": run.seed,
        "started_at": run.started_at,
        "interrupted": str(run.interrupted).lower(),
        "captions": run.captions and run.captions.source,
        "bank": run.captions and run.captions.bank.origin,
        "bank_sha256": run.captions and run.captions.bank.sha256,
        "versions": "; ".join(f"{name} {version}" for name, version in run.versions.items()),
        "command": run.command,
    }
