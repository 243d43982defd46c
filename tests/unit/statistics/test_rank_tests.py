import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipaudit.statistics import rank_tests
from clipaudit.statistics.rank_tests import HANDICAP, largest_rank_sum, signed_rank

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=6).map(np.array)


def slow_largest_rank_sum(first, second):
    """p and smallest p by dealing the scores in every way, each rank's scores by definition."""
    together = [*first, *second]
    n = len(together)
    rows = []
    for score in (
        lambda rank: rank,
        lambda rank: sum(1 / (n - j) for j in range(rank)),
        lambda rank: math.comb(rank - 1, 9),
    ):
        places: dict[float, list[float]] = {value: [] for value in together}
        for rank, value in enumerate(sorted(together), 1):
            places[value].append(score(rank))
        row = np.array([np.mean(places[value]) for value in together])
        rows.append((row - row.mean()) / (row.std() or 1))

    def statistic(chosen):
        k = len(chosen)
        scale = math.sqrt(max(k * (n - k), 1) / max(n - 1, 1))
        sums = [sum(row[list(chosen)]) / scale for row in rows]
        return max(sums[0], sums[1] - HANDICAP, sums[2] - HANDICAP)

    dealt = [statistic(chosen) for chosen in itertools.combinations(range(n), len(first))]
    p = np.mean(np.array(dealt) >= statistic(range(len(first))) - 1e-9)
    return p, np.mean(np.array(dealt) >= max(dealt) - 1e-9)


def slow_signed_rank(differences):
    """p and smallest p by all sums of two differences, under every choice of signs."""

    def above(values):
        pairs = itertools.combinations_with_replacement(values, 2)
        return sum(float(np.sign(x + y)) for x, y in pairs)

    sizes = np.abs(differences)
    flipped = [above(sizes * signs) for signs in itertools.product((1, -1), repeat=len(sizes))]
    p = np.mean(np.array(flipped) >= above(differences))
    return p, np.mean(np.array(flipped) == max(flipped))


@given(SCORES, SCORES)
def test_the_largest_rank_sum_is_counted_over_every_way_to_deal_the_scores(first, second):
    tested = largest_rank_sum(first, second, 0, 1)
    assert tested.n_resamples == 0
    p, smallest = slow_largest_rank_sum(first, second)
    assert tested.p == pytest.approx(p, abs=1e-12)
    assert tested.smallest_p == pytest.approx(smallest, abs=1e-12)


@pytest.mark.parametrize(("n_first", "n_second"), [(3, 13), (8, 8), (13, 2)])
def test_so_it_is_where_far_ranks_weigh_most(n_first, n_second):
    numbers = np.random.default_rng(n_first)
    for levels in (1, 100):
        first, second = (
            np.round(numbers.normal(shift, size=n) * levels)
            for shift, n in ((0.5, n_first), (0, n_second))
        )
        tested = largest_rank_sum(first, second, 0, 1)
        p, smallest = slow_largest_rank_sum(first, second)
        wanted: tuple[object, ...] = (pytest.approx(p), pytest.approx(smallest), 0)
        assert tuple(tested) == wanted


@given(SCORES)
def test_the_signed_rank_test_counts_every_choice_of_signs(differences):
    tested = signed_rank(differences, 0, 1)
    assert tested.n_resamples == 0
    p, smallest = slow_signed_rank(differences)
    assert tested.p == pytest.approx(p, abs=1e-12)
    assert tested.smallest_p == pytest.approx(smallest, abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 30, 50])
def test_without_ties_the_signed_rank_test_is_scipys_exact_one(n):
    differences = np.random.default_rng(n).normal(0.2, size=n)
    theirs = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    tested = signed_rank(differences, 0, 1)
    assert tested.p == pytest.approx(theirs, rel=1e-9)
    assert tested.smallest_p == 0.5**n


