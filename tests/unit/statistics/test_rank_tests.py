import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clipaudit.statistics.rank_tests import mann_whitney, signed_rank

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=6).map(np.array)


def slow_mann_whitney(first, second):
    """p and smallest p by dealing the scores in every way there is, compared pair by pair."""
    together = np.concatenate([first, second])

    def wins(chosen):
        mine = together[list(chosen)]
        others = np.delete(together, list(chosen))
        return sum(float(np.sign(x - y)) for x in mine for y in others)

    dealt = [wins(chosen) for chosen in itertools.combinations(range(len(together)), len(first))]
    p = np.mean(np.array(dealt) >= wins(range(len(first))))
    return p, np.mean(np.array(dealt) == max(dealt))


def slow_signed_rank(differences):
    """p and smallest p by all sums of two differences, under every choice of signs."""

    def above(values):
        pairs = itertools.combinations_with_replacement(values, 2)
        return sum(float(np.sign(x + y)) for x, y in pairs)

    sizes = np.abs(differences)
    flipped = [above(sizes * signs) for signs in itertools.product((1, -1), repeat=len(sizes))]
    p = np.mean(np.array(flipped) >= above(differences))
    return p, np.mean(np.array(flipped) == max(flipped))


@settings(deadline=None)
@given(SCORES, SCORES)
def test_mann_whitney_counts_every_way_to_deal_the_scores(first, second):
    tested = mann_whitney(first, second, 0, 1)
    assert tested.n_resamples == 0
    p, smallest = slow_mann_whitney(first, second)
    assert tested.p == pytest.approx(p, abs=1e-12)
    assert tested.smallest_p == pytest.approx(smallest, abs=1e-12)


@settings(deadline=None)
@given(SCORES)
def test_the_signed_rank_test_counts_every_choice_of_signs(differences):
    tested = signed_rank(differences, 0, 1)
    assert tested.n_resamples == 0
    p, smallest = slow_signed_rank(differences)
    assert tested.p == pytest.approx(p, abs=1e-12)
    assert tested.smallest_p == pytest.approx(smallest, abs=1e-12)


@pytest.mark.parametrize(("n_first", "n_second"), [(1, 1), (3, 40), (12, 12), (25, 9), (30, 20)])
def test_without_ties_mann_whitney_is_scipys_exact_one(n_first, n_second):
    numbers = np.random.default_rng(n_first)
    first, second = numbers.normal(0.5, size=n_first), numbers.normal(size=n_second)
    theirs = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
    tested = mann_whitney(first, second, 0, 1)
    assert tested.p == pytest.approx(theirs, rel=1e-9)
    assert tested.smallest_p == 1 / math.comb(n_first + n_second, n_first)


@pytest.mark.parametrize("n", [1, 7, 30, 50])
def test_without_ties_the_signed_rank_test_is_scipys_exact_one(n):
    differences = np.random.default_rng(n).normal(0.2, size=n)
    theirs = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    tested = signed_rank(differences, 0, 1)
    assert tested.p == pytest.approx(theirs, rel=1e-9)
    assert tested.smallest_p == 0.5**n


def test_large_exact_p_values_agree_with_the_normal_distribution():
    numbers = np.random.default_rng(5)
    first, second = np.round(numbers.normal(loc=[[0.25], [0.0]], size=(2, 70)), 1)
    exact = mann_whitney(first, second, 0, 1)
    assert exact.n_resamples == 0
    near = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue
    assert exact.p == pytest.approx(near, rel=0.02)
    exact = signed_rank(first, 0, 1)
    assert exact.n_resamples == 0
    near = stats.wilcoxon(first, alternative="greater", zero_method="pratt").pvalue
    assert exact.p == pytest.approx(near, rel=0.05)


@pytest.mark.parametrize("levels", [None, 2])
def test_random_permutations_agree_with_the_normal_distribution(levels):
    numbers = np.random.default_rng(6)
    first, second = numbers.normal(0.07, size=300), numbers.normal(size=400)
    if levels:
        first, second = np.round(first * levels), np.round(second * levels)
    tested = mann_whitney(first, second, 3, 9_999)
    assert tested.n_resamples == 9_999
    near = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue
    assert tested.p == pytest.approx(near, abs=4 * math.sqrt(near * (1 - near) / 9_999))
    differences = np.concatenate([first, second, second - 0.1])
    tested = signed_rank(differences, 3, 9_999)
    assert tested.n_resamples == 9_999
    near = stats.wilcoxon(differences, alternative="greater", zero_method="pratt").pvalue
    assert tested.p == pytest.approx(near, abs=4 * math.sqrt(near * (1 - near) / 9_999))


def test_a_p_value_from_permutations_is_never_zero():
    tested = mann_whitney(np.arange(300.0) + 500, np.arange(300.0), 0, 199)
    assert tested == (1 / 200, 1 / 200, 199)
    assert signed_rank(np.arange(1, 1500.0), 0, 199) == (1 / 200, 1 / 200, 199)


@pytest.mark.parametrize("n", [3, 400, 20_000])
def test_scores_that_are_all_equal_give_one(n):
    tested = mann_whitney(np.zeros(n), np.zeros(2 * n), 0, 99)
    assert (tested.p, tested.smallest_p) == (1, 1)
    tested = signed_rank(np.zeros(n), 0, 99)
    assert (tested.p, tested.smallest_p) == (1, 1)


def test_two_levels_of_score_are_no_trouble_at_any_size():
    numbers = np.random.default_rng(0)
    first, second = (numbers.integers(0, 2, 530).astype(float) for _ in range(2))
    near = stats.mannwhitneyu(first, second, alternative="greater").pvalue
    assert mann_whitney(first, second, 0, 999).p == pytest.approx(near, abs=0.06)
    signs = np.where(numbers.random(1200) < 0.51, 1.0, -1.0)
    near = stats.binomtest(int((signs > 0).sum()), 1200, alternative="greater").pvalue
    assert signed_rank(signs, 0, 999).p == pytest.approx(near, abs=0.06)


def test_a_small_set_against_a_large_one_is_counted_whichever_comes_first():
    numbers = np.random.default_rng(4)
    few, many = numbers.normal(0.3, size=20), numbers.normal(size=600)
    near = stats.mannwhitneyu(few, many, alternative="greater").pvalue
    tested = mann_whitney(few, many, 0, 1)
    assert tested.n_resamples == 0
    assert tested.p == pytest.approx(near, rel=0.02)
    turned = mann_whitney(-many, -few, 0, 1)
    assert turned.n_resamples == 0
    assert turned.p == pytest.approx(tested.p)


@pytest.mark.parametrize("n", [20, 200])
def test_order_does_not_matter_and_the_seed_decides_what_is_drawn(n):
    numbers = np.random.default_rng(1)
    first, second = numbers.normal(size=(2, n))
    shuffled = numbers.permutation(first), numbers.permutation(second)
    assert mann_whitney(*shuffled, 7, 199) == mann_whitney(first, second, 7, 199)
    many = np.resize(first, 20 * n)
    assert signed_rank(many[::-1], 7, 199) == signed_rank(many, 7, 199)
    if n == 200:
        drawn = {mann_whitney(first, second, seed, 199).p for seed in range(5)}
        assert len(drawn) > 1
