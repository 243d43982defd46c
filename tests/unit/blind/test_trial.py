"""Few pictures: whether they differ in the facts of their files."""

import numpy as np
import pytest

from clipaudit.blind.trial import blind_check
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance
from clipaudit.pictures.random_embedding import DIM

NAMES = [statistic.name for statistic in STATISTICS]


def check(n_first, n_second, seed=0, **shifts):
    """The check of made-up pictures; shifts of some statistics of the first set."""
    rng = np.random.default_rng(seed)
    looks = {}
    for number in range(n_first + n_second):
        statistics = rng.normal(size=len(STATISTICS))
        statistics[[NAMES.index(name) for name in ("is_jpeg", "is_png", "is_webp")]] = 0
        if number < n_first:
            for name, shift in shifts.items():
                statistics[NAMES.index(name)] += shift
        image_id = f"{rng.integers(2**32):08x} {number}"
        looks[image_id] = Appearance(statistics, np.zeros(DIM, np.float32))
    ids = list(looks)
    return blind_check(ids[:n_first], ids[n_first:], looks, seed)


@pytest.mark.parametrize("name", ["is_png", "width", "file_size", "white_share", "border_step"])
@pytest.mark.parametrize("sizes", [(19, 19), (8, 8), (5, 30)])
def test_sets_that_differ_in_a_fact_are_told_apart_though_they_are_small(name, sizes):
    found = check(*sizes, **{name: 9.0})
    assert found.outcome == "different"
    assert STATISTICS[NAMES.index(name)].words in found.text


def test_sets_that_do_not_differ_are_rarely_told_apart():
    assert sum(check(12, 15, seed).outcome == "different" for seed in range(60)) <= 5


@pytest.mark.parametrize("sizes", [(0, 30), (1, 30), (3, 3), (4, 4)])
def test_where_nothing_can_be_tried_that_is_said(sizes):
    found = check(*sizes, is_png=9.0)
    assert found.outcome == "too few"
    assert "that takes 20 pictures on each side" in found.text
