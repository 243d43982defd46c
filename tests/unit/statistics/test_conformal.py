import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipaudit.statistics.calibration import Calibration, KnownScores, ScoredBy, needed
from clipaudit.statistics.conformal import Levels, Verdict, decide, p_values

BY = ScoredBy("e" * 64, "cifar10-t", "f" * 64, "encodermi@1", 10, "cosine")
USUAL = Levels()
FEW = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8).map(np.array)


def names(prefix, n):
    return [f"{prefix}{i}" for i in range(n)]


def calibrated(null, members=None, seed=0):
    known = None if members is None else KnownScores.of(names("m", len(members)), members)
    return Calibration(BY, seed, KnownScores.of(names("n", len(null)), null), known)


def decided(calibration, scores, levels=USUAL, prefix="x"):
    return decide(calibration, names(prefix, len(scores)), np.asarray(scores), levels)


# p-values


@given(FEW, FEW, st.integers(0, 99))
def test_a_p_value_is_a_count(null, scores, seed):
    """Without ties that of the definition; with ties, one of those that the lot could give."""
    known = KnownScores.of(names("n", len(null)), null)
    p = p_values(known, names("x", len(scores)), scores, seed)
    for one, score in zip(p, scores, strict=True):
        above, at = int((null > score).sum()), int((null == score).sum())
        possible = [(1 + above + lost) / (1 + len(null)) for lost in range(at + 1)]
        assert one in possible


@pytest.mark.parametrize("levels", [None, 1, 0])
def test_p_values_of_non_members_are_uniform_whatever_the_ties(levels):
    numbers = np.random.default_rng(3)
    p = []
    for i in range(400):
        scores = numbers.normal(size=24)
        scores = scores if levels is None else np.round(scores * levels)
        ids = [f"{i}/{j}" for j in range(24)]
        known = KnownScores.of(ids[:19], scores[:19])
        p += p_values(known, ids[19:], scores[19:], i).tolist()
    counts = np.bincount(np.rint(np.array(p) * 20).astype(int), minlength=21)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 0.01


def test_the_lot_of_a_tie_hangs_on_the_seed_and_the_picture_alone():
    null = KnownScores.of(names("n", 99), np.zeros(99))
    ids, scores = names("x", 50), np.zeros(50)
    p = p_values(null, ids, scores, 0)
    assert len(set(p)) > 20
    order = np.random.default_rng(0).permutation(50)
    assert (p_values(null, [ids[i] for i in order], scores[order], 0) == p[order]).all()
    assert p_values(null, ids[7:8], scores[7:8], 0) == p[7]
    turned = KnownScores(null.image_ids[::-1], null.scores[::-1])
    assert (p_values(turned, ids, scores, 0) == p).all()
    assert (p_values(null, ids, scores, 1) != p).mean() > 0.8


def test_ties_are_decided_as_if_every_picture_had_drawn_one_lot():
    """So that p-values which share a null sample depend on each other as the theory needs it."""
    null = KnownScores.of(names("n", 9), np.zeros(9))
    alone = np.array([p_values(null, [f"x{i}"], np.zeros(1), 0)[0] for i in range(500)])
    duels = np.array(
        [
            [
                p_values(KnownScores((one,), (0.0,)), [f"x{i}"], np.zeros(1), 0)[0] == 1
                for one in null.image_ids
            ]
            for i in range(500)
        ]
    )
    np.testing.assert_allclose(alone, (1 + duels.sum(axis=1)) / 10)


@pytest.mark.parametrize(
    ("ids", "scores"), [(["a"], [math.nan]), (["a"], [math.inf]), (["a"], [1.0, 2.0]), (["a"], [])]
)
def test_p_values_need_one_finite_score_a_picture(ids, scores):
    with pytest.raises(ValueError, match="one finite score per picture"):
        p_values(KnownScores(("n",), (0.0,)), ids, np.array(scores), 0)


# The folder


