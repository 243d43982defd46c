"""What can be hoped for: the published figures, and numbers of pictures that keep their word."""

import numpy as np
import pytest
from scipy import stats

from clipaudit.statistics.expected_auc import FEWEST, MOST, expected_auc, tpr_at
from clipaudit.statistics.metrics import auc
from clipaudit.statistics.two_sets import pictures_needed
from tests.made.present import present


@pytest.mark.parametrize(("n_pairs", "figure"), [FEWEST, MOST])
def test_the_curve_goes_through_what_was_measured(n_pairs, figure):
    assert expected_auc(n_pairs) == pytest.approx(figure)


def test_more_pairs_give_less_and_never_less_than_guessing():
    aucs = [expected_auc(10**exponent) for exponent in range(3, 12)]
    assert aucs == sorted(aucs, reverse=True)
    assert 0.5 < aucs[-1] < 0.501
    assert aucs[0] > 0.9999


def test_the_members_found_are_those_of_a_simulation():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.8, 1, 100_000), rng.normal(0, 1, 100_000)
    measured = auc(np.concatenate([members, others]), np.arange(200_000) < 100_000).value
    found = (members > np.quantile(others, 0.99)).mean()
    assert tpr_at(measured, 0.01) == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize(
    ("figure", "needed"),
    [(0.51, 10_300), (0.52, 2_600), (0.55, 410), (0.6, 100), (0.7, 24)],
)
def test_pictures_needed_are_the_design_s_within_a_tenth(figure, needed):
    assert pictures_needed(figure, 0.8, 0.05) == pytest.approx(needed, rel=0.1)


@pytest.mark.parametrize(
    ("figure", "n_draws"), [(0.55, 1_000), (0.6, 1_500), (0.7, 2_000), (0.85, 2_000)]
)
def test_so_many_pictures_find_a_folder_as_often_as_promised(figure, n_draws):
    n = present(pictures_needed(figure, 0.8, 0.05))
    rng = np.random.default_rng(1)
    suspects = rng.normal(np.sqrt(2) * stats.norm.ppf(figure), 1, (n_draws, n))
    control = rng.normal(0, 1, (n_draws, n))
    ranks = stats.rankdata(np.hstack([suspects, control]), axis=1)
    above = ranks[:, :n].sum(axis=1) - n * (n + 1) / 2 - n * n / 2 - 0.5  # for continuity
    is_found = above / np.sqrt(n * n * (2 * n + 1) / 12) >= stats.norm.ppf(0.95)
    assert 0.77 < is_found.mean() < 0.92
