import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from clipaudit.metrics import Estimate, auc, judge, proportion

Z = 1.959963984540054


def sample(seed, n_members=20, n_others=30, gap=0.7, levels=None):
    """Normal scores; rounded to so many levels, they have ties."""
    numbers = np.random.default_rng(seed)
    is_member = numbers.permutation(np.arange(n_members + n_others) < n_members)
    scores = numbers.normal(size=len(is_member)) + gap * is_member
    return (scores if levels is None else np.round(scores * levels) / levels), is_member


def slow_delong(scores, is_member):
    """Area and variance by the sums over all pairs that DeLong et al. write down."""
    members, others = scores[is_member], scores[~is_member]

    def wins(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    of_member = [sum(wins(x, y) for y in others) / len(others) for x in members]
    of_other = [sum(wins(x, y) for x in members) / len(members) for y in others]
    area = sum(of_member) / len(members)
    spread = [
        sum((v - area) ** 2 for v in values) / (len(values) - 1) / len(values)
        for values in (of_member, of_other)
    ]
    return area, sum(spread)


CASES = st.tuples(
    st.integers(0, 2**32),
    st.integers(2, 12),
    st.integers(2, 12),
    st.floats(-2, 2),
    st.sampled_from([None, 1, 3]),
)


@given(CASES)
def test_the_area_is_that_of_scikit_learn(case):
    scores, is_member = sample(*case)
    assert auc(scores, is_member).value == pytest.approx(roc_auc_score(is_member, scores))


@given(CASES)
def test_the_interval_is_delongs(case):
    scores, is_member = sample(*case)
    area, variance = slow_delong(scores, is_member)
    assume(variance > 1e-12)
    estimate = auc(scores, is_member)
    reach = Z * math.sqrt(variance)
    assert estimate.low == pytest.approx(max(0, area - reach), abs=1e-12)
    assert estimate.high == pytest.approx(min(1, area + reach), abs=1e-12)
    assert estimate.n == len(scores)


@pytest.mark.parametrize(("gap", "truth"), [(0.0, 0.5), (1.0, 0.7602499), (1.8, 0.8984541)])
def test_the_interval_holds_the_truth_as_often_as_it_says(gap, truth):
    assert stats.norm.cdf(gap / math.sqrt(2)) == pytest.approx(truth, abs=1e-6)
    estimates = [auc(*sample(seed, 60, 60, gap)) for seed in range(1000)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.925 < covered < 0.97
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(truth, abs=0.005)


@given(CASES)
def test_only_the_order_of_scores_matters(case):
    scores, is_member = sample(*case)
    estimate = auc(scores, is_member)
    turned_round = auc(scores[::-1], is_member[::-1])
    assert auc(np.exp(scores / 2), is_member) == estimate
    assert turned_round.value == estimate.value
    assert turned_round.low == pytest.approx(estimate.low)
    assert turned_round.high == pytest.approx(estimate.high)


@given(CASES)
def test_scores_turned_round_turn_the_area_and_its_interval_round(case):
    scores, is_member = sample(*case)
    estimate, turned = auc(scores, is_member), auc(-scores, is_member)
    assert turned.value == pytest.approx(1 - estimate.value)
    assert turned.low == pytest.approx(1 - estimate.high)
    assert turned.high == pytest.approx(1 - estimate.low)


@pytest.mark.parametrize(("n_members", "n_others"), [(2, 2), (5, 40), (40, 5), (1000, 1000)])
def test_perfect_separation_is_no_certainty(n_members, n_others):
    is_member = np.arange(n_members + n_others) < n_members
    best, worst = auc(1.0 * is_member, is_member), auc(-1.0 * is_member, is_member)
    assert (best.value, best.high) == (1, 1)
    assert (worst.value, worst.low) == (0, 0)
    assert best.low < 1 - 1 / (n_members * n_others)
    assert worst.high == pytest.approx(1 - best.low)


def test_the_interval_at_perfect_separation_is_hanley_and_mcneils():
    is_member = np.arange(30) < 10
    area = 1 - 1 / 200
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + 9 * (q1 - area**2) + 19 * (q2 - area**2)) / 200
    assert auc(1.0 * is_member, is_member).low == pytest.approx(1 - Z * math.sqrt(variance))


def test_scores_that_are_all_equal_say_nothing():
    estimate = auc(np.full(40, 0.1), np.arange(40) < 20)
    assert estimate.value == 0.5
    assert estimate.low < 0.4
    assert estimate.high > 0.6


@pytest.mark.parametrize("n_members", [0, 1, 9, 10])
def test_an_area_needs_two_of_each_kind(n_members):
    with pytest.raises(ValueError, match="two members and two non-members"):
        auc(np.arange(10.0), np.arange(10) < n_members)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_area_needs_finite_scores(value):
    scores = np.arange(10.0)
    scores[3] = value
    with pytest.raises(ValueError, match="finite"):
        auc(scores, np.arange(10) < 5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_clopper_and_pearsons_interval(case):
    k, n = case
    estimate = proportion(k, n)
    assert (estimate.value, estimate.n) == (k / n, n)
    low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1
    assert estimate.low == pytest.approx(low, abs=1e-9)
    assert estimate.high == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_of_nothing_or_beyond_all_is_refused(k, n):
    with pytest.raises(ValueError):
        proportion(k, n)


def test_a_figure_is_printed_with_its_interval_and_n():
    printed = str(Estimate(0.91234, 0.8, 1.0, 1000))
    assert printed == "0.912 (95 % interval 0.800 to 1.000, n = 1000)"


@given(CASES, st.floats(-2, 2))
def test_evidence_counts_what_the_threshold_does(case, threshold):
    scores, is_member = sample(*case)
    evidence = judge(scores, is_member, threshold)
    pairs = list(zip(scores.tolist(), is_member.tolist(), strict=True))
    n_members = sum(truth for _, truth in pairs)
    found = sum(score >= threshold for score, truth in pairs if truth)
    accused = sum(score >= threshold for score, truth in pairs if not truth)
    right = found + len(pairs) - n_members - accused
    assert evidence.tpr == proportion(found, n_members)
    assert evidence.fpr == proportion(accused, len(pairs) - n_members)
    assert evidence.accuracy == proportion(right, len(pairs))
    assert evidence.auc == auc(scores, is_member)


def test_a_score_equal_to_the_threshold_reads_as_member():
    evidence = judge(np.array([0.0, 1, 1, 2]), np.array([False, False, True, True]), 1.0)
    assert (evidence.tpr.value, evidence.fpr.value, evidence.accuracy.value) == (1, 0.5, 0.75)
