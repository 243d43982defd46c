"""An `Evaluation` as one JSON document. Schema: docs/schemas/evaluation-1.schema.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit.reports.audit.json_document import as_json
from clipaudit.results.evaluation import SCHEMA_VERSION
from clipaudit.text.escaping import as_utf8

if TYPE_CHECKING:
    from pathlib import Path

    from clipaudit.blind.baseline import BlindReport
    from clipaudit.results.evaluation import Evaluation, MethodFigures
    from clipaudit.results.evidence import KnownSet


def dump(evaluation: Evaluation, file: BinaryIO) -> None:
    """Write it; text is ASCII and ends in a line feed."""
    file.write(as_json(document(evaluation), indent=1).encode() + b"\n")


def write(evaluation: Evaluation, path: Path) -> None:
    """Write it into a file, which is there in full or, where anything fails, as it was before.

    Raises:
        FileError: The disk is full, or the system says no for another reason.
    """
    from clipaudit.files import replacing

    with replacing(path) as file:
        dump(evaluation, file)


def document(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values, with all digits; bytes of a path that are not UTF-8 are escaped."""
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": evaluation.summary,
        "is_confounded": evaluation.is_confounded,
        "set": {
            "folder": as_utf8(evaluation.folder),
            "label": evaluation.label,
            "members": _side(evaluation.members),
            "nonmembers": _side(evaluation.nonmembers),
            "n_same": evaluation.n_same,
            "skipped": evaluation.skipped,
            "shared": [
                {
                    "member": as_utf8(one.member),
                    "nonmember": as_utf8(one.nonmember),
                    "kind": one.kind,
                }
                for one in evaluation.shared
            ],
        },
        "methods": [_method(one) for one in evaluation.methods],
        "similarity": asdict(evaluation.similarity),
        "blind": None if evaluation.blind is None else _blind(evaluation.blind),
        "blind_missing": evaluation.blind_missing,
        "run": evaluation.run.to_dict(),
    }


def _side(known: KnownSet) -> dict[str, Any]:
    return {**asdict(known), "name": as_utf8(known.name)}


def _method(method: MethodFigures) -> dict[str, Any]:
    adjusted = method.adjusted
    return {
        "inferrer": method.inferrer.name,
        "method": method.method,
        "shadow_data": method.shadow_data,
        "figures": asdict(method.figures),
        "roc": asdict(method.curve),
        "adjusted_auc": None if adjusted is None else asdict(adjusted),
    }


def _blind(report: BlindReport) -> dict[str, Any]:
    """The report without the score of each picture."""
    return {
        "sentence": report.sentence(),
        "auc": asdict(report.overall),
        "by_classifier": {name: asdict(one) for name, one in report.by_classifier.items()},
        "telling": [asdict(one) for one in report.telling],
        "n_members": report.n[0],
        "n_nonmembers": report.n[1],
    }
