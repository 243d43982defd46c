"""Audits of shards → the audit of the whole."""

import random
from dataclasses import replace

import pytest

import clipaudit
from clipaudit.errors import InputError
from clipaudit.pictures.hashing import ONE_COLOUR
from clipaudit.results.rows import Finding, Row
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts.by_calibration import fits, judge
from clipaudit.verdicts.merging import Part, merge
from tests.made.audits import INFERRERS, audit_of, calibrated, controlled, kept, realistic, sha256

ONE = INFERRERS[:1]
NAME = ONE[0].name
LEVELS = Levels(fpr=0.05)


def row(path, score, notes=()):
    finding = Finding(NAME, score, "member" if score >= 0.5 else "non-member")
    return Row(path, sha256(path.removeprefix("copy of ")), "ok", None, 0.5, (finding,), notes)


def of(rows, shard=None):
    audit = audit_of(rows, ONE)
    return replace(audit, run=replace(audit.run, config={**audit.run.config, "shard": shard}))


def judged(audit, *known, levels=LEVELS):
    made = kept(audit.run, ONE[0], *known) if known else None
    return judge(audit, fits(audit.run, [made] if made else []), levels, {})


def drawn(n, seed=0):
    numbers = random.Random(seed)
    rows = [row(f"{number}.png", numbers.gauss(numbers.choice((0, 2)))) for number in range(n)]
    rows[5] = row("5.png", 9.0, (ONE_COLOUR,))
    rows += [
        row("copy of 7.png", rows[7].findings[0].score),
        Row("bad", None, "skipped", "empty: x"),
    ]
    return rows


KNOWN = (
    [random.Random(1).gauss(0) for _ in range(199)],
    [random.Random(2).gauss(2) for _ in range(99)],
)


@pytest.mark.parametrize("n_shards", [2, 3, 7])
def test_merged_shards_have_the_rows_and_verdicts_of_the_whole(n_shards):
    rows = drawn(60)
    whole = judged(of(rows), *KNOWN)
    parts = [
        Part(str(place), judged(of(rows[place::n_shards], f"{place + 1}/{n_shards}"), *KNOWN))
        for place in range(n_shards)
    ]
    assert any(
        finding.q_value != whole.rows[place].findings[0].q_value
        for place, row in enumerate(parts[0].audit.rows[:1])
        for finding in row.findings
    ), "or there is nothing to compute anew"
    merged = merge(parts[::-1])
    expected = {row.path: row for row in whole}
    assert [row.path for row in merged] == [row.path for part in parts for row in part.audit]
    for got in merged:
        for mine, theirs in zip(got.findings, expected[got.path].findings, strict=True):
            assert mine.q_value == pytest.approx(theirs.q_value, abs=1e-15)
            assert replace(mine, q_value=None) == replace(theirs, q_value=None)
    assert merged.n_picked(NAME) == whole.n_picked(NAME)
    assert merged.n_verdicts(NAME) == whole.n_verdicts(NAME)
    assert merged.run.config["shard"] is None
    assert merged.run.notes == ()


def test_runs_without_a_calibration_are_merged_too():
    rows = drawn(20)
    merged = merge([Part("a", of(rows[:9])), Part("b", of(rows[9:]))])
    assert merged.rows == tuple(rows)
    assert (merged.levels, merged.calibrations) == (None, ())


def test_results_and_saved_files_are_merged_alike_from_python(tmp_path):
    rows = drawn(20)
    whole = judged(of(rows[:9]), *KNOWN), judged(of(rows[9:]), *KNOWN)
    whole[1].save(tmp_path / "b.jsonl")
    expected = clipaudit.merge(whole)
    assert clipaudit.merge([whole[0], tmp_path / "b.jsonl"]) == expected


