"""Suspects against their control: who is compared, and what may be said of it."""

import itertools

import pytest

from clipaudit.blind.baseline import BlindCheck
from clipaudit.errors import InputError
from clipaudit.results.audit import Finding, Row
from clipaudit.results.evidence import Overlap
from clipaudit.verdicts.by_control import against_control, find_namesakes
from clipaudit.verdicts.sentences import comparison_sentence
from clipaudit.verdicts.shared_pictures import scored_paths, split
from tests.made.audits import INFERRERS, audit_of, sha256
from tests.made.present import present

ALIKE = BlindCheck("alike", "AUC 0.500")
NAME = INFERRERS[0].name


def audit(folder, scores, contents=None):
    names = contents or [f"{folder} {number}" for number in range(len(scores))]
    rows = [
        Row(
            f"{folder}/{number}.png",
            sha256(name),
            "ok",
            None,
            0.5,
            (Finding(NAME, float(score), "member"),),
        )
        for number, (name, score) in enumerate(zip(names, scores, strict=True))
    ]
    return audit_of(rows, INFERRERS[:1])


def compared(suspects, control, hashes=(), blind=ALIKE, named=(["s"], ["c"]), **how):
    pair = split(scored_paths(suspects), scored_paths(control), dict(hashes))
    return against_control(suspects, control, pair, blind, named, **how)


def test_p_is_the_share_of_all_ways_to_deal_the_scores():
    ours, theirs = [5, 9, 7], [1, 6, 2, 3]
    ranks = sorted(ours + theirs)
    observed = sum(ranks.index(score) for score in ours)
    ways = [sum(way) for way in itertools.combinations(range(7), 3)]
    got = compared(audit("s", ours), audit("c", theirs)).by_inferrer[0].unpaired
    assert got.p == pytest.approx(sum(way >= observed for way in ways) / len(ways))
    assert got.effect.value == 11 / 12


def test_copies_and_near_duplicates_count_once():
    suspects = audit("s", [5, 5, 5.1, 9], ["a", "a", "twin of a", "b"])
    hashes = {sha256("a"): 2**40 - 1, sha256("twin of a"): 2**40 - 2, sha256("b"): 0}
    got = compared(suspects, audit("c", [1, 2, 3]), hashes)
    assert got.by_inferrer[0].unpaired.n_suspects == 2
    assert got.n_near_duplicates == 2


def test_what_overlaps_is_named_and_left_out_of_the_control():
    suspects = audit("s", [1, 2, 3], ["a", "b", "c"])
    control = audit("c", [1, 2, 3], ["x", "b", "twin of c"])
    hashes = {sha256("c"): 2**50 - 1, sha256("twin of c"): 2**50 - 3}
    got = compared(suspects, control, hashes)
    assert got.overlaps == (
        Overlap("s/1.png", "c/1.png", "copy"),
        Overlap("s/2.png", "c/2.png", "near-duplicate"),
    )
    assert got.by_inferrer[0].unpaired.n_suspects == 3
    assert got.by_inferrer[0].unpaired.n_control == 1


def test_a_control_that_is_all_overlap_leaves_nothing_to_compare():
    suspects = audit("s", [1, 2], ["a", "b"])
    with pytest.raises(InputError, match="no picture of the control is left"):
        compared(suspects, suspects)


def test_namesakes_are_compared_in_pairs_beside_the_other_test():
    suspects, control = audit("s", [5, 6, 7, 8, 9]), audit("c", [4, 5, 6, 7, 8.5])
    got = compared(suspects, control).by_inferrer[0]
    assert got.paired.p == 1 / 32  # all five differences are positive
    assert not got.unpaired.paired
    assert got.sentence == comparison_sentence(got.unpaired)


def paths(*names):
    return {sha256(name): name for name in names}


def test_names_are_those_within_the_folder_without_their_ending():
    ours, theirs = paths("s/x/1.png", "s/y/1.png"), paths("c/d/y/1.jpg", "c/d/x/1.jpg", "c/d/z.jpg")
    couples = find_namesakes(ours, theirs, (["s"], ["c/d/"]))
    assert {ours[one]: theirs[other] for one, other in present(couples).items()} == {
        "s/x/1.png": "c/d/x/1.jpg",
        "s/y/1.png": "c/d/y/1.jpg",
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["s/1.png", "s/2.png"], ["c/1.png"]),  # one is alone
        (["s/1.png", "s/1.jpg"], ["c/1.png", "c/2.png"]),  # two of one name
        (["s/1.png"], ["c/1.png", "c/1.jpg"]),
    ],
)
def test_there_are_no_pairs_unless_every_suspect_has_just_one_namesake(ours, theirs):
    ours, theirs = paths(*ours), paths(*theirs)
    assert find_namesakes(ours, theirs, (["s"], ["c"])) is None


def test_too_few_pictures_say_how_many_are_needed():
    got = compared(audit("s", [9, 8]), audit("c", [1, 2]))
    assert got.by_inferrer[0].outcome == "too few"
    assert "at least 3 pictures in each set" in got.sentence


def test_where_the_folders_differ_anyhow_no_conclusion_is_drawn():
    different = BlindCheck("different", "AUC 0.91 (0.85 to 0.97, n = 20)")
    suspects, control = audit("s", range(10, 20)), audit("c", range(10))
    fair, unfair = compared(suspects, control), compared(suspects, control, blind=different)
    assert "is evidence" in fair.sentence
    assert fair.by_inferrer[0].unpaired == unfair.by_inferrer[0].unpaired
    assert "evidence" not in unfair.sentence
    assert "AUC 0.91 (0.85 to 0.97, n = 20)" in unfair.sentence
    assert "allows no conclusion" in unfair.sentence


def test_where_the_captions_alone_tell_them_apart_no_conclusion_is_drawn():
    different = BlindCheck("different", "AUC 0.88, most of all by the word “anna”")
    suspects, control = audit("s", range(10, 20)), audit("c", range(10))
    unfair = compared(suspects, control, captions=different)
    assert "allows no conclusion" in unfair.sentence
    assert "a baseline that reads nothing but captions tells the 10 suspect" in unfair.sentence
    assert "the word “anna”" in unfair.sentence
    assert (unfair.blind.outcome, unfair.fairness) == ("alike", "different")
    fair = compared(suspects, control, captions=ALIKE)
    assert "is evidence" in fair.sentence
    assert fair.fairness == "alike"


def test_the_order_of_the_files_does_not_matter():
    suspects, control = audit("s", [3, 1, 4, 1.5]), audit("c", [2, 7, 1.8, 0.8])
    turned = audit_of(suspects.rows[::-1], INFERRERS[:1])
    assert compared(suspects, control) == compared(turned, control)
