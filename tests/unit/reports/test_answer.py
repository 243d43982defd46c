"""The answer that every report leads with, and the command that would make it stronger."""

import shlex
import subprocess
from dataclasses import replace

import pytest

from clipaudit.blind.baseline import BlindCheck
from clipaudit.reports.answer import answers
from clipaudit.reports.formats import render
from clipaudit.reports.next_step import command_lines
from clipaudit.statistics.conformal import Levels
from clipaudit.statistics.share_used import ShareUsed
from tests.made.audits import INFERRERS, audit_of, calibrated, controlled, realistic, scored

BADGES = {"Evidence", "Weak evidence", "No evidence", "Cannot be said", "Not asked yet"}
ONE = INFERRERS[:1]


def shifted(n, shift, folder="pictures"):
    """Pictures that score as much above their own scores."""
    rows = [scored(f"/home/ana/{folder}/{i}.png", ONE) for i in range(n)]
    return audit_of(
        [
            replace(row, findings=tuple(replace(f, score=f.score + shift) for f in row.findings))
            for row in rows
        ],
        ONE,
    )


def equal(n, folder="pictures"):
    """Pictures that all have the same score."""
    audit = shifted(n, 0, folder)
    rows = [
        replace(row, findings=(replace(row.findings[0], score=1.0),), mean_similarity=0.5)
        for row in audit
    ]
    return replace(audit, rows=tuple(rows))


def first(audit):
    return answers(audit)[0]


def command(audit):
    step = first(audit).next_step
    return None if step is None else step.command


def lead(audit):
    """What the screen shows before the pictures."""
    return " ".join(render(audit).split("━\n")[1].split())


def test_without_a_control_or_a_calibration_it_was_not_asked_yet():
    audit = realistic(40)
    assert first(audit).sentence == "Not asked yet: scores alone decide nothing."
    assert "no control and no calibration" in first(audit).rests_on[0]
    assert command(audit) == "clipaudit score images --control UNSEEN"
    text = render(audit)
    assert text.startswith("The answer")
    assert text.index("Not asked yet") < text.index("Most like members")
    assert "uncalibrated" in text
    assert "non-member" not in text
    assert "member-like" in text


@pytest.mark.parametrize(
    ("audit", "badge", "added"),
    [
        (controlled(shifted(30, 9)), "Weak evidence", "--reference auto"),
        (controlled(shifted(30, 0)), "No evidence", "--reference auto"),
        (controlled(shifted(30, 9), outcome="too few"), "Cannot be said", "--reference auto"),
        (controlled(shifted(30, 9), outcome="different"), "Cannot be said", "--reference auto"),
        (
            controlled(shifted(30, 9), captions=BlindCheck("different", "AUC 0.9")),
            "Cannot be said",
            "--captions none",
        ),
        (calibrated(realistic(300)), "Evidence for some", "--control UNSEEN"),
        (calibrated(realistic(40), levels=Levels(fdr=0.001)), "No evidence", "--control UNSEEN"),
    ],
)
def test_each_answer_comes_with_what_it_rests_on_and_one_command(audit, badge, added):
    answer = first(audit)
    assert answer.badge == badge
    assert badge in {*BADGES, "Evidence for some"}
    assert answer.rests_on
    assert command(audit) == f"clipaudit score images {added}"
    assert command(audit) in lead(audit)
    assert all(other.next_step is None for other in answers(audit)[1:])


def test_weak_evidence_says_what_remains_where_no_reference_took_part():
    remains = " ".join(first(controlled(shifted(30, 9))).lines)
    assert "differ in what they show, which only a reference encoder" in remains


def test_a_calibration_that_is_too_small_asks_for_a_larger_one():
    audit = calibrated(realistic(40), n_null=20)
    assert first(audit).badge == "Cannot be said"
    assert command(audit) == ("clipaudit calibrate --encoder ViT-B-32/openai --nonmembers UNSEEN")
    assert "99 at least" in lead(audit)


