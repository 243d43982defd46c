import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score, roc_curve

from clipaudit.statistics.metrics import (
    BoolArray,
    Estimate,
    FloatArray,
    at_fpr,
    auc,
    fewest_for,
    figures,
    found_at,
    judge,
    most_within,
    proportion,
    roc,
)
from tests.made.present import present

Z = 1.959963984540054


def sample(seed, n_members=20, n_others=30, gap=0.7, levels=None) -> tuple[FloatArray, BoolArray]:
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
def test_each_end_is_an_area_that_would_just_allow_for_the_one_found(case):
    scores, is_member = sample(*case)
    area, variance = slow_delong(scores, is_member)
    assume(variance > 1e-12)
    n_members, n_others = int(is_member.sum()), int((~is_member).sum())
    often = (n_members + n_others) / 2 - 1

    def presumed(truth):
        spread = 1 + often * (1 - truth) / (2 - truth) + often * truth / (1 + truth)
        return truth * (1 - truth) * spread / (n_members * n_others)

    ratio = variance / presumed(area)
    members, others = scores[is_member], scores[~is_member]
    k = min(
        sum(0 < share < 1 for share in shares)
        for shares in (
            [np.mean((x > others) + 0.5 * (x == others)) for x in members],
            [np.mean((members > y) + 0.5 * (members == y)) for y in others],
        )
    )
    ratio = max(ratio, (k * ratio + 10) / (k + 10))
    estimate = auc(scores, is_member)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    for end in (estimate.low, estimate.high):
        if 0 < end < 1:
            assert (area - end) ** 2 == pytest.approx(Z**2 * ratio * presumed(end), rel=1e-6)
    assert estimate.n == len(scores)


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("truth", [0.5, 0.76, 0.9, 0.98])
def test_the_interval_holds_the_truth_as_often_as_it_says(truth, n):
    gap = stats.norm.ppf(truth) * math.sqrt(2)
    estimates = [auc(*sample(seed, n, n, gap)) for seed in range(600)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.93 < covered < 0.99
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(truth, abs=0.01)


def draw_scores(kind, truth, n, numbers):
    """Scores of members and of others of which the AUC is known."""
    if kind == "exponential":
        return numbers.exponential(truth / (1 - truth), n), numbers.exponential(1, n)
    spread = {"normal": 1.0, "wide members": 2.0, "narrow members": 0.5}[kind]
    gap = stats.norm.ppf(truth) * math.hypot(spread, 1)
    return numbers.normal(gap, spread, n), numbers.normal(size=n)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 100])
@pytest.mark.parametrize("truth", [0.7, 0.9, 0.98, 0.99])
@pytest.mark.parametrize("kind", ["normal", "exponential", "wide members", "narrow members"])
def test_so_it_does_whatever_the_shape_of_the_scores(kind, truth, n):
    numbers = np.random.default_rng([n, len(kind), int(1000 * truth)])
    is_member = np.arange(2 * n) < n
    covered = 0
    for _ in range(2000):
        estimate = auc(np.concatenate(draw_scores(kind, truth, n, numbers)), is_member)
        covered += estimate.low <= truth <= estimate.high
    assert 0.925 < covered / 2000 < 0.99


