"""Audits of the parts of a set → the audit of the whole.

Rows stand as they are. What depends on all pictures is computed anew from what stands in the rows:
the counts, the q-values and the pictures that are picked. What cannot be, is the cautious one of
what the parts say, or left out, and a note says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from clipaudit.errors import InputError
from clipaudit.overflow import Overflow
from clipaudit.pictures.reading import content_id
from clipaudit.pictures.sharding import Shard
from clipaudit.results.audit import Audit
from clipaudit.results.evidence import most_cautious
from clipaudit.results.rows import keep
from clipaudit.statistics.conformal import adjusted
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count
from clipaudit.verdicts.by_calibration import scored_by

if TYPE_CHECKING:
    from clipaudit.results.audit import CaptionsRead, Run
    from clipaudit.results.evidence import CalibrationFacts
    from clipaudit.results.rows import Finding, Row

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """An audit of a part, and what it is called in messages.

    Attributes:
        name: Name of its file.
        audit: What is in it.
    """

    name: str
    audit: Audit


def merge(parts: Sequence[Part], command: str = "") -> Audit:
    """The audit of all parts together; the rows in the order of the shards, or else as given.

    Args:
        parts: What to put together.
        command: The command line, for the facts of the run.

    Raises:
        InputError: There are fewer than two parts, they were not scored and judged alike, or a file
            stands in two.
    """
    if len(parts) < 2:
        raise InputError(
            "there is nothing to merge: one result is named",
            "Name the results of two shards or more.",
        )
    shards = {part.name: _shard_of(part) for part in parts}
    parts = sorted(parts, key=lambda part: shards[part.name] or Shard(0, 0))
    for part in parts[1:]:
        _require_fit(parts[0], part)
    _require_apart(parts)
    notes = [*_missing(parts, shards), *_run_notes(parts)]
    calibrations, calibration_notes = _calibrations(parts)
    audits = [part.audit for part in parts]
    run = _run(audits, command, tuple(notes))
    rows = _judge_whole(audits, calibrations)
    for note in notes:
        logger.warning("%s", note)
    return Audit(run, rows, calibrations, audits[0].levels, calibration_notes)


# --- whether they fit ---


def _shard_of(part: Part) -> Shard | None:
    text = part.audit.run.config.get("shard")
    return Shard.read(text) if isinstance(text, str) else None


def _require_fit(first: Part, other: Part) -> None:
    """That two parts were scored and judged alike.

    Raises:
        InputError: They were not; the message names the first difference.
    """
    facts, others = _facts(first.audit), _facts(other.audit)
    for what, value in facts.items():
        if value != others[what]:
            raise InputError(
                f"{shown(first.name)} and {shown(other.name)} do not fit: {what} differs"
                f"{_values(value, others[what])}",
                "Score all shards with the same options, and the same calibrations on each "
                "machine.",
            )


def _facts(audit: Audit) -> dict[str, Any]:
    """All that must be the same, by what it is to a reader."""
    run = audit.run
    shard = _shard_of(Part("", audit))
    scoring = [scored_by(run, inferrer) for inferrer in run.inferrers]
    return {
        "the number of shards": shard.n_shards if shard else None,
        "the encoder": run.encoder.spec,
        "the encoder's weights": run.encoder.fingerprint,
        "the reference encoder": [reference.fingerprint for reference in run.references],
        "the recipe of views": run.recipe,
        "the number of views": run.n_views,
        "the seed": run.seed,
        "the similarity": run.similarity,
        "the inferrers": [inferrer.name for inferrer in run.inferrers],
        "an inferrer's weights": [inferrer.sha256 for inferrer in run.inferrers],
        "what captions are held against": scoring,
        "the levels of verdicts": audit.levels,
        "the calibrations": [
            (made.inferrer, made.nonmembers.sha256, made.members and made.members.sha256, made.seed)
            for made in audit.calibrations
        ],
    }


def _values(first: Any, other: Any) -> str:
    is_short = all(
        isinstance(value, str | int) and len(str(value)) < 60 for value in (first, other)
    )
    return f" ({shown(str(first))}, {shown(str(other))})" if is_short else ""


def _require_apart(parts: Sequence[Part]) -> None:
    """That no file stands in two parts, and that what is computed with makes sense.

    Raises:
        InputError: One does, or a p-value is none.
    """
    seen: Overflow[str] = Overflow()  # the part of each path, by the hash of that
    for part in parts:
        for row in part.audit:
            if any(not 0 <= (finding.p_value or 0) <= 1 for finding in row.findings):
                raise InputError(
                    f"{shown(part.name)} is damaged: a p-value of {shown(row.path)!r} is not "
                    "between 0 and 1",
                    "Take the file as `clipaudit score -o` wrote it.",
                )
            key = content_id(row.path.encode("utf-8", "surrogatepass"))
            before = seen.get(key)
            if before is None:
                seen[key] = part.name
            elif before != part.name:
                raise InputError(
                    f"{shown(row.path)!r} stands in {shown(before)} and in {shown(part.name)}",
                    "Name each result once, and the same folders in the same way for each shard.",
                )


def _missing(parts: Sequence[Part], shards: dict[str, Shard | None]) -> list[str]:
    """What is not there, as far as the numbers of shards tell."""
    known = [shard for shard in shards.values() if shard is not None]
    if not known:
        return []
    missing = sorted({*range(1, known[0].n_shards + 1)} - {shard.number for shard in known})
    notes = []
    if missing:
        numbers = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        verb = "is" if len(missing) == 1 else "are"
        notes.append(
            f"{count(len(missing), 'shard')} of {known[0].n_shards:,} {verb} missing: {numbers}"
        )
    return notes


# --- what is of the whole ---


def _run_notes(parts: Sequence[Part]) -> list[str]:
    notes = [
        f"{shown(part.name)} is of a run that was stopped before its end"
        for part in parts
        if part.audit.run.interrupted
    ]
    if n := sum(part.audit.comparison is not None for part in parts):
        notes.append(
            f"{count(n, 'verdict')} against a control left out: each is of a part of the suspects"
        )
    versions = {part.audit.run.versions.get("clipaudit", "unknown") for part in parts}
    if len(versions) > 1:
        notes.append(f"scored by different versions of clipaudit: {', '.join(sorted(versions))}")
    return notes


def _run(audits: Sequence[Audit], command: str, notes: tuple[str, ...]) -> Run:
    runs = [audit.run for audit in audits]
    said = dict.fromkeys(note for run in runs for note in run.notes)
    return replace(
        runs[0],
        command=command or runs[0].command,
        config={**runs[0].config, "shard": None},
        started_at=min(run.started_at for run in runs),
        seconds=sum(run.seconds for run in runs),
        n_from_store=sum(run.n_from_store for run in runs),
        interrupted=any(run.interrupted for run in runs),
        captions=_captions([run.captions for run in runs if run.captions]),
        notes=(*said, *notes),
    )


def _captions(read: Sequence[CaptionsRead]) -> CaptionsRead | None:
    if not read:
        return None
    return replace(
        read[0],
        source=", ".join(dict.fromkeys(facts.source for facts in read)),
        n_with=sum(facts.n_with for facts in read),
        n_without=sum(facts.n_without for facts in read),
        n_cut=sum(facts.n_cut for facts in read),
        notes=tuple(dict.fromkeys(note for facts in read for note in facts.notes)),
    )


def _calibrations(parts: Sequence[Part]) -> tuple[tuple[CalibrationFacts, ...], tuple[str, ...]]:
    """The calibrations of the whole, and what is to be said of them."""
    notes = [note for part in parts for note in part.audit.calibration_notes]
    merged = []
    for same in zip(*(part.audit.calibrations for part in parts), strict=True):
        smallest = min(same, key=lambda made: made.n_null)
        if any(made.null_scores != smallest.null_scores for made in same):
            notes.append(
                f"{smallest.inferrer}: known pictures of the calibration are among the pictures of "
                "some shards, and were left out there; each p-value is by what was left in its "
                "own shard"
            )
        if any(made.share for made in same):
            notes.append(
                f"{smallest.inferrer}: how much of all pictures was used is not estimated from "
                "merged results"
            )
        merged.append(
            replace(
                smallest,
                n_left_out=sum(made.n_left_out for made in same),
                blind=most_cautious(made.blind for made in same),
                captions=most_cautious(made.captions for made in same),
                share=None,
            )
        )
    return tuple(merged), tuple(dict.fromkeys(notes))


def _judge_whole(
    audits: Sequence[Audit], calibrations: Sequence[CalibrationFacts]
) -> Sequence[Row]:
    """The rows of all, with the q-values and picks of the whole.

    Where the pictures of one part are of another kind than the known non-members, no picture has a
    verdict: the whole holds those, too.
    """
    q_values = {
        made.inferrer: _q_values(chain.from_iterable(audits), made.inferrer)
        for made in calibrations
    }
    of_another_kind = {made.inferrer for made in calibrations if made.is_of_another_kind}
    levels = audits[0].levels

    def judged(finding: Finding, row: Row) -> Finding:
        q = q_values.get(finding.inferrer, {}).get(row.sha256 or "")
        if q is None or levels is None or finding.reason == "known already":
            return finding
        if finding.inferrer in of_another_kind:
            undecided = replace(finding, verdict="can't tell", reason="of another kind")
            return replace(undecided, q_value=q, picked=False)
        is_judged = finding.reason != "one colour"
        return replace(finding, q_value=q, picked=is_judged and q <= levels.fdr)

    return keep(
        replace(row, findings=tuple(judged(finding, row) for finding in row.findings))
        for row in chain.from_iterable(audits)
    )


def _q_values(rows: Iterable[Row], inferrer: str) -> dict[str, float]:
    """The q-value of each different picture that was tested, by its SHA-256."""
    tested: dict[str, float] = {}
    for row in rows:
        found = row.finding(inferrer)
        if found and found.p_value is not None and found.reason != "known already":
            # One picture in two shards may have two p-values: the cautious one counts.
            before = tested.get(row.sha256 or "", 0.0)
            tested[row.sha256 or ""] = max(before, found.p_value)
    return adjusted(tested)
