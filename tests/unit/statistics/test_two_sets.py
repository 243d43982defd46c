import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipaudit.statistics.metrics import auc, proportion
from clipaudit.statistics.two_sets import (
    POWERS,
    SIZES,
    compare,
    compare_pairs,
    fewest_pictures,
    pictures_needed,
    power_of,
)
from tests.made.present import present

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=9).map(np.array)
COUNTED: dict[str, Any] = {"alpha": 0.05, "seed": 0, "n_resamples": 199}


def normal(seed, n, shift=0.0):
    return np.random.default_rng(seed).normal(shift, size=n)


# How often it is wrong


@pytest.mark.parametrize(
    ("n_suspects", "n_control", "levels"),
    [(n, n, None) for n in (10, 20, 60, 200)] + [(8, 40, None), (40, 10, 2), (16, 16, 1)],
)
def test_without_a_difference_p_values_are_uniform(n_suspects, n_control, levels):
    numbers = np.random.default_rng([n_suspects, n_control])
    p = np.empty(1000)
    for i in range(1000):
        scores = numbers.normal(size=n_suspects + n_control)
        scores = scores if levels is None else np.round(scores * levels)
        result = compare(scores[:n_suspects], scores[n_suspects:], 0.05, i, 99)
        p[i] = result.p
    assert 0.035 <= np.mean(p <= 0.05) <= 0.065
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize(("n", "levels"), [(20, None), (25, 1)])
def test_without_a_difference_p_values_of_pairs_are_uniform(n, levels):
    numbers = np.random.default_rng(n)
    p = np.empty(1000)
    for i in range(1000):
        pictures = numbers.normal(size=n) * 3  # what both of a pair share
        pairs = pictures + numbers.exponential(size=(2, n))  # skewed, but the same for both
        suspects, control = pairs if levels is None else np.round(pairs * levels)
        p[i] = compare_pairs(suspects, control, 0.05, i).p
    assert 0.035 <= np.mean(p <= 0.05) <= 0.065
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_interval_of_the_effect_holds_the_truth_as_often_as_it_says():
    truth = stats.norm.cdf(0.5)  # of pairs; without them it is that of `auc`, see there
    result = [compare_pairs(normal(i, 40, 0.5), np.zeros(40), 0.05, i) for i in range(500)]
    assert (
        0.94
        <= np.mean([present(one.effect).low <= truth <= present(one.effect).high for one in result])
        <= 0.99
    )


# Against slow second versions


@given(SCORES, SCORES)
def test_the_effect_is_a_share_of_pairs(suspects, control):
    result = compare(suspects, control, **COUNTED)
    wins = [(s > c) + 0.5 * (s == c) for s in suspects for c in control]
    assert result.planning_effect == pytest.approx(np.mean(wins))
    is_suspect = np.arange(len(suspects) + len(control)) < len(suspects)
    assert result.effect == auc(np.concatenate([suspects, control]), is_suspect)
    assert result.effect.value == result.planning_effect
    turned = compare(control, suspects, **COUNTED)
    assert present(turned.effect).value == pytest.approx(1 - result.effect.value)


@given(SCORES)
def test_the_effects_of_pairs_are_shares_of_differences_and_of_their_sums(differences):
    n = len(differences)
    base = 10.0 * np.arange(float(n))
    result = compare_pairs(base + differences, base, **COUNTED)
    wins = np.mean([(d > 0) + 0.5 * (d == 0) for d in differences])
    sums = [x + y for x, y in itertools.combinations(differences, 2)]
    assert present(result.effect).value == pytest.approx(wins)
    assert result.planning_effect == pytest.approx(
        np.mean([(s > 0) + 0.5 * (s == 0) for s in sums])
    )
    if not np.any(differences == 0):
        exact = proportion(int((differences > 0).sum()), n)
        assert (present(result.effect).value, present(result.effect).n) == (exact.value, exact.n)
        assert present(result.effect).low == pytest.approx(exact.low, abs=1e-9)
        assert present(result.effect).high == pytest.approx(exact.high, abs=1e-9)


