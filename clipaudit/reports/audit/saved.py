"""A saved result, as the JSON formats write it → the `Audit` that it was made from.

Schema: docs/schemas/audit-1.schema.json. Fields that are not known are ignored, as that promises.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from clipaudit._version import SCHEMA_VERSION
from clipaudit.errors import InputError
from clipaudit.files import as_type, load_json
from clipaudit.results.audit import Audit
from clipaudit.results.rows import Row, keep
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 1e100
"""No figure of a run is as large, and the square of one that is not is still a number."""
_HEAD_OF_LINES = '"record": "run"'
_SHA256 = re.compile("[0-9a-f]{64}")

_MAJOR = SCHEMA_VERSION.partition(".")[0]


def read(path: Path) -> Audit:
    """The audit in a file that `-o` wrote with the ending .json or .jsonl.

    Raises:
        InputError: There is no such file, or it is no result, or one that this version of
            clipaudit cannot read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            audit = _read(path, file)
    except OSError as error:
        raise InputError(
            f"cannot read {shown(str(path))}: {error.strerror or error}",
            "Name a file that `clipaudit score -o results.json` wrote.",
        ) from error
    except UnicodeDecodeError as error:
        _refuse(path, "it is not text", error)
    except ValueError as error:
        _refuse(path, str(error), error)
    for contradiction in _contradictions(audit):
        _refuse(path, contradiction)
    return audit


def _read(path: Path, file: TextIO) -> Audit:
    """What a file holds; of JSON lines, no more than one line is in memory.

    Raises:
        ValueError: It is no result.
    """
    lines = filter(str.strip, file)
    head = next(lines, "")
    if _HEAD_OF_LINES not in head:
        document = load_json(head + file.read())
        _require_version(path, document)
        return as_type(_of_usual_size(document), Audit)
    document = load_json(head)
    _require_version(path, document)
    audit = as_type(_of_usual_size({**document, "rows": []}), Audit)
    rows = (as_type(_of_usual_size(load_json(line)), Row) for line in lines)
    return replace(audit, rows=keep(rows))


def read_summary(path: Path) -> dict[str, Any] | None:
    """The counts that a saved result gives beside its rows; None where it gives none."""
    with path.open(encoding="utf-8") as file:
        head = next(filter(str.strip, file), "")
        document = load_json(head if _HEAD_OF_LINES in head else head + file.read())
    summary = document.get("summary")
    return summary if isinstance(summary, dict) else None


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


def _of_usual_size(document: Any) -> Any:
    """The same; raises ValueError where a number in it would end a computation with it."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int | float) and abs(value) > _MOST:
            raise ValueError(f"no run gives a number as large as {value:.3g}")
    return document


def _contradictions(audit: Audit) -> Iterator[str]:
    """What a run does not write, and a report could not show."""
    names = [facts.name for facts in audit.run.inferrers]
    n_views = audit.run.n_views
    has_pairs = any(row.mean_similarity is not None for row in audit.scored)
    if n_views < 0 or (n_views < 2 and has_pairs):
        yield f"run.n_views: with {n_views} of them no picture has a mean_similarity"
    if len(set(names)) < len(names):
        yield "run.inferrers: two have one name"
    may_lack = {facts.name for facts in audit.run.inferrers if facts.reads_captions}
    for number, row in enumerate(audit.rows):
        if row.sha256 is not None and not _SHA256.fullmatch(row.sha256):
            yield f"rows.{number}.sha256: it is no SHA-256 in hex"
        if row.status == "skipped":
            continue
        if row.sha256 is None or (row.mean_similarity is None and n_views):
            yield f"rows.{number}: a scored picture has a sha256 and a mean_similarity"
        given = [finding.inferrer for finding in row.findings]
        if given != [name for name in names if name in given or name not in may_lack]:
            yield f"rows.{number}.findings: a scored picture has one by each inferrer of the run"
        if any(finding.verdict and finding.p_value is None for finding in row.findings):
            yield f"rows.{number}.findings: a verdict has a p_value"
    if not {facts.inferrer for facts in audit.calibrations} <= set(names):
        yield "calibrations: one is for no inferrer of the run"
    if audit.comparison and [by.inferrer for by in audit.comparison.by_inferrer] != names:
        yield "comparison.by_inferrer: there is one by each inferrer of the run"


def _refuse(path: Path, why: str, error: Exception | None = None) -> NoReturn:
    raise InputError(
        f"{shown(str(path))} is no result of clipaudit: {shown(why)}",
        "Name a file that `clipaudit score -o results.json` wrote (.json or .jsonl).",
    ) from error
