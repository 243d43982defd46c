import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import (
    SIMILARITIES,
    Signals,
    average,
    concatenate,
    first_views,
    measure,
    n_pairs,
)

NAMES = ("cosine", "pearson", "euclidean", "norms", "plain_norm")


def embeddings(seed, n_images=3, n_views=5, dim=7):
    """Views that are alike within an image, as real ones are."""
    numbers = np.random.default_rng(seed)
    centres = numbers.normal(size=(n_images, 1, dim))
    views = centres + numbers.normal(scale=0.3, size=(n_images, n_views, dim))
    ids = tuple(f"{number:064x}" for number in range(n_images))
    return Embeddings(
        ids, views.astype(np.float32), numbers.normal(size=(n_images, dim)).astype(np.float32)
    )


def slow(one, other):
    """Cosine, Pearson, minus the distance of the directions: the textbook's sums, one by one."""
    one, other = [float(x) for x in one], [float(x) for x in other]
    dot = math.fsum(x * y for x, y in zip(one, other, strict=True))
    length = math.sqrt(math.fsum(x * x for x in one))
    other_length = math.sqrt(math.fsum(y * y for y in other))
    steps = (x / length - y / other_length for x, y in zip(one, other, strict=True))
    distance = math.sqrt(math.fsum(step * step for step in steps))
    return dot / (length * other_length), stats.pearsonr(one, other).statistic, -distance


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(2, 6), st.integers(2, 40))
@settings(max_examples=40)
def test_every_pair_agrees_with_the_definition(seed, n_images, n_views, dim):
    batch = embeddings(seed, n_images, n_views, dim)
    signals = measure(batch)
    for i in range(n_images):
        pairs = [(a, b) for a in range(n_views) for b in range(a + 1, n_views)]
        assert len(pairs) == n_pairs(n_views) == signals.cosine.shape[1]
        for position, (a, b) in enumerate(pairs):
            got = [signals.pairs(kind)[i, position] for kind in SIMILARITIES]
            expected = slow(batch.views[i, a], batch.views[i, b])
            np.testing.assert_allclose(got, expected, atol=2e-6, rtol=1e-6)


def test_norms_are_euclidean_lengths():
    batch = embeddings(0)
    signals = measure(batch)
    views = [[math.hypot(*map(float, view)) for view in image] for image in batch.views]
    np.testing.assert_allclose(signals.norms, views, rtol=1e-6)
    plain = [math.hypot(*map(float, image)) for image in batch.plain]
    np.testing.assert_allclose(signals.plain_norm, plain, rtol=1e-6)


def test_signals_keep_the_order_of_the_images_and_fit_the_types():
    batch = embeddings(1)
    signals = measure(batch)
    assert signals.image_ids == batch.image_ids
    assert all(getattr(signals, name).dtype == np.float32 for name in NAMES)
    assert [signals.pairs(kind) is getattr(signals, kind) for kind in SIMILARITIES] == [True] * 3


@given(st.integers(0, 2**32), st.floats(1e-6, 1e6))
def test_no_similarity_depends_on_scale(seed, scale):
    batch = embeddings(seed)
    scaled = dataclasses.replace(batch, views=(batch.views * scale).astype(np.float32))
    before, after = measure(batch), measure(scaled)
    np.testing.assert_allclose(after.cosine, before.cosine, atol=2e-6)
    np.testing.assert_allclose(after.pearson, before.pearson, atol=2e-6)
    np.testing.assert_allclose(after.euclidean, before.euclidean, atol=2e-6)
    np.testing.assert_allclose(after.norms, before.norms * scale, rtol=1e-6)


@given(st.integers(0, 2**32), st.floats(-10, 10))
def test_pearson_does_not_depend_on_a_shift(seed, shift):
    batch = embeddings(seed)
    moved = dataclasses.replace(batch, views=(batch.views + shift).astype(np.float32))
    before, after = measure(batch), measure(moved)
    np.testing.assert_allclose(after.pearson, before.pearson, atol=1e-4)


