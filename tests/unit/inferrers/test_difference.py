import numpy as np
import pytest
from scipy import stats

from clipaudit.inferrers.difference import AdjustedRule, DifferenceRule


@pytest.fixture
def values():
    """Similarities of 60 images to target and reference, 10 pairs of views each."""
    return np.random.default_rng(0).uniform(0.2, 0.9, (60, 2, 10)).astype(np.float32)


IS_MEMBER = np.arange(60) < 25


def test_the_line_is_that_of_least_squares_through_the_non_members(values):
    means = values.astype(np.float64).mean(axis=2)
    expected = stats.linregress(means[~IS_MEMBER, 1], means[~IS_MEMBER, 0])
    at_zero, slope = AdjustedRule.train(values, IS_MEMBER, 0).line
    assert at_zero == pytest.approx(expected.intercept, rel=1e-6)
    assert slope == pytest.approx(expected.slope, rel=1e-6)


def test_members_do_not_move_the_line(values):
    moved = values.copy()
    moved[IS_MEMBER, 0] += 0.1
    before, after = (AdjustedRule.train(some, IS_MEMBER, 0).line for some in (values, moved))
    np.testing.assert_array_equal(before, after)


def test_a_reference_that_finds_all_images_alike_adjusts_nothing(values):
    values[:, 1] = 0.5
    rule = AdjustedRule.train(values, IS_MEMBER, 0)
    means = values[:, 0].astype(np.float64).mean(axis=1)
    centred = means - means[~IS_MEMBER].mean()
    np.testing.assert_allclose(rule.score(values), centred, atol=1e-6)


def test_what_target_and_reference_share_does_not_count(values):
    shifted = values + np.linspace(0, 0.1, 60, dtype=np.float32)[:, None, None]
    before, after = (DifferenceRule().score(some) for some in (values, shifted))
    np.testing.assert_allclose(before, after, atol=1e-6)
