from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.inferrers.threshold import MeanRule, best_threshold

SCORES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30)


def gain(scores, is_member, threshold):
    """TPR - FPR as an exact fraction."""
    members = [score >= threshold for score, truth in zip(scores, is_member, strict=True) if truth]
    others = [
        score >= threshold for score, truth in zip(scores, is_member, strict=True) if not truth
    ]
    return Fraction(sum(members), len(members)) - Fraction(sum(others), len(others))


@given(SCORES.filter(lambda some: len({truth for _, truth in some}) == 2))
def test_no_other_threshold_does_better_nor_as_well_higher_up(some):
    scores = np.array([score / 7 for score, _ in some])
    is_member = np.array([truth for _, truth in some])
    found = best_threshold(scores, is_member)
    levels = sorted(set(scores.tolist()))
    middles = [(a + b) / 2 for a, b in pairwise(levels)]
    possible = [levels[0], *middles, levels[-1] + 1]
    best = max(gain(scores, is_member, cut) for cut in possible)
    highest = max(cut for cut in possible if gain(scores, is_member, cut) == best)
    assert gain(scores, is_member, found) == best
    if highest in middles or highest == levels[0]:
        assert found == highest
    else:
        assert levels[-1] < found < levels[-1] + 1e-9


def test_scores_that_part_are_parted_in_the_middle():
    scores = np.array([0.1, 0.2, 0.4, 0.5])
    assert best_threshold(scores, np.array([False, False, True, True])) == pytest.approx(0.3)


def test_scores_that_say_the_opposite_accuse_nobody():
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    threshold = best_threshold(scores, np.array([False, False, True, True]))
    assert not (scores >= threshold).any()


@pytest.mark.parametrize("truth", [True, False])
def test_one_kind_alone_has_no_threshold(truth):
    with pytest.raises(ValueError, match="members and non-members"):
        best_threshold(np.arange(4.0), np.full(4, truth))


def test_the_score_is_the_mean_of_all_pairs():
    values = np.random.default_rng(0).random((20, 45)).astype(np.float32)
    expected = [sum(map(float, row)) / 45 for row in values]
    np.testing.assert_allclose(MeanRule().score(values), expected, rtol=1e-12)
