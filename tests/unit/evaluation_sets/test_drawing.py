"""Members and pairs: decided by the seed and the pictures, by nothing else."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.evaluation_sets.drawing import draw_and_pair, draw_matched
from tests.made.set_pictures import picture


def found(**counts):
    return {
        keyword: [picture(f"{keyword}-{number}", keyword) for number in range(count)]
        for keyword, count in counts.items()
    }


def names(pictures):
    return [one.record.source_id for one in pictures]


def test_the_papers_set_has_as_many_joined_pictures_as_members():
    by_keyword = found(**{f"word{number}": 30 for number in range(100)})
    drawn = draw_and_pair(by_keyword, n_members=10, n_parents=2, seed=0)
    assert len(drawn.members) == 1000
    assert len(drawn.groups) == 1000
    assert drawn.n_unused == 0
    every = names(drawn.members) + [name for group in drawn.groups for name in names(group)]
    assert len(set(every)) == 3000
    per_word = [sum(one.keyword == word for one in drawn.members) for word in by_keyword]
    assert set(per_word) == {10}


def test_pairs_are_drawn_over_all_keywords():
    by_keyword = found(**{f"word{number}": 30 for number in range(20)})
    groups = draw_and_pair(by_keyword, n_members=10, n_parents=2, seed=3).groups
    same = sum(first.keyword == second.keyword for first, second in groups)
    # By chance each has probability 19/399, so 200 pairs give 9.5 on average.
    assert 0 < same < 25


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_order_in_which_pictures_came_does_not_count(seed, shuffle):
    by_keyword = found(otter=9, seal=6)
    other = {word: list(pictures) for word, pictures in reversed(by_keyword.items())}
    for pictures in other.values():
        Random(shuffle).shuffle(pictures)
    one, two = (draw_and_pair(each, 3, 2, seed) for each in (by_keyword, other))
    assert set(names(one.members)) == set(names(two.members))
    assert list(map(names, one.groups)) == list(map(names, two.groups))


def test_another_seed_draws_others():
    by_keyword = found(otter=30)
    one, two = (draw_and_pair(by_keyword, 10, 2, seed) for seed in (0, 1))
    assert set(names(one.members)) != set(names(two.members))
    assert list(map(names, one.groups)) != list(map(names, two.groups))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.sampled_from([2, 4]))
def test_a_shortfall_is_shared_out_and_nothing_is_counted_twice(counts, n_parents):
    by_keyword = found(**{f"w{number}": count for number, count in enumerate(counts)})
    drawn = draw_and_pair(by_keyword, 5, n_parents, seed=1)
    used = len(drawn.members) + n_parents * len(drawn.groups)
    assert used + drawn.n_unused == sum(counts)
    assert len(drawn.groups) <= len(drawn.members)
    for word, count in zip(by_keyword, counts, strict=True):
        assert sum(one.keyword == word for one in drawn.members) <= min(5, count)


def test_without_joined_pictures_all_members_are_kept():
    drawn = draw_and_pair(found(otter=4, seal=9), n_members=5, n_parents=0, seed=0)
    assert len(drawn.members) == 9
    assert drawn.groups == ()
    assert drawn.n_unused == 4


def test_matched_sides_have_equally_many_of_each_keyword():
    drawn = draw_matched(found(otter=9, seal=2, crab=3), found(otter=4, seal=5), seed=0)
    for word, count in (("otter", 4), ("seal", 2), ("crab", 0)):
        for side in (drawn.members, drawn.nonmembers):
            assert sum(one.keyword == word for one in side) == count
    assert drawn.n_unused == 23 - 12


@pytest.mark.parametrize("seed", [0, 7])
def test_matched_sides_do_not_depend_on_the_order(seed):
    one = draw_matched(found(otter=9), found(otter=4), seed)
    turned = {"otter": found(otter=9)["otter"][::-1]}
    assert names(draw_matched(turned, found(otter=4), seed).members) == names(one.members)
