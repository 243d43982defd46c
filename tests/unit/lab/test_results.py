import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clipaudit.errors import InputError
from clipaudit.files import FileError
from clipaudit.lab.results import (
    Outcome,
    accuracy,
    all_results,
    fpr,
    mean_over_seeds,
    over_seeds,
    precision,
    read_results,
    recall,
    with_earlier,
    write_results,
)
from clipaudit.statistics.metrics import Estimate
from tests.made.outcomes import results
from tests.made.present import present

COUNTS = st.integers(0, 30)


# --- shares --------------------------------------------------------------------------------------


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_shares_are_those_that_counting_picture_by_picture_gives(found, missed, accused, spared):
    pictures = (
        [("member", "member")] * found
        + [("member", "other")] * missed
        + [("other", "member")] * accused
        + [("other", "other")] * spared
    )
    one = Outcome("x", "y", "embedding", "V", 0, found, missed, accused, spared, 0.5)
    assert one.n == len(pictures)
    assert accuracy(one) == (sum(was == called for was, called in pictures), len(pictures))
    right_calls = [was == "member" for was, called in pictures if called == "member"]
    assert precision(one) == (sum(right_calls), len(right_calls))
    calls = [called == "member" for was, called in pictures if was == "member"]
    assert recall(one) == (sum(calls), len(calls))
    calls = [called == "member" for was, called in pictures if was == "other"]
    assert fpr(one) == (sum(calls), len(calls))


# --- over the repetitions ------------------------------------------------------------------------


def slow_student(values):
    """Mean and 95 % interval by scipy, cut at 0 and 1."""
    mean = sum(values) / len(values)
    if len(set(values)) == 1:
        return mean, mean, mean
    spread = math.sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1))
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=mean, scale=spread / math.sqrt(len(values))
    )
    return mean, max(0, low), min(1, high)


def slow_clopper_pearson(k, n):
    """By quantiles of beta distributions, as in every textbook."""
    low = stats.beta.ppf(0.025, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return low, high


SHARES = st.lists(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=2,
    max_size=5,
)


@given(SHARES)
@settings(max_examples=40)
def test_the_interval_is_the_wider_one_at_either_end(shares):
    mean, *of_student = slow_student([k / n for k, n in shares])
    of_all = slow_clopper_pearson(sum(k for k, _ in shares), sum(n for _, n in shares))
    estimate = over_seeds(shares)
    assert present(estimate).value == pytest.approx(mean)
    assert present(estimate).low == pytest.approx(min(of_student[0], of_all[0]), abs=1e-9)
    assert present(estimate).high == pytest.approx(max(of_student[1], of_all[1]), abs=1e-9)
    assert present(estimate).n == sum(n for _, n in shares)
    assert 0 <= present(estimate).low <= present(estimate).value <= present(estimate).high <= 1


def test_repetitions_that_differ_widen_the_interval_and_those_that_do_not_leave_it():
    alike, apart = over_seeds([(40, 50)] * 3), over_seeds([(30, 50), (40, 50), (50, 50)])
    low, high = slow_clopper_pearson(120, 150)
    assert (present(alike).low, present(alike).high) == pytest.approx((low, high))
    assert present(apart).value == pytest.approx(present(alike).value) == pytest.approx(0.8)
    # Student's t with two degrees of freedom, by the table: 4.303 times 0.2 / √3.
    assert present(apart).low == pytest.approx(0.8 - 4.3027 * 0.2 / math.sqrt(3), abs=1e-4)
    assert present(apart).high == 1


def test_one_repetition_has_the_interval_of_its_pictures():
    low, high = slow_clopper_pearson(7, 10)
    estimate = present(over_seeds([(7, 10)]))
    assert (estimate.value, estimate.n) == (0.7, 10)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert over_seeds([(7, 10), (0, 0)]) == estimate


def test_where_nothing_is_counted_there_is_no_figure():
    assert over_seeds([]) is None
    assert over_seeds([(0, 0), (0, 0)]) is None
    assert mean_over_seeds([]) is None


def test_repetitions_weigh_alike_whatever_their_size():
    assert present(over_seeds([(1, 1), (0, 99)])).value == pytest.approx(0.5)


RATES = st.integers(0, 1000).map(lambda value: value / 1000)


@given(st.lists(st.tuples(RATES, st.integers(2, 90)), min_size=2, max_size=5))
@settings(max_examples=40)
def test_a_mean_has_students_interval(values):
    mean, low, high = slow_student([value for value, _ in values])
    estimate = present(mean_over_seeds(values))
    assert estimate.value == pytest.approx(mean)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
    assert estimate.n == sum(n for _, n in values)


def test_a_mean_of_one_repetition_may_be_anything():
    assert mean_over_seeds([(0.8, 50)]) == Estimate(0.8, 0.0, 1.0, 50)


def test_the_interval_holds_the_truth_at_least_as_often_as_it_says():
    """Encoders differ, and so do the pictures of each."""
    rng = np.random.default_rng(0)
    of_encoders = rng.normal(0.75, 0.05, (200, 3)).clip(0, 1)
    found = [over_seeds([(k, 50) for k in row]) for row in rng.binomial(50, of_encoders)]
    assert np.mean([present(one).low <= 0.75 <= present(one).high for one in found]) >= 0.95


# --- files ---------------------------------------------------------------------------------------


def test_results_survive_being_written_and_read(tmp_path):
    path = write_results(tmp_path, results())
    assert path == tmp_path / "results" / "small-cpu.json"
    assert read_results(path) == results()
    assert all_results(tmp_path) == [results()]


def test_results_of_the_same_matrix_and_scale_are_replaced_and_others_kept(tmp_path):
    write_results(tmp_path, results())
    write_results(tmp_path, results(scale="paper"))
    write_results(tmp_path, results(n_cells=3))
    found = all_results(tmp_path)
    assert [(one.scale, one.n_cells) for one in found] == [("cpu", 3), ("paper", 60)]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b'"x"', b"\xff", b"{}", b'{"format": 1}', b'{"format": 2}'],
)
def test_a_file_that_holds_no_results_is_an_error_of_ours(tmp_path, content):
    path = write_results(tmp_path, results())
    path.write_bytes(content)
    for read in (lambda: read_results(path), lambda: all_results(tmp_path)):
        with pytest.raises(InputError, match="holds no results of a lab") as caught:
            read()
        assert "clipaudit lab run" in caught.value.hint
        assert caught.value.exit_code == 3