def test_shards_that_are_missing_are_named_and_so_are_runs_that_were_stopped():
    rows = drawn(20)
    stopped = of(rows[:5], "4/5")
    stopped = replace(stopped, run=replace(stopped.run, interrupted=True))
    merged = merge([Part("a.json", stopped), Part("b.json", of(rows[5:], "2/5"))])
    assert merged.run.notes == (
        "3 shards of 5 are missing: 1, 3, 5",
        "a.json is of a run that was stopped before its end",
    )
    assert merged.run.interrupted
    assert [row.path for row in merged][:2] == ["5.png", "6.png"], "in the order of the shards"


def test_a_file_in_two_results_is_refused():
    rows = drawn(20)
    with pytest.raises(InputError, match=r"'3.png' stands in a.json and in b.json"):
        merge([Part("a.json", of(rows[:9])), Part("b.json", of(rows[3:4]))])
    wrong = replace(rows[9], findings=(replace(rows[9].findings[0], p_value=1.5),))
    with pytest.raises(InputError, match="is not between 0 and 1"):
        merge([Part("a.json", of(rows[:9])), Part("b.json", of([wrong]))])
    with pytest.raises(InputError, match="nothing to merge"):
        merge([Part("a.json", of(rows[:9]))])


def test_results_that_were_made_in_another_way_are_refused_by_what_differs():
    rows = drawn(20)
    first = judged(of(rows[:9], "1/2"), *KNOWN)
    other = of(rows[9:], "2/2")
    run = other.run
    weights = replace(run.inferrers[0], sha256="0" * 64)
    for what, wrong in {
        r"the encoder differs \(ViT-B-32/openai, RN50\)": replace(
            run, encoder=replace(run.encoder, spec="RN50")
        ),
        "the encoder's weights": replace(run, encoder=replace(run.encoder, fingerprint="0" * 64)),
        "the reference encoder": replace(run, references=(run.encoder,)),
        "the recipe": replace(run, recipe="clip@1"),
        r"the number of views differs \(10, 8\)": replace(run, n_views=8),
        r"the seed differs \(0, 1\)": replace(run, seed=1),
        "the inferrers": replace(run, inferrers=()),
        "an inferrer's weights": replace(run, inferrers=(weights,)),
        r"the number of shards differs \(2, 3\)": replace(run, config={"shard": "3/3"}),
    }.items():
        with pytest.raises(InputError, match=what):
            merge([Part("a", first), Part("b", replace(other, run=wrong))])
    for wrong in (other, judged(other, *KNOWN, levels=Levels(fpr=0.01))):
        with pytest.raises(InputError, match="the levels of verdicts"):
            merge([Part("a", first), Part("b", wrong)])
    more = ([*KNOWN[0], 0.5], KNOWN[1])
    with pytest.raises(InputError, match="the calibrations"):
        merge([Part("a", first), Part("b", judged(other, *more))])


def test_where_one_shard_is_of_another_kind_no_picture_has_a_verdict():
    rows = drawn(40)
    parts = [judged(of(rows[place::2]), *KNOWN) for place in range(2)]
    facts = parts[1].calibrations[0]
    assert facts.blind
    strange = replace(facts, blind=replace(facts.blind, outcome="different"))
    parts[1] = replace(parts[1], calibrations=(strange,))
    merged = merge([Part("a", parts[0]), Part("b", parts[1])])
    assert merged.calibrations[0].is_of_another_kind
    findings = [finding for row in merged for finding in row.findings]
    assert {finding.verdict for finding in findings} == {"can't tell"}
    assert not any(finding.picked for finding in findings)
    assert all(finding.p_value for finding in findings)


def test_a_verdict_against_a_control_is_left_out_and_that_is_said():
    whole = controlled(calibrated(realistic(20)))
    parts = [replace(whole, rows=whole.rows[place::2]) for place in range(2)]
    merged = merge([Part("a", parts[0]), Part("b", parts[1])])
    assert merged.comparison is None
    assert any("2 verdicts against a control left out" in note for note in merged.run.notes)
