"""Pictures of a pile that match suspects: none twice, the same whatever the order, and near."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipaudit.blind import matching
from clipaudit.blind.matching import balances, match_pictures
from clipaudit.blind.trial import blind_check
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance
from clipaudit.pictures.random_embedding import DIM

NAMES = [statistic.name for statistic in STATISTICS]
KINDS = ("is_jpeg", "is_png", "is_webp", "is_progressive", "has_exif", "has_profile")


def looks(n, seed, prefix, **shifts):
    """Made-up pictures by their id: JPEGs, some statistics of which are shifted."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(n):
        statistics = rng.normal(size=len(STATISTICS)) + 5
        statistics[[NAMES.index(name) for name in KINDS]] = 0
        statistics[NAMES.index("is_jpeg")] = 1
        for name, shift in shifts.items():
            statistics[NAMES.index(name)] += shift
        key = f"{rng.integers(2**32):08x}{prefix}{number}"
        made[key] = Appearance(statistics, rng.normal(size=DIM).astype(np.float32))
    return made


def match(suspects, pile, n=None, seed=0):
    return match_pictures([*suspects], [*pile], {**suspects, **pile}, n, seed)


@settings(max_examples=40)
@given(
    st.integers(1, 12), st.integers(1, 30), st.one_of(st.none(), st.integers(1, 60)), st.integers(0)
)
def test_no_picture_is_taken_twice_and_each_suspect_has_as_many_as_any_other(n_s, n_p, n, seed):
    suspects, pile = looks(n_s, 1, "s"), looks(n_p, 2, "p")
    found = match(suspects, pile, n, seed)
    assert len(set(found.picked)) == len(found.picked)
    assert set(found.picked) <= pile.keys()
    per_suspect = [sum(key == suspect for suspect, _ in found.pairs) for key in suspects]
    if n is None:
        assert max(per_suspect) <= 1
    else:
        assert len(found.pairs) == min(n, n_p)
        assert max(per_suspect) - min(per_suspect) <= 1


@settings(max_examples=3)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(random):
    suspects, pile = looks(25, 3, "s"), looks(60, 4, "p", luma_mean=1)
    first, second = [*suspects], [*pile]
    for side in (first, second):
        random.shuffle(side)
    again = match_pictures(first, second, {**suspects, **pile})
    assert again.pairs == match(suspects, pile).pairs


def test_the_whole_of_the_costs_is_the_least_there_is():
    suspects, pile = looks(4, 5, "s"), looks(5, 6, "p")
    ours, theirs = matching._sides(sorted(suspects), sorted(pile), {**suspects, **pile}, 0)
    costs = matching._costs(ours, theirs)
    least = min(
        sum(costs[i, j] for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(5), 4)
    )
    found = match(suspects, pile, n=4)
    rows = [(ours.image_ids.index(a), theirs.image_ids.index(b)) for a, b in found.pairs]
    assert sum(costs[i, j] for i, j in rows) == pytest.approx(least)


def test_a_large_pile_and_many_suspects_are_matched_in_parts(monkeypatch):
    suspects, pile = looks(18, 7, "s"), looks(300, 8, "p")
    whole = match(suspects, pile, n=18)
    monkeypatch.setattr(matching, "_MOST_CELLS", 18 * 250)
    assert len(set(match(suspects, pile, n=18).picked)) == 18
    monkeypatch.setattr(matching, "_MOST_SUSPECTS", 7)
    parts = match(suspects, pile, n=18)
    assert len(set(parts.picked)) == 18
    assert len(set(parts.picked) & set(whole.picked)) > 5


def test_pictures_of_the_kind_of_the_suspects_come_first():
    suspects = looks(30, 9, "s")
    pile = looks(40, 10, "same") | looks(200, 11, "png", is_jpeg=-1, is_png=1)
    found = match(suspects, pile, n=30)
    assert found.n_of_other_kind == 0
    assert all("same" in key for key in found.picked)
    assert match(suspects, pile, n=50).n_of_other_kind == 10


def test_suspects_without_a_picture_near_are_named():
    suspects = looks(10, 12, "s") | looks(3, 13, "lone", is_jpeg=-1, is_webp=1)
    found = match(suspects, looks(60, 14, "p"))
    assert {key for key in found.unmatched if "lone" in key} == {
        key for key in suspects if "lone" in key
    }
    assert not any("lone" in suspect for suspect, _ in found.pairs)


def test_what_told_the_sets_apart_does_so_no_longer():
    suspects = looks(60, 15, "s", luma_mean=3, noise=-2)
    pile = looks(500, 16, "far") | looks(150, 17, "near", luma_mean=3, noise=-2)
    everything = {**suspects, **pile}
    assert blind_check(suspects, pile, everything, 0).outcome == "different"
    found = match(suspects, pile)
    assert blind_check(suspects, found.picked, everything, 0).outcome == "alike"
    by_name = {b.name: b for b in balances([*suspects], [*pile], found.picked, everything)}
    assert abs(by_name["luma_mean"].before) > 1
    assert abs(by_name["luma_mean"].after) < 0.25
    assert by_name["is_png"].before == by_name["is_png"].after == 0


def test_without_pictures_there_is_nothing_to_match():
    with pytest.raises(ValueError, match="needs suspects"):
        match({}, looks(3, 0, "p"))