def slow_benjamini_hochberg(p, fdr):
    """The step-up rule, as it is written down: the largest k with p_(k) <= k fdr / n."""
    ranked = sorted(p)
    fitting = [k for k in range(1, len(p) + 1) if ranked[k - 1] <= k * fdr / len(p) + 1e-12]
    return [one <= (ranked[fitting[-1] - 1] if fitting else -1) for one in p]


@given(st.integers(0, 1000), st.integers(1, 60), st.sampled_from([0.05, 0.2, 0.5]))
def test_pictures_are_picked_by_benjamini_and_hochbergs_rule(seed, n, fdr):
    numbers = np.random.default_rng(seed)
    null, scores = numbers.normal(size=199), numbers.normal(1.0, 1.5, size=n)
    found = decided(calibrated(null), scores, Levels(fdr=fdr))
    assert [one.picked for one in found] == slow_benjamini_hochberg([one.p for one in found], fdr)
    for one in found:
        assert one.p <= one.q <= 1


@pytest.mark.parametrize("n_members", [0, 5, 25])
def test_the_share_of_non_members_among_the_picked_is_bounded(n_members):
    numbers = np.random.default_rng(n_members)
    wrong, found = [], []
    for i in range(400):
        scores = np.concatenate([numbers.normal(3.5, size=n_members), numbers.normal(size=25)])
        picked = np.array(
            [one.picked for one in decided(calibrated(numbers.normal(size=400), seed=i), scores)]
        )
        wrong.append(picked[n_members:].sum() / max(1, picked.sum()))
        found.append(picked[:n_members].sum())
    assert np.mean(wrong) < 0.1 + 2.6 * np.std(wrong) / 20
    assert np.mean(found) >= 0.5 * n_members


def test_a_picture_that_lies_in_the_folder_twice_counts_once():
    null = np.random.default_rng(0).normal(size=199)
    once = decide(calibrated(null), ["a", "b", "c"], np.array([2.0, 0.1, -1]), USUAL)
    copies = ["a", "b", "a", "c", "a"]
    twice = decide(calibrated(null), copies, np.array([2.0, 0.1, 2, -1, 2]), USUAL)
    assert [twice[i] for i in (0, 1, 3)] == list(once)
    assert twice[0] == twice[2] == twice[4]


def test_a_picture_of_the_calibration_gets_no_verdict_and_counts_for_nothing():
    calibration = calibrated(np.random.default_rng(0).normal(size=199), np.array([9.0, 8]))
    alone = decide(calibration, ["a", "b"], np.array([2.5, 0.0]), USUAL)
    ids = ["n3", "a", "m1", "b"]
    found = decide(calibration, ids, np.array([99.0, 2.5, 99, 0.0]), USUAL)
    assert (found[1], found[3]) == alone
    for one in (found[0], found[2]):
        assert (one.verdict, one.reason, one.q, one.picked) == (
            "can't tell",
            "known already",
            1.0,
            False,
        )
    assert [one.picked for one in decide(calibration, ["n3"], np.array([99.0]), USUAL)] == [False]


def test_an_empty_folder_has_no_decisions():
    assert decided(calibrated(np.zeros(9)), []) == ()


def test_one_picture_has_one_score():
    with pytest.raises(ValueError, match="a picture has two scores"):
        decide(calibrated(np.zeros(9)), ["a", "a"], np.array([1.0, 2.0]), USUAL)


@given(st.integers(0, 1000))
def test_decisions_do_not_depend_on_the_order_of_the_folder(seed):
    numbers = np.random.default_rng(seed)
    calibration = calibrated(
        numbers.integers(0, 5, 60).astype(float), numbers.integers(3, 8, 30).astype(float)
    )
    ids, scores = names("x", 20), numbers.integers(0, 8, 20).astype(float)
    found = decide(calibration, ids, scores, USUAL)
    order = numbers.permutation(20)
    again = decide(calibration, [ids[i] for i in order], scores[order], USUAL)
    assert again == tuple(found[i] for i in order)
    assert [one.image_id for one in found] == ids
    assert [one.score for one in found] == scores.tolist()