def cut(document):
    del document["outcomes"][0]["found"]


def with_more(document):
    document["encoders"][0]["colour"] = "red"


def of_another_version(document):
    document["format"] += 1


def without_a_name(document):
    del document["matrix"]


def with_a_number(document):
    document["downstream"] = 3


@pytest.mark.parametrize(
    "change", [cut, with_more, of_another_version, without_a_name, with_a_number]
)
def test_results_of_another_form_are_an_error_of_ours(tmp_path, change):
    path = write_results(tmp_path, results())
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="holds no results of a lab"):
        read_results(path)


def test_a_lab_without_results_says_how_to_get_some(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no results of a lab") as caught:
            all_results(folder)
        assert f"clipaudit lab run MATRIX -o {folder}" in caught.value.hint


def test_a_lab_that_cannot_be_written_to_is_an_error_of_ours(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(FileError, match="cannot write"):
        write_results(tmp_path, results())


def test_results_that_differ_in_one_count_are_not_equal():
    first, *others = results().outcomes
    assert results(outcomes=(replace(first, found=first.found + 1), *others)) != results()


def test_a_run_of_some_experiments_keeps_what_is_known_of_the_others():
    whole = results()
    names = [*whole.experiments]
    some = replace(
        whole,
        experiments={name: whole.experiments[name] for name in names[:2]},
        outcomes=tuple(one for one in whole.outcomes if one.experiment in names[:2]),
        downstream=tuple(one for one in whole.downstream if one.experiment in names[:2]),
        encoders=whole.encoders[:1],
        n_cells=5,
    )
    both = with_earlier(some, whole, names[2:])
    assert both.experiments == whole.experiments
    assert set(both.outcomes) == set(whole.outcomes)
    assert len(both.outcomes) == len(whole.outcomes)
    assert set(both.downstream) == set(whole.downstream)
    assert set(both.encoders) == set(whole.encoders)
    others = {
        (one.experiment, one.setting, one.seed)
        for one in whole.outcomes
        if one.experiment in names[2:]
    }
    assert both.n_cells == 5 + len(others)
    assert with_earlier(some, whole, []).outcomes == some.outcomes
