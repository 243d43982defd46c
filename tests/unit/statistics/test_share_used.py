import numpy as np
import pytest

from clipaudit.statistics.metrics import FloatArray
from clipaudit.statistics.share_used import estimate_share, share_at_least
from tests.made.present import present


def sample(
    numbers, share, n=100, n_nonmembers=200, n_members=100, gap=2.5
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores of a folder of which a share was used, of known non-members and of known members."""
    scores = numbers.normal(size=n)
    scores[: round(share * n)] += gap
    return scores, numbers.normal(size=n_nonmembers), numbers.normal(gap, size=n_members)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_the_interval_holds_the_share_about_as_often_as_it_says(share):
    numbers = np.random.default_rng(int(100 * share))
    found = [estimate_share(*sample(numbers, share), seed=seed) for seed in range(150)]
    told = [one for one in found if one is not None]
    assert len(told) >= 138
    assert np.mean([one.low <= share <= one.high for one in told]) > 0.89
    assert np.mean([present(one.value) for one in told]) == pytest.approx(share, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_so_it_is_in_five_hundred_samples(share, n):
    numbers = np.random.default_rng([n, int(100 * share)])
    found = [estimate_share(*sample(numbers, share, n, gap=2), seed=seed) for seed in range(500)]
    held = np.mean([one.low <= share <= one.high for one in found if one is not None])
    assert 0.91 < held < 0.985


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_lower_bound_without_members_is_rarely_above_the_truth(share):
    numbers = np.random.default_rng(int(100 * share))
    bounds = []
    for seed in range(60):
        scores, nonmembers, _ = sample(numbers, share)
        bounds.append(share_at_least(scores, nonmembers, seed))
    assert sum(bound.low > share for bound in bounds) <= 8  # 5 % of 60 is 3
    assert {(bound.value, bound.high) for bound in bounds} == {(None, 1.0)}
    if share:
        assert np.mean([bound.low for bound in bounds]) > 0.1


def test_all_of_a_folder_that_stands_out_was_used():
    scores = np.arange(50.0) + 100
    known = np.arange(200.0) / 10
    assert share_at_least(scores, known, 0).low > 0.7
    assert present(estimate_share(scores, known, np.arange(100.0) + 90, 0)).low > 0.8


def test_where_members_do_not_score_higher_no_share_can_be_told():
    numbers = np.random.default_rng(1)
    assert estimate_share(*sample(numbers, 0.5, gap=0.0), seed=0) is None
    of_another_kind = numbers.normal(-9, size=400), *sample(numbers, 0, n_nonmembers=2000)[1:]
    assert estimate_share(*of_another_kind, seed=0) is None


def test_equal_scores_say_nothing():
    assert share_at_least(np.zeros(30), np.zeros(40), 0).low == 0
