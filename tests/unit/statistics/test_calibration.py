import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.errors import InferrerError
from clipaudit.statistics.calibration import (
    Calibration,
    KnownScores,
    ScoredBy,
    called_by_chance,
    needed,
    require_fit,
)
from clipaudit.statistics.metrics import Estimate

BY = ScoredBy("e" * 64, "cifar10-v", "f" * 64, "encodermi@1", 10, "cosine", ("a" * 64, "b" * 64))
NULL = KnownScores(("n1", "n2", "n3"), (0.1, -0.25, 1e-300))
WHOLE = Calibration(BY, 7, NULL, KnownScores(("m1", "m2"), (0.5, 2.0)))


def null_of(n):
    return Calibration(BY, 0, KnownScores.of([f"n{i}" for i in range(n)], np.zeros(n)))


# What it holds


def test_scores_of_an_array_become_plain_numbers():
    known = KnownScores.of(["a", "b"], np.array([0.1, 2]))
    assert known == KnownScores(("a", "b"), (0.1, 2.0))
    assert {type(score) for score in known.scores} == {float}
    assert len(known) == 2


@pytest.mark.parametrize(
    ("ids", "scores"),
    [((), ()), (("a",), ()), (("a",), (1.0, 2.0)), (("a", "a"), (1.0, 2.0))],
)
def test_known_scores_are_one_a_picture(ids, scores):
    with pytest.raises(ValueError, match="picture"):
        KnownScores(ids, scores)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_known_scores_are_finite(score):
    with pytest.raises(ValueError, match="finite"):
        KnownScores(("a", "b"), (1.0, score))


def test_no_picture_is_both_a_member_and_none():
    with pytest.raises(ValueError, match="both a known member and a known non-member"):
        Calibration(BY, 0, NULL, KnownScores(("n2",), (1.0,)))


def test_it_knows_its_pictures():
    assert WHOLE.image_ids == {"n1", "n2", "n3", "m1", "m2"}
    assert dataclasses.replace(WHOLE, members=None).image_ids == {"n1", "n2", "n3"}


# How fine it is


@given(st.integers(1, 4000))
def test_the_number_needed_is_the_fewest_with_a_p_value_as_small(per):
    fpr = 1 / per + 1e-9
    n = needed(min(fpr, 0.9))
    assert 1 / (n + 1) <= fpr
    assert n == 1 or 1 / n > fpr


@pytest.mark.parametrize(
    ("fpr", "n"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99), (0.001, 999), (1 / 49, 48)]
)
def test_needed_for_usual_rates(fpr, n):
    assert needed(fpr) == n
    assert null_of(n).smallest_p <= fpr
    assert null_of(n).fpr(fpr).value > 0
    if n > 1:
        assert null_of(n - 1).smallest_p > fpr
        assert null_of(n - 1).fpr(fpr) == Estimate(0, 0, 0, n - 1)


@pytest.mark.parametrize("fpr", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_is_between_0_and_1(fpr):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        needed(fpr)


def test_the_fpr_of_one_null_sample_is_where_its_interval_says():
    """With uniform scores, the share of non-members above a threshold is one minus it."""
    numbers = np.random.default_rng(0)
    for m, stated in [(99, 0.01), (99, 0.05), (40, 0.1)]:
        told = null_of(m).fpr(stated)
        k = round(told.value * (m + 1))
        assert k / (m + 1) <= stated < (k + 1) / (m + 1)
        null = np.sort(numbers.random((4000, m)), axis=1)
        let_through = 1 - null[:, m - k]  # p is not above k / (m + 1) above the k-th highest
        assert let_through.mean() == pytest.approx(told.value, rel=0.05)
        assert (let_through < told.low).mean() == pytest.approx(0.025, abs=0.008)
        assert (let_through > told.high).mean() == pytest.approx(0.025, abs=0.008)
        assert told.n == m


# Whether it fits


def test_a_calibration_fits_what_made_it():
    require_fit(WHOLE, BY)
    require_fit(dataclasses.replace(WHOLE, seed=8), BY)


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("encoder", "0" * 64, f"the encoder of fingerprint {'e' * 64}", "that encoder"),
        ("inferrer", "cifar10-t", "inferrer cifar10-v, and the scores with cifar10-t", "cifar10-v"),
        ("inferrer_sha256", "0" * 64, "inferrer weights of SHA-256 ffff", "as it was then"),
        ("recipe", "gray@1", "recipe encodermi@1, and the scores with gray@1", "encodermi@1"),
        ("n_views", 8, "a number of views of 10, and the scores with 8", "10 views"),
        ("similarity", "pearson", "similarity cosine, and the scores with pearson", "cosine"),
        ("references", (), "aaa, bbb", "those reference encoders"),
    ],
)
def test_a_calibration_of_anything_else_does_not_fit(name, value, message, hint):
    other = dataclasses.replace(BY, **{name: value})
    with pytest.raises(InferrerError) as caught:
        require_fit(WHOLE, other)
    assert message in str(caught.value).replace("a" * 64, "aaa").replace("b" * 64, "bbb")
    assert hint in caught.value.hint
    assert caught.value.exit_code == 5


def test_every_field_of_what_made_the_scores_is_compared():
    for field in dataclasses.fields(ScoredBy):
        other: dict[str, Any] = {field.name: "other"}
        with pytest.raises(InferrerError):
            require_fit(WHOLE, dataclasses.replace(BY, **other))


def test_no_reference_is_called_none():
    alone = dataclasses.replace(BY, references=())
    with pytest.raises(InferrerError, match="reference encoders none, and the scores with a"):
        require_fit(dataclasses.replace(WHOLE, scored_by=alone), BY)


@pytest.mark.parametrize(("n_null", "n"), [(99, 20), (199, 500), (999, 100)])
def test_the_range_of_the_count_by_chance_holds_the_luck_of_both(n_null, n):
    numbers = np.random.default_rng([n_null, n])
    expected = called_by_chance(n_null, 0.05, n)
    counts = []
    for _ in range(500):
        null = np.sort(numbers.normal(size=n_null))[::-1]
        most = int(0.05 * (n_null + 1) + 1e-9)  # p = (1 + those at or above) / (1 + n_null)
        counts.append(int((numbers.normal(size=n) > null[most - 1]).sum()))
    held = np.mean([expected.low <= count <= expected.high for count in counts])
    assert held > 0.93
    assert np.mean(counts) == pytest.approx(expected.value, rel=0.15)