def test_large_exact_p_values_agree_with_the_normal_distribution():
    first = np.round(np.random.default_rng(5).normal(0.25, size=70), 1)
    exact = signed_rank(first, 0, 1)
    assert exact.n_resamples == 0
    near = stats.wilcoxon(first, alternative="greater", zero_method="pratt").pvalue
    assert exact.p == pytest.approx(near, rel=0.05)


def test_drawn_p_values_agree_with_counted_ones():
    numbers = np.random.default_rng(6)
    for first, second in numbers.normal(size=(5, 2, 7)):
        counted = largest_rank_sum(first, second, 0, 1).p
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rank_tests, "_MOST_DEALS", 0)
            drawn = largest_rank_sum(first, second, 3, 9_999)
        assert drawn.n_resamples == 9_999
        assert drawn.p == pytest.approx(
            counted, abs=4 * math.sqrt(counted * (1 - counted) / 9_999) + 1e-4
        )


def test_random_permutations_of_signs_agree_with_the_normal_distribution():
    numbers = np.random.default_rng(6)
    first, second = numbers.normal(0.07, size=300), numbers.normal(size=400)
    differences = np.concatenate([first, second, second - 0.1])
    tested = signed_rank(differences, 3, 9_999)
    assert tested.n_resamples == 9_999
    near = stats.wilcoxon(differences, alternative="greater", zero_method="pratt").pvalue
    assert tested.p == pytest.approx(near, abs=4 * math.sqrt(near * (1 - near) / 9_999))


def test_a_p_value_from_permutations_is_never_zero():
    tested = largest_rank_sum(np.arange(300.0) + 500, np.arange(300.0), 0, 199)
    assert tested == (1 / 200, 1 / 200, 199)
    assert signed_rank(np.arange(1, 1500.0), 0, 199) == (1 / 200, 1 / 200, 199)


@pytest.mark.parametrize("n", [3, 400, 20_000])
def test_scores_that_are_all_equal_give_one(n):
    tested = largest_rank_sum(np.zeros(n), np.zeros(2 * n), 0, 99)
    assert (tested.p, tested.smallest_p) == (1, 1)
    tested = signed_rank(np.zeros(n), 0, 99)
    assert (tested.p, tested.smallest_p) == (1, 1)


def test_two_levels_of_score_are_no_trouble_at_any_size():
    numbers = np.random.default_rng(0)
    first, second = (numbers.integers(0, 2, 530).astype(float) for _ in range(2))
    near = stats.mannwhitneyu(first, second, alternative="greater").pvalue
    assert largest_rank_sum(first, second, 0, 999).p == pytest.approx(near, abs=0.06)
    signs = np.where(numbers.random(1200) < 0.51, 1.0, -1.0)
    near = stats.binomtest(int((signs > 0).sum()), 1200, alternative="greater").pvalue
    assert signed_rank(signs, 0, 999).p == pytest.approx(near, abs=0.06)


# Sets of which a part is higher


def power(test, n_first, n_second, share, shift, n_draws=300):
    numbers = np.random.default_rng([n_first, n_second])
    first = numbers.normal(size=(n_draws, n_first))
    first[:, : round(share * n_first)] += shift
    second = numbers.normal(size=(n_draws, n_second))
    return np.mean([test(ours, theirs) <= 0.05 for ours, theirs in zip(first, second, strict=True)])


def by_mann_whitney(first, second):
    return stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue


def by_largest(first, second):
    """With other permutations for other scores: 499 of them alone move the level by a point."""
    seed = int(1e6 * abs(first[0]))
    return largest_rank_sum(first, second, seed, 499).p


def test_a_tenth_that_is_far_up_is_seen():
    assert power(by_mann_whitney, 100, 500, 0.1, 3) < 0.55
    assert power(by_largest, 100, 500, 0.1, 3) > 0.88


def test_little_is_lost_where_all_are_higher():
    usual, ours = (power(test, 50, 50, 1, 0.5) for test in (by_mann_whitney, by_largest))
    assert ours > usual - 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("n_first", "n_second"), [(20, 20), (50, 50), (100, 100), (100, 500)])