def test_pairs_find_what_the_pictures_themselves_hide():
    pictures = normal(3, 40) * 20
    suspects, control = pictures + normal(4, 40, 1.0), pictures + normal(5, 40)
    assert compare(suspects, control, 0.05, 0).outcome == "not shown"
    assert compare_pairs(suspects, control, 0.05, 0).outcome == "higher"


@given(SCORES, SCORES, st.randoms(use_true_random=False))
def test_neither_order_nor_a_rising_change_of_scores_matters(suspects, control, random):
    result = compare(suspects, control, **COUNTED)
    assert compare(np.exp(suspects), np.exp(control), **COUNTED) == result
    first, second = (
        np.array(random.sample(list(scores), len(scores))) for scores in (suspects, control)
    )
    again = compare(first, second, **COUNTED)
    assert (again.p, again.smallest_p, again.needed) == (result.p, result.smallest_p, result.needed)


def test_series_are_counted_and_widen_the_interval():
    suspects, control = np.repeat(normal(1, 12, 0.5), 5), np.repeat(normal(2, 12), 5)
    series = np.arange(60) // 5
    plain = compare(suspects, control, 0.05, 0)
    in_series = compare(suspects, control, 0.05, 0, series=(series, series))
    assert (plain.n_series, in_series.n_series) == (None, (12, 12))
    assert plain.p < in_series.p
    assert present(in_series.effect).low < present(plain.effect).low
    assert present(in_series.effect).value == present(plain.effect).value


def test_a_single_series_is_too_few_whatever_it_holds():
    series = (np.zeros(60, dtype=np.int64), np.arange(60))
    result = compare(normal(1, 60, 3.0), normal(2, 60), 0.05, 0, series=series)
    assert (result.outcome, result.effect) == ("too few", None)


# How many pictures it takes


def share_found(shift, n, n_control=None):
    """How often the test finds a shift of normal scores, at a level of 5 %."""
    numbers = np.random.default_rng([n, 1])
    suspects = numbers.normal(shift, size=(3000, n))
    control = numbers.normal(size=(3000, n_control or n))
    tested = stats.mannwhitneyu(
        suspects, control, alternative="greater", axis=1, method="asymptotic"
    )
    return np.mean(tested.pvalue <= 0.05)


def share_of_pairs_found(shift, n):
    differences = np.random.default_rng([n, 2]).normal(shift, size=(3000, n))
    wilcoxon: Any = stats.wilcoxon  # whose stubs know no axis
    tested = wilcoxon(differences, alternative="greater", axis=1, method="approx")
    return np.mean(tested.pvalue <= 0.05)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("shift", [0.3, 0.6, 0.9])
def test_the_number_of_pictures_needed_is_right_within_15_percent(shift, power):
    n = present(pictures_needed(stats.norm.cdf(shift / math.sqrt(2)), power, 0.05))
    assert (
        share_found(shift, math.floor(0.85 * n)) < power < share_found(shift, math.ceil(1.15 * n))
    )


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("shift", [0.25, 0.4])
def test_so_is_the_number_of_pairs(shift, power):
    n = present(pictures_needed(stats.norm.cdf(shift * math.sqrt(2)), power, 0.05, paired=True))
    few, many = math.floor(0.85 * n), math.ceil(1.15 * n)
    assert share_of_pairs_found(shift, few) < power < share_of_pairs_found(shift, many)


def test_the_power_is_that_of_simulated_tests():
    for shift, n in itertools.product((0.0, 0.2, 0.5), SIZES[:3]):
        effect = stats.norm.cdf(shift / math.sqrt(2))
        assert power_of(effect, n, 0.05) == pytest.approx(share_found(shift, n), abs=0.03)
        sums = stats.norm.cdf(shift * math.sqrt(2))
        simulated = share_of_pairs_found(shift, n)
        assert power_of(sums, n, 0.05, paired=True) == pytest.approx(simulated, abs=0.05)


def test_the_detectable_effect_is_found_in_four_of_five_comparisons():
    result = compare(normal(1, 30), normal(2, 90), 0.05, 0)
    shift = stats.norm.ppf(present(result.detectable)) * math.sqrt(2)
    assert share_found(shift, 30, 90) == pytest.approx(0.8, abs=0.03)


