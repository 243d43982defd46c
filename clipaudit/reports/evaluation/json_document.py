"""An `Evaluation` as one JSON document. Schema: docs/schemas/evaluation-1.schema.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.text.escaping import as_json, as_utf8

if TYPE_CHECKING:
    from clipaudit.blind.baseline import BlindReport
    from clipaudit.results.evaluation import Evaluation, MethodFigures
    from clipaudit.results.evidence import KnownSet


def dump(evaluation: Evaluation, file: BinaryIO) -> None:
    """Write it; text is ASCII and ends in a line feed."""
    file.write(as_json(document(evaluation), indent=1).encode() + b"\n")


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
                    "member": as_utf8(picture.member),
                    "nonmember": as_utf8(picture.nonmember),
                    "kind": picture.kind,
                }
                for picture in evaluation.shared
            ],
        },
        "methods": [_method(method) for method in evaluation.methods],
        "similarity": evaluation.similarity and asdict(evaluation.similarity),
        "blind": None if evaluation.blind is None else _blind(evaluation.blind),
        "blind_missing": evaluation.blind_missing,
        "blind_captions": evaluation.blind_captions and _blind(evaluation.blind_captions),
        "run": asdict(evaluation.run),
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
        "by_classifier": {name: asdict(auc) for name, auc in report.by_classifier.items()},
        "telling": [asdict(feature) for feature in report.telling],
        "n_members": report.n[0],
        "n_nonmembers": report.n[1],
    }