# One picture


def test_every_verdict_has_its_reason():
    null, members = np.linspace(0, 1, 199), np.linspace(0.5, 2, 99)
    levels = Levels(fpr=0.01, fnr=0.05)
    cases = {
        1.5: ("member", "unlike non-members"),
        0.2: ("non-member", "unlike members"),
        0.52: ("non-member", "unlike members"),
        0.8: ("can't tell", "like both"),
    }
    found = decided(calibrated(null, members), list(cases), levels)
    assert [(one.verdict, one.reason) for one in found] == list(cases.values())
    assert levels.fpr < found[2].p_member <= levels.fnr

    (between,) = decided(calibrated(null, members + 5), [3.0], levels)
    assert (between.verdict, between.reason) == ("can't tell", "like neither")

    high, low = decided(calibrated(null), [1.5, 0.2], levels)
    assert (high.verdict, high.p_member) == ("member", None)
    assert (low.verdict, low.reason) == ("can't tell", "no known members")

    (coarse,) = decided(calibrated(null[:98], members), [0.7], levels)
    assert (coarse.verdict, coarse.reason) == ("can't tell", "too few non-members")
    (coarse,) = decided(calibrated(null, members[:18]), [0.2], levels)
    assert (coarse.verdict, coarse.reason) == ("can't tell", "too few members")


def test_with_fewer_non_members_than_needed_nothing_is_called_a_member():
    least = needed(0.01)
    for n, verdict in [(least, "member"), (least - 1, "can't tell")]:
        (one,) = decided(calibrated(np.zeros(n)), [5.0])
        assert one.p == pytest.approx(1 / (n + 1))
        assert one.verdict == verdict


@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0, 12.0])
def test_wrong_verdicts_are_as_rare_as_stated(gap):
    numbers = np.random.default_rng(int(gap))
    levels = Levels(fpr=0.05, fnr=0.1)
    verdicts: dict[bool, list[Verdict]] = {True: [], False: []}
    for i in range(300):
        known = calibrated(numbers.normal(size=60), numbers.normal(gap, size=40), seed=i)
        for is_member in (True, False):
            scores = numbers.normal(gap * is_member, size=10)
            found = decided(known, scores, levels, prefix=f"{is_member}{i}/")
            verdicts[is_member] += [one.verdict for one in found]
    accused = np.mean([verdict == "member" for verdict in verdicts[False]])
    missed = np.mean([verdict == "non-member" for verdict in verdicts[True]])
    # And 2.8 standard errors of a mean over 300 calibrations.
    assert accused <= 0.05 + 0.012
    assert missed <= 0.1 + 0.017
    right = np.mean([verdict == "member" for verdict in verdicts[True]])
    if gap == 0:
        assert right < 0.06
        undecided = [verdict == "can't tell" for verdict in itertools.chain(*verdicts.values())]
        assert np.mean(undecided) > 0.8
    if gap == 4:
        assert right > 0.85


def test_a_blind_inferrer_never_clears_a_picture_without_known_members():
    numbers = np.random.default_rng(0)
    found = decided(calibrated(numbers.normal(size=500)), numbers.normal(-3.0, size=100))
    assert all(one.p > 0.5 for one in found)
    assert {one.verdict for one in found} == {"can't tell"}


def test_p_member_is_p_turned_upside_down():
    numbers = np.random.default_rng(2)
    null, members, scores = numbers.normal(size=30), numbers.normal(size=25), numbers.normal(size=9)
    found = decided(calibrated(null, members), scores)
    expected = [(1 + (members <= score).sum()) / 26 for score in scores]
    assert [one.p_member for one in found] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["fpr", "fnr", "fdr"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.nan])
def test_levels_lie_between_0_and_1(name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0 and below 1"):
        dataclasses.replace(USUAL, **{name: value})
