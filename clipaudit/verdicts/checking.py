"""A saved result, and the pictures it is of → whether it is true, as far as that needs no encoder.

Whoever is handed a result can try it: that the pictures are the ones that were scored, and that
p-values, verdicts, the test against the control and the sentence follow from the scores in it.
Whether the encoder gives these scores only a run with the encoder shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clipaudit.statistics.two_sets import compare
from clipaudit.text.numbers import count
from clipaudit.verdicts.by_calibration import unique_scores
from clipaudit.verdicts.by_control import grade_of
from clipaudit.verdicts.sentences import Basis, verdict_sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from clipaudit.results.audit import Audit
    from clipaudit.results.evidence import AgainstControl, CalibrationFacts
    from clipaudit.results.rows import Finding

State = Literal["ok", "differs", "cannot be checked"]

_UNDECIDED = {"known already", "of another kind", "one colour"}
_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one thing that a result says is true.

    Attributes:
        what: The thing.
        state: What came out.
        text: Why, or how many.
    """

    what: str
    state: State
    text: str


def check_result(
    audit: Audit,
    summary: Mapping[str, Any] | None,
    counted: Mapping[str, Any],
    images: Collection[str] | None,
) -> tuple[Check, ...]:
    """Everything that can be tried without the encoder.

    Args:
        audit: The result.
        summary: Counts that its file gives, where it gives any.
        counted: The same, counted anew.
        images: SHA-256 of the pictures that were named; None where none were.
    """
    return (
        _pictures(audit, images),
        _counts(summary, counted, len(audit)),
        _predictions(audit),
        *(check for facts in audit.calibrations for check in _calibrated(audit, facts)),
        *(_against(audit, audit.comparison) if audit.comparison else ()),
        Check(
            "the scores themselves",
            "cannot be checked",
            "that takes the encoder: repeat the command of the result, with the same versions",
        ),
    )


def _verdict(what: str, wrong: list[str], right: str) -> Check:
    if not wrong:
        return Check(what, "ok", right)
    more = f"; and {len(wrong) - 3:,} more" if len(wrong) > 3 else ""
    return Check(what, "differs", "; ".join(wrong[:3]) + more)


def _pictures(audit: Audit, images: Collection[str] | None) -> Check:
    what = "the pictures"
    if images is None:
        return Check(what, "cannot be checked", "no pictures were named")
    missing = [row.path for row in audit.rows if row.sha256 and row.sha256 not in images]
    scored = {row.sha256 for row in audit.rows if row.sha256}
    n_other = len({*images} - scored)
    other = f"; {count(n_other, 'further file')} named that it does not speak of" if n_other else ""
    wrong = [f"no named file has the SHA-256 of {path!r}" for path in missing]
    return _verdict(what, wrong, f"{count(len(scored), 'SHA-256', 'SHA-256')} found again{other}")


def _counts(summary: Mapping[str, Any] | None, counted: Mapping[str, Any], n_rows: int) -> Check:
    what = "the counts"
    if summary is None:
        return Check(what, "cannot be checked", "the file gives none")
    wrong = [
        f"{name} is given as {summary.get(name)}, and the rows come to {value}"
        for name, value in counted.items()
        if summary.get(name) != value
    ]
    return _verdict(what, wrong, f"they are those of the {count(n_rows, 'row')}")


def _predictions(audit: Audit) -> Check:
    thresholds = {facts.name: facts.threshold for facts in audit.run.inferrers}
    findings = [(row.path, found) for row in audit.scored for found in row.findings]
    wrong = [
        f"{path!r} by {found.inferrer}"
        for path, found in findings
        if (found.score >= thresholds[found.inferrer]) != (found.prediction == "member")
    ]
    right = f"{count(len(findings), 'score')} on the right side of the threshold"
    return _verdict("the predictions", wrong, right)


