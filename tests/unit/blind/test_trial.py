"""Few pictures: whether they differ in the facts of their files."""

import numpy as np
import pytest

from clipaudit.blind.trial import BlindTrial, _check_shares, blind_check
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance
from clipaudit.pictures.random_embedding import DIM
from tests.made.present import present

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


# A few pictures that are unlike the others


def planted(n_plain, seed=0, n=40):
    """Two sets that are alike, but for a plain margin of so many pictures of the second."""
    rng = np.random.default_rng(seed)
    looks = {}
    for number in range(2 * n):
        statistics = rng.normal(size=len(STATISTICS))
        for name, value in (("border_sd", 5.0), ("grey_share", 0.0), ("is_jpeg", 1.0)):
            statistics[NAMES.index(name)] = value + (rng.normal() / 4 if value == 5.0 else 0)
        for name in ("is_png", "is_webp", "is_progressive", "has_exif", "has_profile"):
            statistics[NAMES.index(name)] = 0
        if number >= 2 * n - n_plain:
            statistics[NAMES.index("border_sd")] = 0
        looks[f"{rng.integers(2**32):08x} {number}"] = Appearance(
            statistics, rng.normal(size=DIM).astype(np.float32)
        )
    ids = list(looks)
    return ids[:n], ids[n:], looks


def shares(n_plain):
    first, second, looks = planted(n_plain)
    return _check_shares(BlindTrial((*first, *second), np.arange(80) < 40, None), looks, 0)


def test_a_margin_around_some_pictures_of_one_set_is_seen():
    found = present(shares(8))
    assert found.outcome == "different"
    assert "0 % and 20 % of them have a plain margin" in found.text
    assert "n = 40 and 40" in found.text


def test_two_of_forty_are_no_difference():
    assert shares(2) is None


def test_shares_are_rarely_told_apart_where_they_are_alike():
    alarms = 0
    for seed in range(60):
        first, second, looks = planted(0, seed, n=30)
        rng = np.random.default_rng(seed)
        for look in looks.values():
            for name in ("border_sd", "is_png", "has_exif"):
                look.statistics[NAMES.index(name)] = rng.random() < 0.4
        trial = BlindTrial((*first, *second), np.arange(60) < 30, None)
        alarms += _check_shares(trial, looks, seed) is not None
    assert alarms <= 5  # 2.5 % of 60 is 1.5