def test_noethers_formula_gives_the_number_that_his_paper_would():
    effect, level, power = 0.7, 1.6448536, 0.8416212
    n_together = (level + power) ** 2 / (12 * 0.25 * 0.2**2)
    assert pictures_needed(effect, 0.8, 0.05) == math.ceil(n_together / 2)
    assert pictures_needed(effect, 0.8, 0.05, paired=True) == math.ceil(n_together)


def test_no_number_of_pictures_finds_what_is_not_there():
    assert pictures_needed(0.5, 0.8, 0.05) is None
    assert compare(np.zeros(20), np.ones(20), 0.05, 0).needed == ((0.8, None), (0.95, None))


def test_even_the_plainest_effect_takes_as_many_as_can_reach_the_level():
    assert pictures_needed(1.0, 0.1, 0.001) == fewest_pictures(0.001) == 7
    assert power_of(1.0, 6, 0.001) == 0
    assert power_of(1.0, 7, 0.001) > 0.1


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 0.001])
def test_with_fewer_pictures_even_the_most_extreme_outcome_is_above_the_level(alpha, paired):
    least = fewest_pictures(alpha, paired=paired)
    run = compare_pairs if paired else compare
    for n in range(2, 12):
        result = run(np.arange(float(n)) + 100, np.arange(float(n)) - 100, alpha, 0)
        assert result.p == result.smallest_p
        assert result.outcome == ("higher" if n >= least else "too few")
        assert result.n_minimum == least


# What comes out


def test_a_result_is_plain_data():
    result = compare(normal(1, 20, 1.0), normal(2, 20), 0.05, 0)
    json.dumps(dataclasses.asdict(result), allow_nan=False)
    assert [power for power, _ in result.needed] == [0.8, 0.95]
    assert [n for n, _ in result.power] == [20, 50, 100, 500]


def test_a_set_of_one_picture_is_too_few():
    result = compare(np.array([9.0]), normal(1, 99), 0.05, 0)
    assert (result.p, result.effect, result.outcome) == (0.01, None, "too few")
    assert compare(normal(1, 99), np.array([-9.0]), 0.05, 0).outcome == "too few"
    pair = compare_pairs(np.array([9.0]), np.array([1.0]), 0.05, 0)
    assert (pair.p, pair.effect, pair.outcome) == (0.5, None, "too few")


@given(SCORES, SCORES, st.sampled_from([0.2, 0.05, 0.001]))
def test_the_outcome_is_higher_exactly_where_p_reaches_the_level(suspects, control, alpha):
    n = min(len(suspects), len(control))
    for result in (
        compare(suspects, control, alpha, 0),
        compare_pairs(suspects[:n], control[:n], alpha, 0),
    ):
        assert (result.outcome == "higher") == (result.p <= alpha)


# What is refused


@pytest.mark.parametrize("run", [compare, compare_pairs])
@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.array([[1.0], [2]])])
def test_a_set_needs_finite_scores(run, bad):
    with pytest.raises(ValueError, match="every one must be finite"):
        run(bad, np.array([1.0, 2]), 0.05, 0)
    with pytest.raises(ValueError, match="every one must be finite"):
        run(np.array([1.0, 2]), bad, 0.05, 0)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, math.nan])
def test_a_level_is_a_small_share(alpha):
    with pytest.raises(ValueError, match="a level must be above 0 and below one half"):
        compare(np.zeros(9), np.zeros(9), alpha, 0)


def test_a_level_that_the_permutations_cannot_reach_is_refused():
    with pytest.raises(ValueError, match="99 permutations cannot reach"):
        compare(np.zeros(9), np.zeros(9), 0.001, 0, n_resamples=99)
    compare(np.zeros(9), np.zeros(9), 0.01, 0, n_resamples=99)


def test_pairs_need_partners():
    with pytest.raises(ValueError, match="as many controls as suspects"):
        compare_pairs(np.zeros(9), np.zeros(8), 0.05, 0)
