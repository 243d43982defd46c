"""Whether a saved result is true: one that is, and one that somebody made look better."""

from dataclasses import replace

import pytest

from clipaudit.reports.audit.json_document import summary
from clipaudit.verdicts.checking import check_result
from tests.made.audits import calibrated, controlled, realistic


@pytest.fixture(scope="module")
def audit():
    return controlled(calibrated(realistic(40)))


def states(audit, counts=None, images=None):
    checks = check_result(audit, counts or summary(audit), summary(audit), images)
    return {check.what: check.state for check in checks}


def changed(audit, **finding):
    """With the first finding of the first scored row changed."""
    place = next(i for i, row in enumerate(audit.rows) if row.status == "ok")
    row = audit.rows[place]
    first = replace(row.findings[0], **finding)
    rows = [*audit.rows]
    rows[place] = replace(row, findings=(first, *row.findings[1:]))
    return replace(audit, rows=tuple(rows))


def test_a_true_result_differs_in_nothing(audit):
    found = states(audit, images={row.sha256 for row in audit.rows if row.sha256})
    assert "differs" not in found.values()
    assert found["the pictures"] == found["the sentence"] == found["the grade"] == "ok"
    assert found["the scores themselves"] == "cannot be checked"
    assert states(audit)["the pictures"] == "cannot be checked"


def test_what_was_changed_is_found(audit):
    name = audit.calibrations[0].inferrer
    assert states(changed(audit, p_value=0.9999))[f"p-values by {name}"] == "differs"
    assert states(changed(audit, q_value=0.0123))[f"q-values by {name}"] == "differs"
    finding = next(row for row in audit.rows if row.status == "ok").findings[0]
    other = "member" if finding.verdict != "member" else "can't tell"
    assert states(changed(audit, verdict=other))[f"verdicts by {name}"] == "differs"
    flipped = "member" if finding.prediction == "non-member" else "non-member"
    assert states(changed(audit, prediction=flipped))["the predictions"] == "differs"
    assert states(audit, {**summary(audit), "n_scored": 1})["the counts"] == "differs"
    assert states(audit, images={"0" * 64})["the pictures"] == "differs"
    louder = replace(audit.comparison, sentence="Certainly used.")
    assert states(replace(audit, comparison=louder))["the sentence"] == "differs"
    better = replace(audit.comparison, grade="weak evidence")
    assert states(replace(audit, comparison=better))["the grade"] == "differs"


def test_the_test_against_the_control_is_made_again(audit):
    state = states(audit)["the test against the control"]
    assert state in {"ok", "cannot be checked"}
    by = audit.comparison.by_inferrer[0]
    if state == "ok":
        false = replace(by, unpaired=replace(by.unpaired, p=by.unpaired.p / 2 + 1e-4))
        comparison = replace(
            audit.comparison, by_inferrer=(false, *audit.comparison.by_inferrer[1:])
        )
        found = states(replace(audit, comparison=comparison))
        assert found["the test against the control"] == "differs"
