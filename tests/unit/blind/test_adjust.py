import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clipaudit.blind.adjust import adjusted_auc
from clipaudit.statistics.metrics import auc
from tests.made.delong import delong_variance
from tests.made.present import present


def expit(x):
    return 1 / (1 + np.exp(-x))


def drawn(seed, n=400, confounding=1.0, effect=0.0, noise=1.0):
    """Scores that follow what the blind score sees, and membership by so much.

    The members' blind logits lie higher by `confounding`. Given the blind score, a member outranks
    a non-member with probability Phi(effect / (noise sqrt 2)), whatever the blind score.
    """
    rng = np.random.default_rng(seed)
    is_member = np.arange(n) < n // 2
    logits = rng.normal(size=n) + confounding * (is_member - 0.5)
    scores = logits + noise * rng.normal(size=n) + effect * is_member
    return scores, expit(logits), is_member


@pytest.mark.parametrize(("confounding", "effect"), [(0, 0), (1, 0), (2, 0), (1, 1)])
def test_the_interval_holds_the_truth(confounding, effect):
    truth = stats.norm.cdf(effect / math.sqrt(2))
    found = [adjusted_auc(*drawn(seed, 300, confounding, effect)) for seed in range(150)]
    values = np.array([present(one.adjusted).value for one in found])
    assert abs(values.mean() - truth) < 0.01
    covered = [present(one.adjusted).low <= truth <= present(one.adjusted).high for one in found]
    assert np.mean(covered) > 0.9
    raw = np.mean([one.raw.value for one in found])
    assert raw == pytest.approx(stats.norm.cdf((effect + confounding) / 2), abs=0.01)


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_an_inferrer_that_reads_what_the_blind_classifiers_know_is_left_with_one_half(noise):
    found = [adjusted_auc(*drawn(seed, 600, 2.0, noise=noise)) for seed in range(20)]
    assert np.mean([one.raw.value for one in found]) > 0.9
    assert np.mean([present(one.adjusted).value for one in found]) == pytest.approx(0.5, abs=0.02)


def test_where_the_blind_score_is_one_for_all_nothing_is_adjusted():
    scores, _, is_member = drawn(0, 200)
    found = adjusted_auc(scores, np.full(200, 0.4), is_member)
    plain = auc(scores, is_member)
    assert present(found.adjusted).value == pytest.approx(plain.value)
    assert present(found.adjusted).high - present(found.adjusted).value == pytest.approx(
        stats.t.ppf(0.975, 99) * math.sqrt(delong_variance(scores, is_member))
    )
    assert (found.n_matched, found.n_members, present(found.adjusted).n) == (100, 100, 200)


def slow_adjusted(scores, blind, is_member):
    """Member by member, non-member by non-member."""
    logits = np.log(blind / (1 - blind))
    spread = (logits[is_member].var(ddof=1) + logits[~is_member].var(ddof=1)) / 2
    caliper = 0.3 * math.sqrt(spread)
    shares = []
    for i in np.flatnonzero(is_member):
        sides = []
        for sign in (-1, 1):
            near = [
                1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
                for j in np.flatnonzero(~is_member)
                if 0 <= sign * (logits[j] - logits[i]) <= caliper
            ]
            sides.append(near)
        if min(len(near) for near in sides) >= 3:
            shares.append(np.mean([np.mean(near) for near in sides]))
    return np.mean(shares), len(shares)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(0, 2), st.booleans())
def test_agrees_with_the_definition(seed, confounding, has_ties):
    scores, blind, is_member = drawn(seed, 200, confounding, effect=0.5)
    if has_ties:
        scores, blind = np.round(scores), expit(np.round(np.log(blind / (1 - blind)) * 8) / 8)
    found = adjusted_auc(scores, blind, is_member)
    value, n_matched = slow_adjusted(scores, blind, is_member)
    assert found.n_matched == n_matched
    if found.adjusted is not None:
        assert found.adjusted.value == pytest.approx(value)


def test_the_standard_error_is_that_of_the_bootstrap():
    scores, blind, is_member = drawn(3, 500, 1.0, effect=0.7)
    rng = np.random.default_rng(0)
    members, others = np.flatnonzero(is_member), np.flatnonzero(~is_member)
    values = []
    for _ in range(100):
        picked = np.concatenate(
            [rng.choice(members, len(members)), rng.choice(others, len(others))]
        )
        again = adjusted_auc(scores[picked], blind[picked], is_member[picked])
        values.append(present(again.adjusted).value)
    found = adjusted_auc(scores, blind, is_member)
    assert width(found) / 3.95 == pytest.approx(np.std(values), rel=0.2)