@given(st.integers(0, 2**32), st.permutations(range(5)))
def test_views_in_another_order_give_the_same_pairs_in_another_order(seed, order):
    batch = embeddings(seed)
    other = measure(dataclasses.replace(batch, views=batch.views[:, order]))
    signals = measure(batch)
    place = {pair: k for k, pair in enumerate(zip(*np.triu_indices(5, 1), strict=True))}
    moved = [place[tuple(sorted((order[a], order[b])))] for a, b in place]
    for kind in SIMILARITIES:
        np.testing.assert_allclose(other.pairs(kind), signals.pairs(kind)[:, moved], atol=1e-6)
    np.testing.assert_array_equal(other.norms, signals.norms[:, order])


finite = st.floats(-(2.0**50), 2.0**50, width=32)


@given(arrays(np.float32, (2, 3, 4), elements=finite))
@settings(max_examples=200)
def test_bounds_hold_for_any_embedding_that_is_not_refused(values):
    batch = Embeddings(("a", "b"), values, np.ones((2, 4), np.float32))
    if (np.ptp(values, axis=-1) == 0).any():
        with pytest.raises(ValueError, match="not constant"):
            measure(batch)
        return
    signals = measure(batch)
    for name in ("cosine", "pearson"):
        assert (np.abs(getattr(signals, name)) <= 1).all()
    assert ((signals.euclidean >= -2) & (signals.euclidean <= 0)).all()
    assert (signals.norms > 0).all()


def test_equal_views_are_as_alike_as_can_be():
    batch = embeddings(2)
    equal = dataclasses.replace(batch, views=np.repeat(batch.views[:, :1], 5, axis=1))
    signals = measure(equal)
    np.testing.assert_allclose(signals.cosine, 1, atol=1e-7)
    np.testing.assert_allclose(signals.pearson, 1, atol=1e-7)
    np.testing.assert_array_equal(signals.euclidean, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["views", "plain"])
def test_an_embedding_that_is_not_finite_is_refused(which, value):
    batch = embeddings(3)
    getattr(batch, which)[1, ..., 2] = value
    with pytest.raises(ValueError, match="finite"):
        measure(batch)


@pytest.mark.parametrize("value", [0, 0.1])
def test_an_embedding_that_is_zero_or_constant_is_refused(value):
    batch = embeddings(4)
    batch.views[1, 2] = value
    with pytest.raises(ValueError, match="non-zero and not constant"):
        measure(batch)


def test_a_plain_embedding_may_be_constant_but_not_zero():
    batch = embeddings(4)
    batch.plain[0] = 1
    measure(batch)
    batch.plain[0] = 0
    with pytest.raises(ValueError, match="non-zero"):
        measure(batch)


def test_one_view_makes_no_pair():
    with pytest.raises(ValueError, match="two views, got 1"):
        measure(embeddings(5, n_views=1))


def select(batch, which):
    ids = tuple(np.array(batch.image_ids)[which].tolist())
    return Embeddings(ids, batch.views[which], batch.plain[which])


@given(st.integers(0, 2**32), st.permutations(range(6)), st.integers(1, 5))
def test_an_image_is_measured_alike_in_any_batch(seed, order, cut):
    batch = embeddings(seed, n_images=6, n_views=10, dim=64)
    together = measure(batch)
    first, second = list(order[:cut]), list(order[cut:])
    parts = concatenate([measure(select(batch, first)), measure(select(batch, second))])
    assert parts.image_ids == tuple(batch.image_ids[i] for i in order)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(parts, name), getattr(together, name)[list(order)])