def test_pictures_of_one_series_count_as_one_in_the_interval():
    scores, is_member = sample(1, 50, 50, 1.0)
    order = np.argsort(~is_member, kind="stable")
    scores, is_member = scores[order], is_member[order]
    singles = np.arange(100)
    assert auc(scores, is_member, singles).low == pytest.approx(auc(scores, is_member).low)
    thrice, group = np.repeat(scores, 3), np.repeat(singles, 3)
    of_series = auc(thrice, np.repeat(is_member, 3), group)
    assert of_series.low == pytest.approx(auc(scores, is_member).low, abs=0.01)
    assert of_series.low < auc(thrice, np.repeat(is_member, 3)).low - 0.03


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
    best, worst = auc(is_member.astype(float), is_member), auc(-1.0 * is_member, is_member)
    assert (best.value, best.high) == (1, 1)
    assert (worst.value, worst.low) == (0, 0)
    assert best.low < 1 - 1 / (n_members * n_others)
    assert worst.high == pytest.approx(1 - best.low)


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
    scores, is_member = np.array([0.0, 1, 1, 2]), np.array([False, False, True, True])
    evidence = judge(scores, is_member, 1.0)
    assert (evidence.tpr.value, evidence.fpr.value, evidence.accuracy.value) == (1, 0.5, 0.75)
    told = figures(scores, is_member, 1.0, np.random.default_rng(0))
    assert (present(told.precision).value, told.f1.value) == (2 / 3, 0.8)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="a threshold must be a number"):
        judge(*sample(0), threshold=math.nan)
    assert judge(*sample(0), threshold=math.inf).tpr.value == 0


@pytest.mark.parametrize(
    "is_member", [np.arange(10) % 2, np.arange(9) < 5, np.zeros((10, 1), dtype=bool)]
)
def test_membership_is_a_boolean_a_score(is_member):
    for measure in (
        auc,
        roc,
        lambda s, m: judge(s, m, 0.0),
        lambda s, m: at_fpr(s, m, 0.1, numbers()),
    ):
        with pytest.raises(ValueError, match="of one length, and is_member of booleans"):
            measure(np.arange(10.0), is_member)


# All figures


def numbers(seed=0):
    return np.random.default_rng(seed)


@given(CASES, st.floats(-2, 2))
def test_figures_are_those_of_scikit_learn(case, threshold):
    scores, is_member = sample(*case)
    told = figures(scores, is_member, threshold, numbers())
    called = scores >= threshold
    assert told.recall.value == pytest.approx(recall_score(is_member, called))
    assert told.f1.value == pytest.approx(f1_score(is_member, called))
    if called.any():
        assert present(told.precision).value == pytest.approx(precision_score(is_member, called))
        assert present(told.precision).n == called.sum()
    else:
        assert told.precision is None
    evidence = judge(scores, is_member, threshold)
    assert (told.accuracy, told.recall) == (evidence.accuracy, evidence.tpr)
    assert (told.fpr, told.auc) == (evidence.fpr, evidence.auc)
    assert told.threshold == threshold


@given(CASES, st.floats(-2, 2))
def test_every_figure_lies_within_its_interval(case, threshold):
    told = figures(*sample(*case), threshold, numbers(), fprs=(0.5,))
    estimates = [told.accuracy, told.precision, told.recall, told.f1, told.fpr, told.auc]
    for one in [*estimates, told.at_fpr[0].tpr]:
        if one is not None:
            assert 0 <= one.low <= one.value <= one.high <= 1
            assert one.low < one.high


@given(CASES, st.floats(-2, 2))
def test_figures_do_not_depend_on_the_order_of_scores(case, threshold):
    scores, is_member = sample(*case)
    told = figures(scores, is_member, threshold, numbers(), fprs=(0.5, 0.2))
    order = numbers(1).permutation(len(scores))
    again = figures(scores[order], is_member[order], threshold, numbers(), fprs=(0.5, 0.2))
    assert (again.precision, again.f1, again.at_fpr) == (told.precision, told.f1, told.at_fpr)


def test_the_generator_decides_the_replicates():
    told = [figures(*sample(0, 300, 300), 0.3, numbers(seed)) for seed in (0, 0, 1)]
    assert told[0] == told[1] != told[2]
    assert present(told[0].precision).low == pytest.approx(present(told[2].precision).low, abs=0.01)