def test_the_count_found_and_the_count_by_chance_are_in_one_line():
    audit = calibrated(realistic(300))
    n_found = audit.n_verdicts("cifar10-v")["member"]
    both = f"of 300 pictures {n_found} are called members; chance alone would call 2.0 (0 to "
    assert both in first(audit).sentence
    assert both in lead(audit)


# --- bad input, each in the answer's own place ---------------------------------------------------


def test_one_suspect_and_one_control_picture_are_too_few():
    audit = controlled(shifted(1, 9), shifted(1, 0, "control"))
    assert first(audit).sentence == "Cannot be said: there are too few pictures for an answer."
    assert "it takes 3 pictures in each set" in lead(audit)
    assert command(audit) == "clipaudit score images --control MORE"
    many = controlled(shifted(1, 9), shifted(3, 0, "control"))
    assert first(many).badge == "Cannot be said"


def test_scores_that_are_all_equal_decide_nothing():
    audit = controlled(equal(30), equal(30, "control"))
    assert first(audit).sentence == (
        "Cannot be said: the scores are equal, or too often so, for an answer."
    )
    assert "equal scores decide nothing" in lead(audit)
    alone = lead(equal(30))
    assert "all of them are equal, so that their order says nothing either" in alone
    assert "all of them are equal" not in lead(shifted(30, 0))


def test_a_control_of_another_kind_is_no_fair_one():
    audit = controlled(shifted(30, 9), outcome="different")
    assert first(audit).sentence == (
        "Cannot be said: the control is no fair one, so nothing follows from the comparison."
    )
    assert "the two sets differ in what needs no encoder" in lead(audit)


def test_a_share_that_cannot_be_told_is_said_to_be_so():
    audit = calibrated(realistic(300))
    facts = audit.calibrations[0]
    share = "of the pictures were used (95 % interval"
    unknown = "how much of them was used cannot be told from these scores"
    assert share in lead(audit)
    without = replace(audit, calibrations=(replace(facts, share=None), *audit.calibrations[1:]))
    assert unknown in lead(without)
    no_members = replace(facts, share=None, members=None)
    nobody = replace(audit, calibrations=(no_members, *audit.calibrations[1:]))
    assert unknown not in lead(nobody)
    evidence = controlled(shifted(30, 9))
    assert "% of the pictures were used (95 % confidence)" in lead(evidence)
    comparison = evidence.comparison
    result = replace(comparison.by_inferrer[0], share=ShareUsed(None, 0.0, 1.0, 30))
    none = replace(evidence, comparison=replace(comparison, by_inferrer=(result,)))
    assert unknown in lead(none)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [18, 20, 40, 80])
@pytest.mark.parametrize(
    "words",
    [
        ("printf", "%s\\n", "a b", "it's", "$HOME", "--control", "UNSEEN"),
        ("printf", "%s\\n", "/a very long folder of it's own/" * 4, "日本の風景画" * 9),
    ],
)
def test_a_command_in_lines_is_the_same_to_a_shell(words, width):
    lines = command_lines(words, width)
    done = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == list(words[2:])


def test_what_was_typed_is_quoted_and_kept():
    typed = shlex.join(["clipaudit", "score", "my pictures", "--control", "it's"])
    audit = controlled(shifted(30, 9))
    audit = replace(audit, run=replace(audit.run, command=typed))
    assert shlex.split(command(audit)) == [*shlex.split(typed), "--reference", "auto"]
    assert f"{typed} --reference auto" in lead(audit)


def test_an_option_does_not_become_a_picture_behind_two_hyphens():
    typed = "clipaudit score -- -a.png"
    audit = replace(realistic(3), run=replace(realistic(3).run, command=typed))
    assert command(audit) == "clipaudit score --control UNSEEN -- -a.png"


def test_a_run_from_python_gets_a_command_with_its_own_folder():
    audit = replace(realistic(3), run=replace(realistic(3).run, command="clipaudit.score('x')"))
    assert command(audit) == (
        "clipaudit score /home/ana/pictures/ --encoder ViT-B-32/openai --control UNSEEN"
    )


def test_where_nothing_was_scored_there_is_no_next_step():
    assert command(audit_of([])) is None
    assert first(audit_of([])).badge == "Cannot be said"