def _calibrated(audit: Audit, facts: CalibrationFacts) -> Iterator[Check]:
    by = f"by {facts.inferrer}"
    found: dict[str, Finding] = {}
    for row in audit.scored:
        finding = row.finding(facts.inferrer)
        if finding is not None and finding.p_value is not None and row.sha256:
            found[row.sha256] = finding
    null = np.array(facts.null_scores)
    if len(null) != facts.n_null or not len(null):
        text = "the scores of the known non-members are not in the file"
        yield Check(f"p-values {by}", "cannot be checked", text)
    else:
        wrong = [
            f"{key[:12]}… has p = {finding.p_value:.6f}"
            for key, finding in found.items()
            if not _is_p_of(finding, null)
        ]
        right = f"{len(found):,} follow from {count(len(null), 'known non-member')}"
        yield _verdict(f"p-values {by}", wrong, right)
    yield _verdict(f"q-values {by}", [*_wrong_q(found)], "by Benjamini and Hochberg's procedure")
    if audit.levels is None:
        return
    levels = audit.levels
    wrong = []
    for key, finding in found.items():
        p, p_member = finding.p_value or 0.0, finding.p_member
        is_unlike_members = p_member is not None and p_member <= levels.fnr
        verdict = "can't tell"
        if finding.reason not in _UNDECIDED and (p <= levels.fpr) != is_unlike_members:
            verdict = (
                "non-member" if is_unlike_members else "member" if p <= levels.fpr else verdict
            )
        picked = (finding.q_value or 0.0) <= levels.fdr and finding.reason not in _UNDECIDED
        if (verdict, picked) != (finding.verdict, finding.picked):
            wrong.append(f"{key[:12]}… is {finding.verdict}, and the numbers say {verdict}")
    yield _verdict(f"verdicts {by}", wrong, f"{len(found):,} follow from p-values and levels")


def _is_p_of(finding: Finding, null: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether a p-value is one that its score can have: among equal scores the lot decides."""
    low, high = (
        (1 + int(n)) / (1 + len(null))
        for n in ((null > finding.score).sum(), (null >= finding.score).sum())
    )
    p = finding.p_value or 0.0
    return low - _NEAR <= p <= high + _NEAR


def _wrong_q(found: Mapping[str, Finding]) -> Iterator[str]:
    from scipy import stats

    tested = {key: item for key, item in found.items() if item.reason != "known already"}
    if not tested:
        return
    p = [item.p_value or 0.0 for item in tested.values()]
    for (key, item), q in zip(
        tested.items(), stats.false_discovery_control(p, method="bh"), strict=True
    ):
        if item.q_value is None or not math.isclose(item.q_value, q, abs_tol=_NEAR):
            yield f"{key[:12]}… has q = {item.q_value}, and its p-value gives {q:.6f}"


def _against(audit: Audit, comparison: AgainstControl) -> Iterator[Check]:
    run, by = audit.run, comparison.by_inferrer[0]
    what = "the test against the control"
    scores = np.array([*unique_scores(audit, by.inferrer).values()])
    reason = ""
    if comparison.negative_control is not None:
        reason = "it is of what a reference does not explain, and the parts are not in the file"
    elif len(comparison.seeds) > 1:
        reason = "it is of means over several seeds, and the scores in the file are of one"
    elif by.unpaired.n_series is not None:
        reason = "pictures hang together in series, which are not in the file"
    elif len(scores) != by.unpaired.n_suspects:
        reason = "near-duplicates were left out, and the file does not say which"
    elif len(by.control_scores) != by.unpaired.n_control:
        reason = "the scores of the control are not in the file"
    if reason:
        yield Check(what, "cannot be checked", reason)
    else:
        again = compare(scores, np.array(by.control_scores), by.unpaired.alpha, run.seed)
        wrong = []
        if not math.isclose(again.p, by.unpaired.p, abs_tol=_NEAR):
            wrong.append(f"p is given as {by.unpaired.p:.6f}, and the scores give {again.p:.6f}")
        if again.effect != by.unpaired.effect:
            wrong.append(f"the effect is given as {by.unpaired.effect}, and is {again.effect}")
        yield _verdict(what, wrong, f"p = {again.p:.4f} from the scores of both")
    blind, negative, captions = comparison.blind, comparison.negative_control, comparison.captions
    grade = grade_of(by.unpaired, blind, negative, captions)
    wrong = [f"it is given as {comparison.grade}, and the numbers come to {grade}"]
    yield _verdict("the grade", wrong * (grade != comparison.grade), grade)
    basis = Basis(run, by.inferrer, comparison.seeds, blind, negative, comparison.n_looks, captions)
    sentence = verdict_sentence(by.unpaired, grade, basis)
    wrong = [f"the numbers say: {sentence}"]
    yield _verdict(
        "the sentence", wrong * (sentence != comparison.sentence), "it says what the numbers do"
    )
    yield Check(
        "whether the control is fair",
        "cannot be checked",
        "that takes its pictures: `clipaudit score` with --control tries it again",
    )
