"""No number moves unnoticed, whatever the machine and the versions of torch and NumPy."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.golden.numbers import compute

GOLDEN = json.loads((Path(__file__).parent / "numbers.json").read_text())
ATOL = {
    "boxes": 0,
    "factors": 1e-7,
    "views": 1e-5,
    "cosine": 1e-5,
    "pearson": 1e-5,
    "euclidean": 1e-5,
    "norms": 1e-5,
    "plain_norm": 1e-6,
}


@pytest.fixture(scope="module")
def now():
    return compute()


def test_the_pictures_are_the_same(now):
    assert now["ids"] == GOLDEN["ids"]


@pytest.mark.parametrize("name", ATOL)
def test_views_and_signals_are_what_they_were(now, name):
    np.testing.assert_allclose(now[name], GOLDEN[name], rtol=0, atol=ATOL[name])


@pytest.mark.parametrize("kind", GOLDEN["scores"])
def test_scores_are_what_they_were(now, kind):
    np.testing.assert_allclose(now["scores"][kind], GOLDEN["scores"][kind], rtol=0, atol=1e-3)


def test_the_golden_numbers_are_no_special_case():
    """Scores that differ, features that are not all alike: a mistake would show."""
    assert set(GOLDEN) == {"ids", "scores", *ATOL}
    assert set(GOLDEN["scores"]) == {"V", "S", "T"}
    for kind in GOLDEN["scores"].values():
        assert np.ptp(kind) > 0.01
    assert np.ptp(GOLDEN["cosine"], axis=1).min() > 0.01
