import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipaudit.blind.cross_validation import (
    N_FOLDS,
    cross_validated_auc,
    deal_folds,
    groups_of_each,
    numbered,
)
from clipaudit.statistics.metrics import auc
from tests.made.delong import delong_variance


def drawn(seed, n_members=30, n_others=30, gap=0.5, levels=None):
    rng = np.random.default_rng(seed)
    is_member = rng.permutation(n_members + n_others) < n_members
    scores = rng.normal(size=len(is_member)) + gap * is_member
    return scores if levels is None else np.round(scores * levels) / levels, is_member, rng


def alone(is_member):
    return np.arange(len(is_member))


@given(st.integers(0, 2**32), st.integers(3, 12), st.integers(3, 12), st.sampled_from([None, 1, 3]))
def test_the_area_is_the_share_of_right_pairs_within_a_fold(seed, n_members, n_others, levels):
    scores, is_member, rng = drawn(seed, n_members, n_others, levels=levels)
    folds = rng.integers(0, 3, len(scores))
    folds[np.flatnonzero(is_member)[0]] = folds[np.flatnonzero(~is_member)[0]]
    right = [
        1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
        for i in np.flatnonzero(is_member)
        for j in np.flatnonzero(~is_member)
        if folds[i] == folds[j]
    ]
    estimate = cross_validated_auc(scores[None], folds[None], is_member, alone(is_member))
    assert estimate.value == pytest.approx(np.mean(right))
    assert estimate.n == len(scores)


@pytest.mark.parametrize("seed", range(5))
def test_in_a_single_fold_the_variance_is_delongs_doubled(seed):
    scores, is_member, _ = drawn(seed)
    folds = np.zeros((1, 60), dtype=int)
    ours = cross_validated_auc(scores[None], folds, is_member, alone(is_member))
    assert ours.value == pytest.approx(auc(scores, is_member).value)
    reach = stats.t.ppf(0.975, 29) * math.sqrt(2 * delong_variance(scores, is_member))
    assert ours.high - ours.value == pytest.approx(reach)


def test_repetitions_are_averaged():
    scores, is_member, rng = drawn(0)
    folds = rng.integers(0, 4, (2, 60))
    both = np.stack([scores, rng.normal(size=60)])
    each = [
        cross_validated_auc(both[i : i + 1], folds[i : i + 1], is_member, alone(is_member)).value
        for i in range(2)
    ]
    averaged = cross_validated_auc(both, folds, is_member, alone(is_member))
    assert averaged.value == pytest.approx(np.mean(each))


def test_copies_of_the_same_picture_make_nothing_more_certain():
    scores, is_member, rng = drawn(1)
    folds = rng.integers(0, N_FOLDS, (1, 60))
    once = cross_validated_auc(scores[None], folds, is_member, alone(is_member))
    twice = [np.tile(array, 2) for array in (scores, folds[0], is_member)]
    as_groups = cross_validated_auc(
        twice[0][None], twice[1][None], twice[2], np.tile(alone(is_member), 2)
    )
    as_pictures = cross_validated_auc(twice[0][None], twice[1][None], twice[2], np.arange(120))
    assert (as_groups.low, as_groups.high) == pytest.approx((once.low, once.high))
    assert as_pictures.high - as_pictures.low < 0.8 * (once.high - once.low)


def test_no_result_is_more_certain_than_perfection():
    is_member = np.arange(40) < 20
    folds = np.tile(np.arange(20) % 5, 2)[None]
    perfect = cross_validated_auc(is_member[None].astype(float), folds, is_member, alone(is_member))
    assert (perfect.value, perfect.high) == (1, 1)
    assert perfect.low == pytest.approx(auc(is_member.astype(float), is_member).low)
    nearly = is_member.astype(float)
    nearly[0] = 0  # ties with four others: 0.995
    almost = cross_validated_auc(nearly[None], folds, is_member, alone(is_member))
    assert almost.value == pytest.approx(1 - 0.5 * 4 / 80)
    assert almost.low <= perfect.low


def test_equal_scores_say_nothing():
    is_member = np.arange(60) < 30
    folds = np.tile(np.arange(30) % 5, 2)[None]
    estimate = cross_validated_auc(np.zeros((1, 60)), folds, is_member, alone(is_member))
    assert estimate.low < estimate.value == 0.5 < estimate.high


