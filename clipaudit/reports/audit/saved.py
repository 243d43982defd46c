"""A saved result, as the JSON formats write it → the `Audit` that it was made from.

Schema: docs/schemas/audit-1.schema.json. Fields that are not known are ignored, as that promises.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from clipaudit.blind.baseline import BlindCheck
from clipaudit.errors import InputError
from clipaudit.results.audit import SCHEMA_VERSION, Audit, Row, Run
from clipaudit.results.evidence import AgainstControl, CalibrationFacts
from clipaudit.statistics.conformal import Levels, Reason, Verdict
from clipaudit.statistics.metrics import Estimate
from clipaudit.statistics.two_sets import Comparison, Outcome
from clipaudit.text.escaping import shown

_MAJOR = SCHEMA_VERSION.partition(".")[0]


class _Document(BaseModel):
    run: Run
    rows: tuple[Row, ...]


_Document.model_rebuild(
    _types_namespace={
        one.__name__: one
        for one in (AgainstControl, BlindCheck, CalibrationFacts, Comparison, Estimate, Levels)
    }
    | {"Outcome": Outcome, "Reason": Reason, "Verdict": Verdict}
)


def read(path: Path) -> Audit:
    """The audit in a file that `-o` wrote with the ending .json or .jsonl.

    Raises:
        InputError: There is no such file, or it is no result, or one that this version of
            clipaudit cannot read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot read {shown(str(path))}: {error.strerror or error}",
            "Name a file that `clipaudit score -o results.json` wrote.",
        ) from error
    except UnicodeDecodeError as error:
        _refuse(path, "it is not text", error)
    document = _parsed(path, text)
    version = document.get("schema_version")
    if not isinstance(version, str) or "run" not in document:
        _refuse(path, "it has no schema_version or no run")
    if version.partition(".")[0] != _MAJOR:
        raise InputError(
            f"{shown(str(path))} has schema_version {shown(version)}, and this clipaudit reads "
            f"{_MAJOR}.x",
            "Take the version of clipaudit that wrote it, or score the pictures again.",
        )
    try:
        read = _Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        _refuse(path, f"{place}: {first['msg']}", error)
    if problem := _encoder_problem(read.run):
        _refuse(path, problem)
    return Audit(read.run, read.rows)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """The document, or the lines put together to one."""
    first = text.lstrip().partition("\n")[0]
    try:
        if '"record": "run"' in first:
            head, *rows = (_loads(line) for line in text.splitlines() if line.strip())
            return {"schema_version": head.get("schema_version"), "run": head, "rows": rows}
        document = _loads(text)
    except (ValueError, RecursionError, AttributeError) as error:
        _refuse(path, f"it is no JSON, or it is cut off ({error})", error)
    if not isinstance(document, dict):
        _refuse(path, "it holds no run")
    return document


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _encoder_problem(run: Run) -> str | None:
    """What reports take for granted of the plain values of an encoder."""
    for encoder in (run.encoder, *run.references):
        for name in ("spec", "output", "fingerprint", "backend", "device"):
            if not isinstance(encoder.get(name), str):
                return f"run.encoder.{name} is missing"
        image = encoder.get("input")
        size_px = image.get("size_px") if isinstance(image, dict) else None
        if not isinstance(size_px, int) or size_px < 1:
            return "run.encoder.input.size_px is missing"
    return None


def _refuse(path: Path, why: str, error: Exception | None = None) -> NoReturn:
    raise InputError(
        f"{shown(str(path))} is no result of clipaudit: {shown(why)}",
        "Name a file that `clipaudit score -o results.json` wrote (.json or .jsonl).",
    ) from error