@given(st.integers(0, 2**32), st.integers(0, 4), st.integers(2, 9), st.data())
def test_the_first_views_give_what_they_would_have_given_alone(seed, n_images, n_there, data):
    n_views = data.draw(st.integers(2, n_there))
    batch = embeddings(seed, n_images, n_there)
    alone = measure(dataclasses.replace(batch, views=batch.views[:, :n_views]))
    taken = first_views(measure(batch), n_views)
    assert taken.image_ids == alone.image_ids
    assert taken.cosine.shape == (n_images, n_pairs(n_views))
    for name in NAMES:
        got, expected = getattr(taken, name), getattr(alone, name)
        assert got.shape == expected.shape
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@given(st.integers(2, 12), st.data())
def test_the_pairs_of_the_first_views_are_those_that_name_no_other_view(n_there, data):
    """Numbers that say which pair, or which view, they are: nothing may come from another place."""
    n_views = data.draw(st.integers(2, n_there))
    pairs = [(a, b) for a in range(n_there) for b in range(a + 1, n_there)]
    named = np.array([[100 * image + a + b / 64 for a, b in pairs] for image in (1, 2)], np.float32)
    norms = np.array([[100 * image + a for a in range(n_there)] for image in (1, 2)], np.float32)
    plain = np.array([7, 8], np.float32)
    signals = Signals(("a", "b"), named, named + 1000, named + 2000, norms, plain)
    taken = first_views(signals, n_views)
    kept = [place for place, (a, b) in enumerate(pairs) if a < n_views and b < n_views]
    np.testing.assert_array_equal(taken.cosine, named[:, kept])
    np.testing.assert_array_equal(taken.pearson, named[:, kept] + 1000)
    np.testing.assert_array_equal(taken.euclidean, named[:, kept] + 2000)
    np.testing.assert_array_equal(taken.norms, norms[:, :n_views])
    np.testing.assert_array_equal(taken.plain_norm, plain)
    assert taken.image_ids == ("a", "b")


def test_all_views_are_the_signals_as_they_were():
    signals = measure(embeddings(6))
    for name in NAMES:
        np.testing.assert_array_equal(
            getattr(first_views(signals, 5), name), getattr(signals, name)
        )


@pytest.mark.parametrize("n_views", [-1, 0, 1, 6, 100])
def test_more_views_than_there_are_or_fewer_than_make_a_pair_are_refused(n_views):
    signals = measure(embeddings(7))
    with pytest.raises(ValueError, match=f"cannot take {n_views} of 5 views"):
        first_views(signals, n_views)


def test_batches_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError):
        concatenate([])
    with pytest.raises(ValueError):
        concatenate([measure(embeddings(0)), measure(embeddings(0, n_views=4))])


def test_concatenate_names_no_signal_in_the_place_of_another():
    others = {"image_ids", "captions"}
    names = [field.name for field in dataclasses.fields(Signals) if field.name not in others]
    marked = Signals(("a",), *(np.full((1, 2), k, np.float32) for k in range(len(names))))
    joined = concatenate([marked, marked])
    assert [getattr(joined, name)[1, 0] for name in names] == list(range(len(names)))


def test_no_images_have_no_signals():
    signals = measure(Embeddings((), np.empty((0, 4, 3), np.float32), np.empty((0, 3), np.float32)))
    assert signals.cosine.shape == signals.pearson.shape == signals.euclidean.shape == (0, 6)


def test_the_average_is_that_of_every_similarity_and_of_every_logarithm_of_a_length():
    several = [measure(embeddings(seed)) for seed in (1, 2, 3)]
    got = average(several)
    assert got.image_ids == several[0].image_ids
    for name in NAMES:
        stacked = [getattr(one, name).astype(np.float64).ravel() for one in several]
        if name in ("norms", "plain_norm"):
            expected = [math.prod(lengths) ** (1 / 3) for lengths in zip(*stacked, strict=True)]
        else:
            expected = [math.fsum(some) / 3 for some in zip(*stacked, strict=True)]
        np.testing.assert_allclose(getattr(got, name).ravel(), expected, rtol=1e-5)
        assert getattr(got, name).dtype == np.float32


def test_the_average_of_one_is_that_one():
    only = measure(embeddings(1))
    assert average([only]) is only


def test_an_average_over_other_images_or_views_or_nothing_is_refused():
    others = [measure(embeddings(1, n_images=2)), measure(embeddings(1, n_views=4))]
    for several in ([], [measure(embeddings(1)), others[0]], [measure(embeddings(1)), others[1]]):
        with pytest.raises(ValueError, match="the same images and views"):
            average(several)
