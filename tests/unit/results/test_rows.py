"""Rows on disk are the rows in memory: the same in every order, count and slice."""

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipaudit import overflow
from clipaudit.files import FileError
from clipaudit.reports.formats import render
from clipaudit.results.rows import Finding, ReferenceSignals, Row, RowsInMemory, RowsOnDisk, keep
from tests.made.audits import realistic

SCORES = st.floats(-5, 5).map(lambda score: round(score, 1))
PATHS = st.text(st.characters(codec=None) | st.sampled_from("\udc80\udcff/é￿𐀀"), max_size=4)


@st.composite
def rows_of_pictures(draw):
    """Rows as a run gives them: copies have the scores of the first, some have no caption."""
    pictures = draw(st.integers(1, 6))
    scores = [draw(st.none() | SCORES) for _ in range(pictures)]
    means = [draw(SCORES) for _ in range(pictures)]
    rows = []
    for number, path in enumerate(draw(st.lists(PATHS, max_size=30))):
        kind = draw(st.integers(-2, pictures - 1))
        if kind < 0:
            sha256 = f"{number:064x}" if kind == -1 else None
            rows.append(Row(path, sha256, "skipped", draw(st.sampled_from(["a: b", "c: d", "e"]))))
            continue
        score = scores[kind]
        findings = [Finding("t", means[kind], "member")]
        if score is not None:
            first = Finding(
                "v",
                score,
                "member" if score > 0 else "non-member",
                p_value=0.5,
                verdict="can't tell" if score < 1 else "member",
                picked=score > 2,
            )
            findings = [first, *findings]
        rows.append(
            Row(
                path,
                f"{kind:064x}",
                "ok",
                mean_similarity=means[kind],
                findings=tuple(findings),
                notes=("first of 2 frames",),
                reference=ReferenceSignals(None, 1.0),
            )
        )
    return rows


@settings(max_examples=200)
@given(rows_of_pictures(), st.slices(40), st.sampled_from(["v", "t", None]))
def test_on_disk_they_are_the_same_as_in_memory(rows, part, first):
    here, there = RowsInMemory(rows), keep(rows, most_in_memory=0)
    if not rows:
        assert there == here
        return
    assert isinstance(there, RowsOnDisk)
    assert there.tally == here.tally
    for ours, theirs in (
        (here, there),
        (here.scored, there.scored),
        (here.skipped, there.skipped),
        (here.ranked(first), there.ranked(first)),
        (here.places(first), there.places(first)),
    ):
        assert tuple(theirs) == tuple(ours)
        assert len(theirs) == len(ours)
        assert tuple(theirs[part]) == tuple(ours[part])
        assert [theirs[i] for i in range(-len(ours), len(ours))] == [*ours, *ours]
        with pytest.raises(IndexError):
            theirs[len(ours)]


def test_another_ranking_takes_the_place_of_the_first():
    rows = [
        Row("a", "1", "ok", findings=(Finding("v", 1.0, "member"), Finding("t", 2.0, "member"))),
        Row("b", "2", "ok", findings=(Finding("v", 2.0, "member"), Finding("t", 1.0, "member"))),
    ]
    there = keep(rows, most_in_memory=1)
    for first, best in (("v", "b"), ("t", "a"), ("v", "b")):
        assert there.ranked(first)[0].path == there.places(first)[0].row.path == best


def test_few_are_a_tuple_and_many_are_not():
    rows = [Row(f"{number}", None, "skipped", "x: y") for number in range(5)]
    assert keep(rows, most_in_memory=5) == tuple(rows)
    there = keep(iter(rows), most_in_memory=4)
    assert isinstance(there, RowsOnDisk)
    assert there == keep(rows, most_in_memory=0)
    assert there != keep(rows[:4], most_in_memory=0)
    assert there != keep([*rows[:4], rows[0]], most_in_memory=0)


def test_they_are_a_tuple_when_they_leave_the_process():
    there = keep(realistic(30).rows, most_in_memory=10)
    assert pickle.loads(pickle.dumps(there)) == tuple(there)
    assert copy.deepcopy(there) is there


def test_an_audit_of_them_prints_and_counts_as_one_in_memory():
    audit = realistic(200)
    there = replace(audit, rows=keep(audit.rows, most_in_memory=10))
    assert isinstance(there.rows, RowsOnDisk)
    assert render(there, details=True) == render(audit, details=True)
    assert there.to_dicts() == audit.to_dicts()
    assert there.n_predicted("cifar10-v") == audit.n_predicted("cifar10-v")


def test_a_full_disk_is_an_error_that_says_so(monkeypatch):
    tables = []
    real = overflow.open_tables

    def on_a_small_disk(script):
        tables.append(real(script))
        tables[-1].execute("PRAGMA max_page_count = 20")
        return tables[-1]

    monkeypatch.setattr(overflow, "open_tables", on_a_small_disk)
    rows = (Row("x" * 1000 + str(number), None, "skipped", "x: y") for number in range(1000))
    with pytest.raises(FileError, match="full") as error:
        keep(rows, most_in_memory=0)
    assert "SQLITE_TMPDIR" in error.value.hint
    assert tables