@given(st.integers(0, 2**32))
@settings(max_examples=10)
def test_only_the_order_of_scores_matters_and_not_that_of_pictures(seed):
    scores, blind, is_member = drawn(seed, 200, effect=0.5)
    found = adjusted_auc(scores, blind, is_member)
    assert adjusted_auc(np.exp(scores / 3), blind, is_member) == found
    order = np.random.default_rng(seed).permutation(200)
    shuffled = adjusted_auc(scores[order], blind[order], is_member[order])
    assert shuffled.n_matched == found.n_matched
    assert present(shuffled.adjusted).value == pytest.approx(present(found.adjusted).value)
    assert present(shuffled.adjusted).high == pytest.approx(present(found.adjusted).high)


def test_how_sure_the_blind_classifiers_are_does_not_matter():
    scores, blind, is_member = drawn(5, 300)
    timid = expit(0.2 * np.log(blind / (1 - blind)) - 0.5)
    found = [present(adjusted_auc(scores, one, is_member).adjusted).value for one in (blind, timid)]
    assert found[0] == pytest.approx(found[1])


def test_without_overlap_nothing_can_be_said():
    scores, _, is_member = drawn(0, 400, effect=1.0)
    rng = np.random.default_rng(0)
    told_apart = expit(rng.normal(size=400) + 8 * (is_member - 0.5))
    found = adjusted_auc(scores, told_apart, is_member)
    assert found.adjusted is None
    assert found.n_matched < 20
    assert present(found.reason).startswith(
        f"only {found.n_matched} of 200 members have non-members"
    )
    assert found.sentence() == (
        f"How much of the inferrer's AUC of {found.raw.value:.3f} is left without what the "
        f"pictures give away cannot be said: {found.reason}."
    )


def test_many_members_on_few_non_members_say_nothing():
    rng = np.random.default_rng(0)
    is_member = np.arange(230) < 200
    logits = np.concatenate(
        [rng.normal(0, 0.01, 200), np.linspace(-9, 9, 20), np.tile([-0.1, 0.1], 5)]
    )
    found = adjusted_auc(rng.normal(size=230), expit(logits), is_member)
    assert found.adjusted is None
    assert "non-members look like any member" in present(found.reason)


def test_few_pictures_say_nothing():
    scores, blind, is_member = drawn(0, 38)
    found = adjusted_auc(scores, blind, is_member)
    assert (found.adjusted, found.reason) == (None, "it takes 20 members and 20 non-members")


def test_the_sentence_says_what_is_left_and_of_whom():
    scores, blind, is_member = drawn(0, 400)
    found = adjusted_auc(scores, blind, is_member)
    assert found.sentence() == (
        f"Of the inferrer's AUC of {found.raw.value:.3f}, {found.adjusted} is left among pictures "
        f"that look equally like members ({found.n_matched} of 200 members have such counterparts)."
    )


def width(found):
    adjusted = present(found.adjusted)
    return adjusted.high - adjusted.low


def test_copies_of_the_same_picture_make_nothing_more_certain():
    scores, blind, is_member = drawn(2, 300, effect=0.5)
    once = adjusted_auc(scores, blind, is_member)
    twice = [np.tile(array, 2) for array in (scores, blind, is_member)]
    grouped = adjusted_auc(*twice, groups=list(range(300)) * 2)
    as_they_are = adjusted_auc(*twice)
    assert width(grouped) == pytest.approx(width(once), rel=0.05)
    assert width(as_they_are) < 0.8 * width(once)


def test_a_perfect_inferrer_is_no_certainty():
    _, blind, is_member = drawn(0, 200)
    found = adjusted_auc(1.0 * is_member, blind, is_member).adjusted
    assert present(found).value == present(found).high == 1
    assert present(found).low < 0.999


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda s, b, m: (s[:-1], b, m), "as many"),
        (lambda s, b, m: (s, b[:-1], m), "as many"),
        (lambda s, b, m: (s, b * 3, m), "within 0 and 1"),
        (lambda s, b, m: (s, b * np.nan, m), "within 0 and 1"),
        (lambda s, b, m: (s * np.inf, b, m), "finite"),
        (lambda s, b, m: (s, b, m & False), "two members"),
    ],
)
def test_what_does_not_fit_is_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        adjusted_auc(*broken(*drawn(0, 60)))


def test_groups_must_be_as_many():
    with pytest.raises(ValueError, match="as many"):
        adjusted_auc(*drawn(0, 60), groups=range(59))