def test_no_more_than_one_and_a_half_points_are_lost(n_first, n_second):
    shift = {40: 0.8, 100: 0.5, 200: 0.35, 600: 0.3}[n_first + n_second]
    usual, ours = (
        power(test, n_first, n_second, 1, shift, n_draws=4000)
        for test in (by_mann_whitney, by_largest)
    )
    assert ours > usual - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 60, 200])
@pytest.mark.parametrize("has_ties", [False, True])
def test_where_nothing_was_used_it_speaks_as_often_as_the_level_says(n, has_ties):
    """In 1,000 draws at 5 %, 3.2 to 7.0 % is chance (99 %); less where few pictures leave steps."""
    numbers = np.random.default_rng([n, has_ties])
    alarms = 0
    for seed in range(1_000):
        first, second = numbers.standard_t(3, (2, n))
        if has_ties:
            first, second = first.round(), second.round()
        alarms += largest_rank_sum(first, second, seed, 499).p <= 0.05
    assert (0.025 if n == 10 or has_ties else 0.032) < alarms / 1_000 < 0.07


def test_two_thousand_permutations_of_six_hundred_scores_take_a_moment():
    numbers = np.random.default_rng(0)
    first, second = numbers.normal(size=100), numbers.normal(size=500)
    started = time.process_time()
    largest_rank_sum(first, second, 0, 2_000)
    assert time.process_time() - started < 1


# Series


def series_of(n, size):
    return np.arange(n) // size


def test_series_of_one_are_no_series():
    first, second = np.random.default_rng(2).normal(size=(2, 40))
    singles = (np.arange(40), np.arange(40))
    assert largest_rank_sum(first, second, 1, 999, singles) == largest_rank_sum(
        first, second, 1, 999
    )


def test_p_with_series_is_the_share_of_ways_to_deal_them():
    numbers = np.random.default_rng(3)
    first, second = numbers.normal(0.6, size=12), numbers.normal(size=12)
    tested = largest_rank_sum(first, second, 0, 1, (series_of(12, 3), series_of(12, 3)))
    assert tested.n_resamples == 0
    assert tested.smallest_p * 70 in (pytest.approx(1), pytest.approx(2))
    assert (tested.p * 70) == pytest.approx(round(tested.p * 70))


def planted(numbers, n, size, share=0.8):
    """Scores of n pictures in series of a size, which have most of their variance in common."""
    common = np.repeat(numbers.normal(size=-(-n // size)), size)[:n]
    return math.sqrt(share) * common + math.sqrt(1 - share) * numbers.normal(size=n)


@pytest.mark.parametrize(("sizes"), [(5, 5), (4, 1), (1, 4)])
def test_series_give_no_more_false_alarms_than_the_level(sizes):
    numbers = np.random.default_rng(sizes)
    alarms = np.zeros((400, 2))
    for draw in range(400):
        first, second = (planted(numbers, 60, size) for size in sizes)
        series = tuple(series_of(60, size) for size in sizes)
        for number, dealt in enumerate((None, series)):
            alarms[draw, number] = largest_rank_sum(first, second, draw, 199, dealt).p <= 0.05
    without, with_series = alarms.mean(axis=0)
    assert with_series <= 0.085  # 5 % and three standard deviations
    assert without > with_series


@pytest.mark.parametrize("n", [20, 200])
def test_order_does_not_matter_and_the_seed_decides_what_is_drawn(n):
    numbers = np.random.default_rng(1)
    first, second = numbers.normal(size=(2, n))
    shuffled = numbers.permutation(first), numbers.permutation(second)
    assert largest_rank_sum(*shuffled, 7, 199) == largest_rank_sum(first, second, 7, 199)
    many = np.resize(first, 20 * n)
    assert signed_rank(many[::-1], 7, 199) == signed_rank(many, 7, 199)
    if n == 200:
        drawn = {largest_rank_sum(first, second, seed, 199).p for seed in range(5)}
        assert len(drawn) > 1
