"""Stage 6: an audit and calibrations → the audit with p-values and verdicts, and their evidence.

Without a calibration for an inferrer its findings stay as they are: uncalibrated predictions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from clipaudit._version import __version__
from clipaudit.blind.captions import style_check
from clipaudit.blind.trial import blind_check
from clipaudit.errors import InferrerError
from clipaudit.pictures.hashing import ONE_COLOUR
from clipaudit.pictures.near_duplicates import partners
from clipaudit.results.evidence import CalibrationFacts
from clipaudit.results.rows import keep
from clipaudit.statistics.calibration import Calibration, ScoredBy, require_fit
from clipaudit.statistics.conformal import Decision, Levels, decide, p_values
from clipaudit.statistics.metrics import proportion
from clipaudit.statistics.share_used import estimate_share
from clipaudit.verdicts.calibration_files import pack_styles, unpack_appearances, unpack_styles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.blind.baseline import BlindCheck
    from clipaudit.pictures.preparing import Appearance
    from clipaudit.results.audit import Audit, InferrerFacts, Run
    from clipaudit.results.rows import Finding, Row
    from clipaudit.statistics.conformal import Reason
    from clipaudit.statistics.metrics import Estimate, FloatArray
    from clipaudit.verdicts.calibration_files import CalibrationFile


@dataclass(frozen=True, slots=True)
class Fits:
    """Which calibration serves which inferrer.

    Attributes:
        by_inferrer: Calibrations that fit, by the name of the inferrer.
        notes: Why others, made for the same encoder or inferrer, do not.
    """

    by_inferrer: Mapping[str, CalibrationFile]
    notes: tuple[str, ...]


def scored_by(run: Run, inferrer: InferrerFacts) -> ScoredBy:
    """All that the scores of one inferrer in a run depend on."""
    captions = run.captions if inferrer.reads_captions else None
    return ScoredBy(
        encoder=run.encoder.fingerprint,
        inferrer=inferrer.name,
        inferrer_sha256=inferrer.sha256,
        recipe=run.recipe if inferrer.reads_views else "none",
        n_views=run.n_views if inferrer.reads_views else 0,
        similarity=inferrer.similarity,
        references=tuple(reference.fingerprint for reference in run.references)
        if inferrer.reads_reference
        else (),
        bank=captions.bank.sha256 if captions else "",
        text_tower=captions.tower.fingerprint if captions else "",
    )


def unique_scores(audit: Audit, inferrer: str) -> dict[str, float]:
    """Each different picture's score by its SHA-256, in the order of the rows.

    Raises:
        InferrerError: As `require_numbers`.
    """
    scores: dict[str, float] = {}
    for row in audit.scored:
        require_numbers(row)
        found = row.finding(inferrer)
        if found and row.sha256:
            scores[row.sha256] = found.score
    return scores


def require_numbers(row: Row) -> None:
    """That every score of a picture is one to judge by.

    Raises:
        InferrerError: A score is no finite number, so nothing can be said of that picture.
    """
    for finding in row.findings:
        if not math.isfinite(finding.score):
            raise InferrerError(
                f"inferrer {finding.inferrer} gives {row.path!r} the score {finding.score}, which "
                "is no number to judge by",
                "Its weights are broken: train it again, or pass another --inferrer.",
            )


def fits(run: Run, files: Iterable[CalibrationFile]) -> Fits:
    """The calibrations that fit a run, and what is said of those that nearly do."""
    files = tuple(files)
    by_inferrer: dict[str, CalibrationFile] = {}
    notes = []
    for inferrer in run.inferrers:
        wanted = scored_by(run, inferrer)
        refusals = []
        for file in files:
            try:
                require_fit(file.calibration, wanted)
            except InferrerError as refusal:
                made = file.calibration.scored_by
                if made.inferrer == inferrer.name and (
                    made.encoder == wanted.encoder or file.encoder == run.encoder.spec
                ):
                    refusals.append(f"{inferrer.name}: {refusal}")
            else:
                is_exact = file.calibration.scored_by == wanted
                if inferrer.name not in by_inferrer or is_exact:
                    by_inferrer[inferrer.name] = file
                if file.clipaudit_version != __version__:
                    notes.append(
                        f"{inferrer.name}: the calibration was made by clipaudit "
                        f"{file.clipaudit_version}, and this is {__version__}"
                    )
        notes += [] if inferrer.name in by_inferrer else refusals
    return Fits(by_inferrer, tuple(notes))


def require_use(run: Run, files: Iterable[CalibrationFile]) -> None:
    """Check that each calibration that was named fits one of the inferrers.

    Raises:
        InferrerError: One does not; the message names the first difference.
    """
    for file in files:
        made = file.calibration.scored_by
        if file in fits(run, [file]).by_inferrer.values():
            continue
        named = [facts for facts in run.inferrers if facts.name == made.inferrer]
        for inferrer in named or run.inferrers[:1]:
            require_fit(file.calibration, scored_by(run, inferrer))


def judge(
    audit: Audit,
    fitting: Fits,
    levels: Levels,
    hashes: Mapping[str, int],
    appearances: Mapping[str, Appearance] = MappingProxyType({}),
    captions: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Audit:
    """The audit with p-values and verdicts by the calibrations that fit.

    Known pictures that are among the pictures of the audit, to the byte or to the eye, are left
    out of the calibration first: that goes by what they are, not by their scores, so the others
    stay exchangeable. Where the pictures of the audit can be told from the non-members without
    the encoder they are not exchangeable: they keep their p-values, and get no verdict.

    Args:
        audit: Scores, without verdicts.
        fitting: Calibration of each inferrer, where there is one.
        levels: How often verdicts may be wrong.
        hashes: Perceptual hashes of the pictures by SHA-256, as far as they could be made.
        appearances: What different pictures of the audit look like, by SHA-256: those that a blind
            trial looks at.
        captions: Their captions, where some were read.

    Raises:
        InferrerError: A score is no finite number.
    """
    plain = {row.sha256 for row in audit if ONE_COLOUR in row.notes}
    checks: dict[frozenset[str], BlindCheck] = {}
    styles = unpack_styles(pack_styles(captions)) if captions else {}
    decisions: dict[tuple[str, str], Decision] = {}
    facts, notes = [], list(fitting.notes)
    for row in audit.scored:
        require_numbers(row)
    for inferrer in audit.run.inferrers:
        file = fitting.by_inferrer.get(inferrer.name)
        if file is None:
            continue
        scores = unique_scores(audit, inferrer.name)
        strangers = {
            image_id: code for image_id, code in file.hashes.items() if image_id not in scores
        }
        same = (file.calibration.image_ids & scores.keys()) | partners(strangers, hashes).keys()
        calibration = file.without(same)
        if calibration is None:
            notes.append(
                f"{inferrer.name}: all {len(file.calibration.null):,} known non-members of its "
                "calibration are among these pictures, so none is left to compare with"
            )
            continue
        ids = calibration.image_ids
        if ids not in checks:
            checks[ids] = _check_kind(file, calibration, appearances, audit.run.seed)
        style = None
        if file.caption_styles:
            style = _check_captions(file, calibration, styles, audit.run.seed)
        made = _facts(inferrer.name, file, calibration, len(same), levels, checks[ids], style)
        for decision in decide(calibration, [*scores], np.array([*scores.values()]), levels):
            reason: Reason | None = "one colour" if decision.image_id in plain else None
            if made.is_of_another_kind:
                reason = "of another kind"
            decisions[inferrer.name, decision.image_id] = (
                _undecided(decision, reason) if reason else decision
            )
        others = np.array([score for key, score in scores.items() if key not in same])
        share = None
        if calibration.members is not None and len(others) and not made.is_of_another_kind:
            null, members = (
                np.array(known.scores) for known in (calibration.null, calibration.members)
            )
            share = estimate_share(others, null, members, calibration.seed)
        facts.append(replace(made, share=share))
    return replace(
        audit,
        rows=keep(_with_decisions(row, decisions) for row in audit) if decisions else audit.rows,
        calibrations=tuple(facts),
        levels=levels if facts else None,
        calibration_notes=tuple(notes),
    )


def estimate_tpr(calibration: Calibration, fpr: float) -> Estimate | None:
    """The share of its known members that its null sample calls members; None without members."""
    members = calibration.members
    if members is None:
        return None
    scores: FloatArray = np.array(members.scores)
    p = p_values(calibration.null, members.image_ids, scores, calibration.seed)
    return proportion(int((p <= fpr).sum()), len(p))


def _check_kind(
    file: CalibrationFile, used: Calibration, appearances: Mapping[str, Appearance], seed: int
) -> BlindCheck:
    known = unpack_appearances(
        {image_id: look for image_id, look in file.looks.items() if image_id in used.image_ids}
    )
    return blind_check(appearances, known, {**appearances, **known}, seed)


def _check_captions(
    file: CalibrationFile, used: Calibration, styles: Mapping[str, FloatArray], seed: int
) -> BlindCheck:
    """Whether the captions of the run are written as those of the non-members are."""
    known = unpack_styles(
        {key: style for key, style in file.caption_styles.items() if key in used.image_ids}
    )
    return style_check(styles, known, {**styles, **known}, seed)


def _undecided(decision: Decision, reason: Reason) -> Decision:
    return replace(decision, verdict="can't tell", reason=reason, picked=False)


def _with_decisions(row: Row, decisions: Mapping[tuple[str, str], Decision]) -> Row:
    if row.sha256 is None:
        return row
    findings = tuple(
        _with_decision(finding, decisions.get((finding.inferrer, row.sha256)))
        for finding in row.findings
    )
    return replace(row, findings=findings)


def _with_decision(finding: Finding, decision: Decision | None) -> Finding:
    if decision is None:
        return finding
    return replace(
        finding,
        p_value=decision.p,
        p_member=decision.p_member,
        q_value=decision.q,
        verdict=decision.verdict,
        reason=decision.reason,
        picked=decision.picked,
    )


def _facts(
    inferrer: str,
    file: CalibrationFile,
    used: Calibration,
    n_left_out: int,
    levels: Levels,
    blind: BlindCheck,
    captions: BlindCheck | None,
) -> CalibrationFacts:
    return CalibrationFacts(
        inferrer=inferrer,
        nonmembers=file.nonmembers,
        members=file.members,
        n_left_out=n_left_out,
        n_null=len(used.null),
        n_members=len(used.members) if used.members else 0,
        smallest_p=used.smallest_p,
        fpr=used.fpr(levels.fpr),
        tpr=estimate_tpr(used, levels.fpr),
        seed=used.seed,
        created=file.created,
        clipaudit_version=file.clipaudit_version,
        null_scores=tuple(sorted(used.null.scores)),
        blind=blind,
        captions=captions,
    )
