"""Suspects against their control: who is compared, and what may be said of it."""

from dataclasses import replace

import numpy as np
import pytest

from clipaudit.blind.baseline import BlindCheck
from clipaudit.errors import InputError
from clipaudit.results.evidence import Overlap
from clipaudit.results.rows import Finding, ReferenceSignals, Row
from clipaudit.statistics.rank_tests import largest_rank_sum
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
    return against_control([suspects], [control], pair, blind, named, **how)


def test_p_is_the_share_of_all_ways_to_deal_the_scores():
    ours, theirs = [5.0, 9, 7], [1.0, 6, 2, 3]
    got = compared(audit("s", ours), audit("c", theirs)).by_inferrer[0].unpaired
    assert got.p == largest_rank_sum(np.array(ours), np.array(theirs), 0, 1).p
    assert got.p * 35 == pytest.approx(round(got.p * 35))
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
    comparison = compared(suspects, control)
    got = comparison.by_inferrer[0]
    assert got.paired.p == 1 / 32  # all five differences are positive
    assert not got.unpaired.paired
    assert comparison.sentence.startswith(
        comparison_sentence(got.unpaired, suspects.run.encoder.spec)
    )


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
    assert got.grade == "no conclusion"


def test_where_the_folders_differ_anyhow_no_conclusion_is_drawn():
    different = BlindCheck("different", "AUC 0.91 (0.85 to 0.97, n = 20)")
    suspects, control = audit("s", range(10, 20)), audit("c", range(10))
    fair, unfair = compared(suspects, control), compared(suspects, control, blind=different)
    assert "is weak evidence" in fair.sentence
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
    assert "is weak evidence" in fair.sentence
    assert fair.fairness == "alike"


def test_the_order_of_the_files_does_not_matter():
    suspects, control = audit("s", [3, 1, 4, 1.5]), audit("c", [2, 7, 1.8, 0.8])
    turned = audit_of(suspects.rows[::-1], INFERRERS[:1])
    assert compared(suspects, control) == compared(turned, control)


# With a reference encoder

DIFFERENT = BlindCheck("different", "AUC 0.91 (0.85 to 0.97, n = 20)")


def beside(audit_, contents):
    """The audit with a reference that sees so much of each picture's content."""
    rows = [
        replace(row, reference=ReferenceSignals(content, 2.0))
        for row, content in zip(audit_.rows, contents, strict=True)
    ]
    return replace(audit_, rows=tuple(rows))


def with_content(share, shift, n=60, difference=0.0):
    """Suspects and control whose scores are mostly content, which the reference sees too."""
    numbers = np.random.default_rng(5)
    sides = []
    for folder, trace, apart in (("s", shift, difference), ("c", 0.0, 0.0)):
        content = numbers.normal(apart, 1, n)
        scores = share * content + trace + 0.1 * numbers.normal(size=n)
        sides.append(beside(audit(folder, scores), content))
    return sides


def test_what_the_reference_explains_of_a_score_does_not_hide_a_trace():
    suspects, control = with_content(1.0, 0.1)
    got = compared(suspects, control)
    assert (got.grade, got.negative_control.outcome) == ("evidence", "silent")
    alone = [
        replace(side, rows=tuple(replace(row, reference=None) for row in side.rows))
        for side in (suspects, control)
    ]
    assert compared(*alone).grade == "no evidence"
    assert compared(*alone).negative_control is None


def test_where_the_reference_tells_the_two_apart_no_conclusion_is_drawn():
    got = compared(*with_content(1.0, 0.1, difference=1.0))
    assert (got.grade, got.negative_control.outcome) == ("no conclusion", "speaks")
    assert got.by_inferrer[0].outcome == "higher"
    assert "ViT-B-32" in got.sentence


def test_a_difference_that_does_not_reach_the_reference_lowers_the_grade_and_does_not_silence():
    suspects, control = with_content(1.0, 0.1)
    got = compared(suspects, control, blind=DIFFERENT)
    assert got.grade == "weak evidence"
    assert "is weak evidence that pictures" in got.sentence
    suspects, control = with_content(1.0, 0.0)
    nothing = compared(suspects, control, blind=DIFFERENT)
    assert nothing.grade == "no evidence"


def test_control_scores_stay_as_they_were_for_plots():
    suspects, control = with_content(1.0, 0.1)
    scores = sorted(row.findings[0].score for row in control.rows)
    assert compared(suspects, control).by_inferrer[0].control_scores == tuple(scores)


# Series, seeds, and missing scores


def test_pictures_of_one_series_are_dealt_together():
    suspects, control = audit("s", range(20, 40)), audit("c", range(20))
    series = {sha256(f"s {number}"): f"series {number // 5}" for number in range(20)}
    got = compared(suspects, control, series=series).by_inferrer[0].unpaired
    assert got.n_series == (4, 20)
    assert compared(suspects, control).by_inferrer[0].unpaired.n_series is None


def test_scores_of_several_seeds_are_averaged():
    pair_of = [
        (audit("s", scores), audit("c", others))
        for scores, others in (
            ([1, 5, 3], [4, 2, 6]),
            ([9, 5, 7], [0, 2, 1]),
        )
    ]
    suspects, control = ([side[i] for side in pair_of] for i in (0, 1))
    pair = split(scored_paths(suspects[0]), scored_paths(control[0]), {})
    got = against_control(suspects, control, pair, ALIKE, (["s"], ["c"]))
    assert got.by_inferrer[0].control_scores == (2.0, 2.0, 3.5)
    assert got.seeds == (0, 0)


def test_an_inferrer_without_any_score_of_a_side_is_an_error_that_says_so():
    suspects = audit("s", [1, 2, 3])
    control = audit("c", [1, 2, 3])
    control = replace(control, rows=tuple(replace(row, findings=()) for row in control.rows))
    with pytest.raises(InputError, match="gives no score to any picture of the control"):
        compared(suspects, control)