@pytest.mark.parametrize(
    ("n_members", "n_others", "tpr", "fpr"),
    [(50, 50, 0.5, 0.02), (50, 50, 0.95, 0.02), (30, 300, 0.8, 0.05)],
)
def test_intervals_of_precision_and_f1_hold_the_truth_as_often_as_they_say(
    n_members, n_others, tpr, fpr
):
    generator = numbers(n_others)
    found, accused = tpr * n_members, fpr * n_others
    precision, f1 = found / (found + accused), 2 * found / (found + accused + n_members)
    held = []
    for _ in range(300):
        rates = np.repeat([tpr, fpr], [n_members, n_others])
        scores = (generator.random(n_members + n_others) < rates) * 1.0
        told = figures(scores, np.arange(len(rates)) < n_members, 0.5, generator, fprs=())
        held.append(
            (
                present(told.precision).low <= precision <= present(told.precision).high,
                told.f1.low <= f1 <= told.f1.high,
            )
        )
    assert ((np.mean(held, axis=0) >= 0.92) & (np.mean(held, axis=0) <= 0.99)).all()


# Members found at a low FPR


def slow_tpr(members, others, fpr):
    """By the definition: try every score as a threshold, and the lowest that is allowed."""
    levels = [*sorted({*members, *others}), math.inf]
    allowed = [t for t in levels if sum(x >= t for x in others) / len(others) <= fpr]
    return sum(x >= min(allowed) for x in members) / len(members)


@given(CASES, st.sampled_from([0.5, 0.34, 0.25, 0.2]))
def test_members_at_an_fpr_are_counted_by_the_definition(case, fpr):
    scores, is_member = sample(*case)
    told = at_fpr(scores, is_member, fpr, numbers())
    assert told.n_needed == 2 * math.ceil(1 / fpr)
    if (~is_member).sum() < told.n_needed:
        assert told.tpr is None
        assert told.held_out is None
    else:
        assert present(told.tpr).value == slow_tpr(scores[is_member], scores[~is_member], fpr)
        assert present(told.tpr).n == is_member.sum()


@pytest.mark.parametrize("n_others", [1999, 2000, 2001])
def test_a_claim_at_a_tenth_of_a_percent_takes_two_thousand_non_members(n_others):
    told = figures(*sample(0, 50, n_others), 0.0, numbers()).at_fpr
    assert [one.fpr for one in told] == [0.01, 0.001]
    assert [one.n_needed for one in told] == [200, 2000]
    assert told[0].tpr is not None
    assert (told[1].tpr is None) == (told[1].held_out is None) == (n_others < 2000)


@pytest.mark.parametrize(("n_others", "fpr"), [(200, 0.01), (400, 0.01), (300, 0.05)])
def test_the_held_out_threshold_keeps_the_stated_fpr_on_others(n_others, fpr):
    """With 200 non-members a threshold that let one in a hundred through let two through."""
    rates = []
    for seed in range(400):
        scores, is_member = sample(seed, 2, n_others)
        held_out = present(at_fpr(scores, is_member, fpr, numbers(seed)).held_out)
        rates.append(float(stats.norm.sf(held_out.threshold)))
    assert np.mean(rates) <= fpr + 3 * np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) >= 0.85 * fpr


def test_the_held_out_threshold_keeps_the_fpr_on_the_half_that_chose_it():
    scores, is_member = sample(4, 300, 400, gap=2)
    held_out = present(at_fpr(scores, is_member, 0.05, numbers()).held_out)
    over = [
        (scores[~is_member] >= t).sum()
        for t in (held_out.threshold, np.nextafter(held_out.threshold, -9))
    ]
    judged = round(held_out.fpr.value * held_out.fpr.n)
    assert held_out.fpr == proportion(judged, 200)
    assert over[0] - judged == 9  # of the 200 that chose, and one more is within 5 % of 201
    assert over[1] == over[0] + 1
    found = int((scores[is_member] >= held_out.threshold).sum())
    assert held_out.tpr == proportion(found, 300)
    other = present(at_fpr(scores, is_member, 0.05, numbers(1)).held_out)
    assert other.threshold != held_out.threshold


