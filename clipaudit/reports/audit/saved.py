"""A saved result, as the JSON formats write it → the `Audit` that it was made from.

Schema: docs/schemas/audit-1.schema.json. Fields that are not known are ignored, as that promises.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from clipaudit._version import SCHEMA_VERSION
from clipaudit.errors import InputError
from clipaudit.files import as_type, load_json
from clipaudit.results.audit import Audit, Row
from clipaudit.text.escaping import shown

_MAJOR = SCHEMA_VERSION.partition(".")[0]


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
    is_lines = '"record": "run"' in text.lstrip().partition("\n")[0]
    try:
        head, *lines = filter(str.strip, text.splitlines()) if is_lines else [text]
        document = load_json(head)
        _require_version(path, document)
        if not is_lines:
            return as_type(document, Audit)
        audit = as_type({**document, "rows": []}, Audit)
        return replace(audit, rows=tuple(as_type(load_json(line), Row) for line in lines))
    except ValueError as error:
        _refuse(path, str(error), error)


def _require_version(path: Path, document: Any) -> None:
    if not isinstance(document, dict):
        _refuse(path, "it holds no run")
    version = document.get("schema_version")
    if not isinstance(version, str) or "run" not in document:
        _refuse(path, "it has no schema_version or no run")
    if version.partition(".")[0] != _MAJOR:
        raise InputError(
            f"{shown(str(path))} has schema_version {shown(version)}, and this clipaudit reads "
            f"{_MAJOR}.x",
            "Take the version of clipaudit that wrote it, or score the pictures again.",
        )


def _refuse(path: Path, why: str, error: Exception | None = None) -> NoReturn:
    raise InputError(
        f"{shown(str(path))} is no result of clipaudit: {shown(why)}",
        "Name a file that `clipaudit score -o results.json` wrote (.json or .jsonl).",
    ) from error
