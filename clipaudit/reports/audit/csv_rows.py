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

from clipaudit.results.audit import DECIDED
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
)

REFERENCE_COLUMNS = ("reference_mean_similarity", "reference_norm")
REFERENCE_FACTS = ("references", "reference_fingerprints")
"""Further columns, where the run has a reference encoder."""

CALIBRATION_COLUMNS = (
    *DECIDED,
    *("calibration_nonmembers", "calibration_n_null", "calibration_members"),
    *("calibration_n_members", "calibration_created", "fpr", "fnr", "fdr"),
)
"""Further columns, where the run has a calibration: what it gave, and what it rests on."""

CONTROL_COLUMNS = (
    *("control", "control_outcome", "control_p", "control_effect", "control_effect_low"),
    *("control_effect_high", "control_n_suspects", "control_n_control", "control_sentence"),
)
"""Further columns, where the run has a control: the verdict on all pictures as a set."""


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it, a record a line, whatever the names hold; see `clipaudit.reports.Dump`."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    more = (
        *((*REFERENCE_COLUMNS, *REFERENCE_FACTS) if audit.run.references else ()),
        *(CALIBRATION_COLUMNS if audit.run.calibrations else ()),
        *(CONTROL_COLUMNS if audit.comparison else ()),
    )
    writer = csv.DictWriter(text, (*COLUMNS, *more), lineterminator="\n")
    writer.writeheader()
    shared = _facts(audit.run)
    by_name = {facts.name: facts for facts in audit.run.inferrers}
    evidence = {facts.name: _evidence(audit.run, facts.name) for facts in audit.run.inferrers}
    for record in audit.to_dicts():
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


def _evidence(run: Run, inferrer: str) -> dict[str, Any]:
    """What the verdicts by one inferrer rest on."""
    cells: dict[str, Any] = {}
    for facts in run.calibrations:
        if facts.inferrer == inferrer:
            cells |= {
                **asdict(run.levels or Levels()),
                "calibration_nonmembers": facts.nonmembers.name,
                "calibration_n_null": facts.n_null,
                "calibration_members": facts.members and facts.members.name,
                "calibration_n_members": facts.n_members,
                "calibration_created": facts.created,
            }
    for result in run.comparison.by_inferrer if run.comparison else ():
        if result.inferrer == inferrer and run.comparison:
            test = result.unpaired
            cells |= {
                "control": run.comparison.control,
                "control_outcome": result.outcome,
                "control_p": test.p,
                "control_effect": test.effect and test.effect.value,
                "control_effect_low": test.effect and test.effect.low,
                "control_effect_high": test.effect and test.effect.high,
                "control_n_suspects": test.n_suspects,
                "control_n_control": test.n_control,
                "control_sentence": result.sentence,
            }
    return cells


def _facts(run: Run) -> dict[str, Any]:
    references = {
        "references": "; ".join(str(one.get("spec")) for one in run.references),
        "reference_fingerprints": "; ".join(str(one.get("fingerprint")) for one in run.references),
    }
    return {
        **(references if run.references else {}),
        "schema_version": run.schema_version,
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
