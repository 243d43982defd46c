"""Figures of inferrers on known pictures, against slow second versions and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from clipaudit.results.evaluation import Curve, Histogram, method_figures
from clipaudit.statistics.metrics import fewest_for
from tests.made.audits import INFERRERS
from tests.made.evaluations import evaluation
from tests.made.present import present

FACTS = INFERRERS[0]

SCORES = st.lists(
    st.tuples(st.integers(-5, 5).map(lambda n: n / 4), st.booleans()), min_size=4, max_size=60
).filter(lambda pairs: 2 <= sum(one for _, one in pairs) <= len(pairs) - 2)


def arrays(pairs):
    return np.array([score for score, _ in pairs]), np.array([one for _, one in pairs])


def drawn(n_members=60, n_others=90, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(shift, 1, n_members), rng.normal(0, 1, n_others)])
    return scores, np.arange(n_members + n_others) < n_members


@given(SCORES)
def test_a_histogram_counts_every_picture_in_the_bin_that_holds_it(pairs):
    values, is_member = arrays(pairs)
    found = Histogram.of(values, is_member)
    bins = list(zip(found.edges, found.edges[1:], strict=False))
    for counts, kind in (
        (found.members, values[is_member]),
        (found.nonmembers, values[~is_member]),
    ):
        slow = [
            sum(low <= one < high or (high == found.edges[-1] == one) for one in kind)
            for low, high in bins
        ]
        assert list(counts) == slow
    if values.min() < values.max():
        assert (found.edges[0], found.edges[-1]) == (values.min(), values.max())


def test_a_histogram_has_more_bins_for_more_pictures():
    for n, n_bins in ((20, 10), (400, 20), (5000, 40)):
        assert len(Histogram.of(np.linspace(0, 1, n), np.arange(n) % 2 == 0).members) == n_bins


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_a_histogram_of_no_numbers_is_a_mistake(values):
    with pytest.raises(ValueError, match="finite"):
        Histogram.of(np.array(values), np.zeros(len(values), dtype=bool))


@given(SCORES)
def test_a_thinned_curve_is_the_whole_curve(pairs):
    scores, is_member = arrays(pairs)
    curve = Curve.of(scores, is_member)
    assert (curve.fpr[0], curve.tpr[0]) == (0, 0)
    assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
    fpr, tpr, _ = sklearn.roc_curve(is_member, scores, drop_intermediate=False)
    corners = set(zip(curve.fpr, curve.tpr, strict=True))
    assert corners <= set(zip(fpr.tolist(), tpr.tolist(), strict=True))
    # Every point that was left out lies on the line between its neighbours that were kept.
    for x, y in zip(fpr, tpr, strict=True):
        lies_on = [
            (x - x0) * (y1 - y0) == pytest.approx((y - y0) * (x1 - x0), abs=1e-12)
            for x0, y0, x1, y1 in zip(
                curve.fpr, curve.tpr, curve.fpr[1:], curve.tpr[1:], strict=False
            )
            if x0 <= x <= x1 and y0 <= y <= y1
        ]
        assert any(lies_on)


def test_a_thinned_curve_is_short():
    curve = Curve.of(np.arange(1000.0), np.arange(1000) >= 500)
    assert curve == Curve((0.0, 0.0, 1.0), (0.0, 1.0, 1.0))


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn(seed):
    scores, is_member = drawn(seed=seed)
    called = scores >= FACTS.threshold
    got = method_figures(FACTS, "cifar10", scores, is_member, seed=0).figures
    for ours, theirs in (
        (got.accuracy, sklearn.accuracy_score(is_member, called)),
        (got.precision, sklearn.precision_score(is_member, called)),
        (got.recall, sklearn.recall_score(is_member, called)),
        (got.f1, sklearn.f1_score(is_member, called)),
        (got.fpr, 1 - sklearn.recall_score(is_member, called, pos_label=False)),
        (got.auc, sklearn.roc_auc_score(is_member, scores)),
    ):
        assert present(ours).value == pytest.approx(theirs, abs=1e-12)
        assert present(ours).low <= present(ours).value <= present(ours).high


def test_tpr_at_a_low_fpr_is_that_of_the_whole_curve():
    scores, is_member = drawn(300, 2500)
    got = method_figures(FACTS, "cifar10", scores, is_member, seed=0).figures
    fpr, tpr, _ = sklearn.roc_curve(is_member, scores, drop_intermediate=False)
    for at in got.at_fpr:
        assert present(at.tpr).value == tpr[fpr <= at.fpr].max()
        assert at.held_out is not None


def test_too_few_non_members_make_no_claim_but_say_how_many_it_takes():
    scores, is_member = drawn(300, 250)
    one, tenth = method_figures(FACTS, "cifar10", scores, is_member, seed=0).figures.at_fpr
    assert one.tpr is not None
    assert (tenth.tpr, tenth.n_needed) == (None, 2 * fewest_for(0.001))


def test_figures_do_not_depend_on_the_order_of_the_pictures():
    scores, is_member = drawn(40, 300)
    order = np.random.default_rng(1).permutation(len(scores))
    first = method_figures(FACTS, "cifar10", scores, is_member, seed=3)
    assert first == method_figures(FACTS, "cifar10", scores[order], is_member[order], seed=3)


def test_the_summary_names_both_sides_and_no_best_inferrer():
    summary = evaluation().summary
    assert summary.startswith("On 60 members and 300 non-members, the AUCs of 3 inferrers lie")
    assert not any(one.name in summary for one in INFERRERS)
    assert "confounded" not in summary
    (first, *_) = evaluation().methods
    alone = evaluation(methods=(first,)).summary
    assert f"the AUC of cifar10-v is {first.figures.auc}" in alone
    assert "potential members" in evaluation(label="potential-member").summary
    assert "proves nothing by itself" in evaluation(is_confounded=True).summary
