"""Comparisons of two sets as sentences: what they say, and what they never claim."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.blind.baseline import BlindCheck
from clipaudit.results.evidence import NegativeControl
from clipaudit.statistics.metrics import Estimate
from clipaudit.statistics.two_sets import compare, compare_pairs
from clipaudit.verdicts.sentences import Basis, comparison_sentence, sensitivity, verdict_sentence
from tests.made.audits import run
from tests.made.present import present

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=9).map(np.array)


def normal(seed, n, shift=0.0):
    return np.random.default_rng(seed).normal(shift, size=n)


PLAIN = dataclasses.replace(
    compare(normal(1, 40, 1.0), normal(2, 50), 0.05, 0),
    p=0.00041999,
    effect=Estimate(0.712, 0.6011, 0.8229, 90),
    detectable=0.6437,
)


def test_a_significant_result_in_one_sentence():
    assert comparison_sentence(PLAIN) == (
        "As a set, the 40 suspect pictures got higher membership scores than the 50 control "
        "pictures: in 71.2 % of all pairs of a suspect and a control picture the suspect scored "
        "higher, ties counting half (95 % interval 60.1 % to 82.3 %; 50 % is no difference), and "
        "chance alone would rank the suspects, or the highest of them, as high or higher with "
        "p = 0.00042 (one-sided test of the largest rank sum, 9,999 permutations, level 5 %), "
        "which is evidence that pictures of this set were used to train the encoder, provided that "
        "the control differs from it in nothing else, "
        "and no proof that any one picture was."
    )


def test_a_result_that_shows_nothing_in_one_sentence():
    result = dataclasses.replace(PLAIN, p=0.3, n_control=1200, n_resamples=9999)
    assert comparison_sentence(result) == (
        "As a set, the 40 suspect pictures were not shown to get higher membership scores than "
        "the 1,200 control pictures: in 71.2 % of all pairs of a suspect and a control picture "
        "the suspect scored higher, ties counting half (95 % interval 60.1 % to 82.3 %; 50 % is "
        "no difference), and chance alone would rank the suspects, or the highest of them, as "
        "high or higher with p = 0.3 (one-sided test of the largest rank sum, 9,999 permutations, "
        "level 5 %), which is no evidence that pictures of this set were used to train the "
        "encoder, nor that they were not (sets of "
        "these sizes would find a true share of 64.4 % in four of five comparisons, and a smaller "
        "one less often), and tells nothing of any one picture."
    )


def test_too_few_pictures_in_one_sentence():
    assert comparison_sentence(compare(np.array([5.0, 4]), np.array([1.0, 2, 3]), 0.05, 0)) == (
        "No statement is possible from the membership scores of 2 suspect pictures and 3 control "
        "pictures, neither on the set nor on any one picture: even if the suspects had all the "
        "highest of these scores, chance alone would do as much with p = 0.1; one at the level of "
        "5 % takes at least 3 pictures in each set."
    )
    pairs = comparison_sentence(compare_pairs(normal(1, 4), normal(2, 4), 0.05, 0))
    assert "even if no suspect scored below its own control picture" in pairs
    assert "p = 0.0625; one at the level of 5 % takes at least 5 pairs." in pairs


def test_the_sentence_on_a_set_of_one_picture_speaks_of_no_chance():
    result = compare(np.array([9.0]), normal(1, 99), 0.05, 0)
    assert "of 1 suspect picture and 99 control pictures, neither on the set nor on any one " in (
        comparison_sentence(result)
    )
    assert "chance" not in comparison_sentence(result)


def test_scores_that_are_all_equal_say_nothing_however_many():
    result = compare(np.zeros(60), np.zeros(60), 0.05, 0)
    assert result.outcome == "too few"
    assert comparison_sentence(result).endswith(
        "3 pictures in each set, and scores that are less often equal."
    )


def test_sentences_of_pairs_name_their_own_test():
    result = compare_pairs(normal(1, 40, 1.0), normal(2, 40), 0.05, 0)
    assert "a suspect and its own control picture" in comparison_sentence(result)
    assert "one-sided Wilcoxon signed-rank test, exact" in comparison_sentence(result)
    assert "four of five" not in comparison_sentence(dataclasses.replace(result, p=0.5))


def test_series_are_named_with_their_number():
    result = dataclasses.replace(PLAIN, n_series=(12, 31))
    assert "9,999 permutations of whole series, 12 and 31 of them, level 5 %" in (
        comparison_sentence(result)
    )
    few = compare(normal(1, 4), normal(2, 40), 0.05, 0, series=(np.zeros(4, int), np.arange(40)))
    assert comparison_sentence(few).endswith("takes at least 3 series in each set.")


# With what it rests on

ALIKE = BlindCheck("alike", "AUC 0.51, n = 40 and 50")
DIFFERENT = BlindCheck("different", "AUC 0.81, most of all by the sharpness")
SILENT = NegativeControl("silent", 0.4321, 0.1, ("RN50/openai",))
SPEAKS = NegativeControl("speaks", 0.0321, 0.1, ("RN50/openai", "other"))


def basis(**changes):
    facts = {"run": run(), "inferrer": "cifar10-v", "seeds": (0,), "blind": ALIKE}
    return Basis(**{**facts, **changes})


def test_the_verdict_names_encoder_method_seed_level_and_the_checks():
    assert verdict_sentence(PLAIN, "evidence", basis(negative=SILENT)).endswith(
        "which is evidence that pictures of this set were used to train ViT-B-32/openai, provided "
        "that the control differs from it in nothing else, and no proof that any one picture was. "
        "Compared were the scores of cifar10-v, less what RN50/openai explains of them (10 views "
        "by recipe paper/1, seed 0, level 5 %). No difference was found that needs no encoder "
        "(AUC 0.51, n = 40 and 50). RN50/openai, which is to have seen neither set, does not tell "
        "them apart (p = 0.433, level 10 %). A difference of another kind, which nobody saw, would "
        "have to rank a suspect above a control picture in at least 60.1 % of all pairs to explain "
        "it."
    )


def test_it_says_over_which_seeds_scores_were_averaged_and_how_often_somebody_looked():
    sentence = verdict_sentence(PLAIN, "evidence", basis(seeds=(3, 4, 5), n_looks=4))
    assert "the mean over seeds 3, 4, 5" in sentence
    assert sentence.endswith(
        "These suspects were compared in 4 different ways on this machine, this one included; the "
        "level holds for one that was fixed beforehand."
    )
    assert "different ways" not in verdict_sentence(PLAIN, "evidence", basis(n_looks=1))


def test_a_difference_that_the_reference_does_not_see_makes_the_evidence_weak():
    sentence = verdict_sentence(PLAIN, "weak evidence", basis(blind=DIFFERENT, negative=SILENT))
    assert "which is weak evidence that pictures of this set" in sentence
    assert (
        "weak, because the two also differ in what needs no encoder (AUC 0.81, most of all by the "
        "sharpness), though a reference encoder that saw neither does not see it."
    ) in sentence


def test_without_a_reference_evidence_is_weak_for_folders_may_differ_in_what_they_show():
    sentence = verdict_sentence(PLAIN, "weak evidence", basis())
    assert (
        "weak, because no reference encoder took part, and only one that saw neither tells whether "
        "the two differ in what they show."
    ) in sentence


@pytest.mark.parametrize(
    ("blind", "negative", "reason"),
    [
        (DIFFERENT, None, "a baseline that never saw the encoder tells the 40 suspect pictures"),
        (ALIKE, SPEAKS, "RN50/openai and other, which is to have seen neither, tells the 40"),
    ],
)
def test_without_a_conclusion_it_claims_no_evidence(blind, negative, reason):
    sentence = verdict_sentence(PLAIN, "no conclusion", basis(blind=blind, negative=negative))
    assert sentence.startswith("This comparison allows no conclusion on whether")
    assert reason in sentence
    assert "evidence" not in sentence


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "p = 1 ("),
        (0.05, "p = 0.05 ("),
        (0.0500000007, "p = 0.0501 ("),
        (0.04999, "p = 0.05 ("),
        (0.12345, "p = 0.124 ("),
        (1e-6, "p = 0.000001 ("),
        (9.99e-7, "p < 0.000001 ("),
        (0.0, "p < 0.000001 ("),
    ],
)
def test_a_p_value_is_rounded_up_and_never_to_the_other_side_of_the_level(p, text):
    assert text in comparison_sentence(dataclasses.replace(PLAIN, p=p))


@given(SCORES, SCORES, st.sampled_from([0.2, 0.05, 0.001]))
def test_whatever_comes_out_is_one_sentence(suspects, control, alpha):
    n = min(len(suspects), len(control))
    for result in (
        compare(suspects, control, alpha, 0),
        compare_pairs(suspects[:n], control[:n], alpha, 0),
    ):
        sentence = comparison_sentence(result)
        assert sentence.endswith(".")
        assert ". " not in sentence
        assert "any one picture" in sentence
        assert ("is evidence" in sentence) == (result.outcome == "higher")


def test_it_says_how_strong_an_unseen_difference_would_have_to_be():
    assert "in at least 60.1 % of all pairs to explain it" in sensitivity(PLAIN)
    faint = replace(PLAIN, effect=replace(present(PLAIN.effect), low=0.48))
    assert sensitivity(faint).startswith("a slight difference of another kind")
    for grade in ("no evidence", "no conclusion"):
        assert "nobody saw" not in verdict_sentence(PLAIN, grade, basis(blind=DIFFERENT))