def nearest_mean(values, is_member, folds):
    """The simplest classifier: which mean of the other folds is nearer."""
    scores = np.empty(len(values))
    for fold in np.unique(folds):
        inside = folds == fold
        means = [values[~inside & kind].mean(axis=0) for kind in (is_member, ~is_member)]
        scores[inside] = (
            values[inside] @ (means[0] - means[1]) - (means[0] @ means[0] - means[1] @ means[1]) / 2
        )
    return scores


@pytest.fixture(scope="module")
def draws_of_nothing():
    """400 times 30 + 30 pictures that differ in nothing, cross-validated."""
    outcomes = []
    for draw in range(400):
        rng = np.random.default_rng(draw)
        values = rng.normal(size=(60, 10))
        is_member = rng.permutation(60) < 30
        folds = np.stack([deal_folds(is_member, np.arange(60), draw, i) for i in range(2)])
        scores = np.stack([nearest_mean(values, is_member, dealt) for dealt in folds])
        outcomes.append((scores, folds, is_member))
    return outcomes


def test_where_there_is_nothing_the_interval_excludes_one_half_as_seldom_as_it_says(
    draws_of_nothing,
):
    found = [
        cross_validated_auc(scores, folds, is_member, np.arange(60))
        for scores, folds, is_member in draws_of_nothing
    ]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - 0.5) < 2.5 * values.std() / math.sqrt(len(values))
    assert 0.01 < np.mean([one.low > 0.5 or one.high < 0.5 for one in found]) < 0.07
    assert np.mean([one.low > 0.5 for one in found]) < 0.04


def test_the_plain_interval_would_be_too_narrow(draws_of_nothing):
    pooled = [auc(scores[0], is_member) for scores, _, is_member in draws_of_nothing]
    assert np.mean([one.low > 0.5 or one.high < 0.5 for one in pooled]) > 0.13


def test_a_classifier_that_knows_but_the_shares_of_its_pictures_is_left_with_one_half():
    """Whoever is left out makes the rest look like the other kind: pooled, that counts."""
    _, is_member, rng = drawn(0)
    folds = rng.integers(0, N_FOLDS, 60)
    share = np.array([is_member[folds != fold].mean() for fold in folds])
    ours = cross_validated_auc(share[None], folds[None], is_member, alone(is_member))
    assert ours.value == 0.5
    assert auc(share, is_member).value < 0.45


@given(st.integers(0, 2**32), st.integers(20, 40), st.integers(20, 90))
def test_folds_share_members_and_non_members_evenly(seed, n_members, n_others):
    is_member = np.arange(n_members + n_others) < n_members
    folds = deal_folds(is_member, alone(is_member), seed, 0)
    for kind in (is_member, ~is_member):
        counts = np.bincount(folds[kind], minlength=N_FOLDS)
        assert counts.max() - counts.min() <= 1


@given(st.integers(0, 2**32), st.integers(20, 40))
def test_groups_stay_in_one_fold(seed, n_groups):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, 30)])
    is_member = rng.permutation(len(groups)) < len(groups) // 2
    folds = deal_folds(is_member, groups, seed, 0)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(n_groups))
    assert set(folds) == set(range(N_FOLDS))


def test_each_repetition_and_each_seed_deals_anew():
    is_member = np.arange(60) < 30
    dealt = [deal_folds(is_member, alone(is_member), *way) for way in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(one) for one in dealt}) == 3
    assert np.array_equal(dealt[0], deal_folds(is_member, alone(is_member), 0, 0))


def test_groups_are_counted_on_the_side_that_has_fewer():
    is_member = np.array([True, True, True, False, False])
    assert groups_of_each(is_member, np.array([0, 1, 2, 3, 3])) == 1
    assert groups_of_each(is_member, np.array([0, 0, 1, 1, 2])) == 2


def test_any_names_will_do_for_groups():
    order = np.array([2, 0, 1, 3])
    assert numbered(["a", "b", "c", "b"], order).tolist() == [0, 1, 2, 2]
    assert numbered([7, None, ("x", 1), None], order).tolist() == [0, 1, 2, 2]
    assert numbered(None, order).tolist() == [0, 1, 2, 3]
