import numpy as np
import pytest

from clipaudit.inferrers.norm import NormRule
from tests.made.inferrers import features, reads_of


def test_the_longer_embedding_scores_higher_whatever_the_scale():
    lengths = np.log(np.array([[1.0], [3.0], [2.0]], dtype=np.float32))
    for scale in (1.0, 100.0):
        scores = NormRule().score(lengths + np.float32(np.log(scale)))
        assert list(np.argsort(scores)) == [0, 2, 1]


def test_with_a_reference_it_is_the_log_of_the_ratio():
    both = np.log(np.array([[[6.0], [2.0]], [[5.0], [5.0]]], dtype=np.float32))
    assert NormRule().score(both) == pytest.approx([np.log(3), 0.0], abs=1e-6)


def test_the_threshold_lies_between_members_and_non_members_that_part():
    given, is_member = features(0, 50, 50, 30.0, reads=reads_of("norm"))
    scores = NormRule().score(given.values)
    threshold = NormRule().threshold(given.values, is_member)
    assert scores[~is_member].max() < threshold < scores[is_member].min()
