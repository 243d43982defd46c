import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clipaudit.inferrers.combined import CombinedRule

NUMBERS = np.random.default_rng(0)
IS_MEMBER = NUMBERS.permutation(np.arange(90) < 30)
VALUES = NUMBERS.normal([3, 0, -5], [1, 20, 0.01], (90, 2, 3)).astype(np.float32)
VALUES[IS_MEMBER, 0] += np.array([0.8, 10, 0.004], dtype=np.float32)


def test_it_is_the_logistic_regression_that_others_fit():
    flat = VALUES.reshape(90, 6).astype(np.float64)
    standard = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    other = LogisticRegression(class_weight="balanced", tol=1e-12, max_iter=10_000)
    expected = other.fit(standard, IS_MEMBER).decision_function(standard)
    got = CombinedRule.train(VALUES, IS_MEMBER, 0).score(VALUES)
    np.testing.assert_allclose(got, expected, atol=2e-3)  # weights are kept in float32


def test_another_scale_of_lengths_moves_all_scores_alike():
    rule = CombinedRule.train(VALUES, IS_MEMBER, 0)
    longer = VALUES.copy()
    longer[:, :, 1:] += np.float32(np.log(2))
    moved = rule.score(longer) - rule.score(VALUES)
    np.testing.assert_allclose(moved, moved[0], rtol=1e-3)


def test_members_that_are_all_apart_give_weights_that_are_finite():
    apart = VALUES.copy()
    apart[IS_MEMBER] += 1000
    rule = CombinedRule.train(apart, IS_MEMBER, 0)
    assert all(np.isfinite(array).all() for array in rule.arrays().values())
    assert ((rule.score(apart) >= 0) == IS_MEMBER).all()


def test_a_feature_that_never_changes_does_no_harm():
    still = VALUES.copy()
    still[:, 1, 2] = 7
    assert np.isfinite(CombinedRule.train(still, IS_MEMBER, 0).score(still)).all()


def test_features_of_another_shape_are_refused():
    rule = CombinedRule.train(VALUES, IS_MEMBER, 0)
    with pytest.raises(ValueError, match="one weight a feature"):
        rule.score(VALUES[:, 0])