def slow_replicates(members, others, fpr, generator, n=4000):
    """Resample everything, choose the threshold anew, count."""
    found = []
    for _ in range(n):
        ranked = np.sort(generator.choice(others, len(others)))
        threshold = ranked[len(others) - 1 - math.floor(fpr * len(others) + 1e-9)]
        found.append(np.mean(generator.choice(members, len(members)) > threshold))
    return np.array(found)


@pytest.mark.parametrize("levels", [None, 4])
def test_the_interval_at_an_fpr_is_that_of_resampling(levels):
    scores, is_member = sample(2, 150, 250, gap=1.5, levels=levels)
    told = at_fpr(scores, is_member, 0.02, numbers()).tpr
    slow = slow_replicates(scores[is_member], scores[~is_member], 0.02, numbers(9))
    low, high = np.quantile(slow, [0.025, 0.975])
    assert present(told).low == pytest.approx(low, abs=0.02)
    assert present(told).high == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize(("n_others", "least"), [(200, 0.84), (1000, 0.92)])
def test_intervals_at_an_fpr_hold_the_truth_as_often_as_documented(n_others, least):
    truth = stats.norm.sf(stats.norm.isf(0.01) - 2)
    held = []
    for seed in range(300):
        told = at_fpr(*sample(seed, 200, n_others, gap=2), 0.01, numbers(seed))
        held_out = present(told.held_out)
        of_threshold = stats.norm.sf(held_out.threshold - 2)
        let_through = stats.norm.sf(held_out.threshold)
        held.append(
            (
                present(told.tpr).low <= truth <= present(told.tpr).high,
                held_out.tpr.low <= of_threshold <= held_out.tpr.high,
                held_out.fpr.low <= let_through <= held_out.fpr.high,
            )
        )
    whole, tpr, fpr = np.mean(held, axis=0)
    assert whole >= least
    assert min(tpr, fpr) >= 0.93


@pytest.mark.parametrize("fpr", [0.0, 1.0, -0.1, math.nan])
def test_an_fpr_lies_between_0_and_1(fpr):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        at_fpr(*sample(0), fpr, numbers())


@pytest.mark.parametrize("measure", [roc, lambda s, m: at_fpr(s, m, 0.1, numbers())])
@pytest.mark.parametrize("is_member", [np.zeros(9, dtype=bool), np.ones(9, dtype=bool)])
def test_points_of_the_curve_need_both_kinds(measure, is_member):
    with pytest.raises(ValueError, match="needs members and non-members"):
        measure(np.arange(9.0), is_member)


@given(CASES)
def test_the_curve_is_that_of_scikit_learn(case):
    scores, is_member = sample(*case)
    curve = roc(scores, is_member)
    fpr, tpr, thresholds = roc_curve(is_member, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(scores, is_member).value)


@given(st.floats(1e-6, 0.999))
def test_the_fewest_for_a_rate_are_the_fewest(rate):
    n = fewest_for(rate)
    assert 1 / n <= rate
    assert 1 / (n - 1) > rate


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_of_so_many_is_within_itself(case):
    k, n = case
    assert most_within(k / n, n) == k
    assert most_within(np.nextafter(k / n, -1), n) == k - 1
    if k > 1:
        assert fewest_for(1 / k) == k


@pytest.mark.parametrize("n_others", [1, 50, 99, 100, 101, 250])
@pytest.mark.parametrize("levels", [None, 3])
def test_members_found_at_a_rate_are_those_above_the_first_non_member_that_is_too_many(
    n_others, levels
):
    scores, is_member = sample(n_others, 80, n_others, levels=levels)
    others = sorted(scores[~is_member], reverse=True)
    bar = others[n_others // 100]  # as many as 1 % may lie above it
    expected = sum(score > bar for score in scores[is_member])
    assert found_at(0.01, scores, is_member) == expected
