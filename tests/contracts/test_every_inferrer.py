"""What holds for every kind of inferrer, whatever is inside."""

import dataclasses
import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import InferrerError
from clipaudit.inferrers import KINDS, Features, Inferrer, find, load, save
from clipaudit.inferrers.library import CARD, RULES, TEXT, WEIGHTS
from clipaudit.metrics import auc
from tests.unit.inferrers.examples import READS, features, trained

N_VIEWS = READS.n_views
PAIRS = list(zip(*np.triu_indices(N_VIEWS, 1), strict=True))
OTHER = {"n_views": 8, "similarity": "pearson", "output": "trunk", "recipe": "encodermi@2"}


@pytest.fixture(scope="module", params=KINDS)
def inferrer(request):
    return trained(RULES, request.param)


@pytest.fixture
def folder(inferrer, tmp_path):
    """One of each kind on disk."""
    save(inferrer, tmp_path / inferrer.card.name)
    return tmp_path / inferrer.card.name


def test_there_is_a_rule_for_every_kind():
    assert set(RULES) == set(KINDS)


def test_members_that_can_be_told_are_told(inferrer):
    fresh, is_member = features(1, 200, 200, gap=3.0)
    scores = inferrer.score(fresh)
    assert scores.shape == (400,)
    assert scores.dtype == np.float64
    assert auc(scores, is_member).low > 0.95
    called = scores >= inferrer.card.threshold
    assert called[is_member].mean() > 0.85
    assert called[~is_member].mean() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_cannot_be_told_are_not(kind):
    fresh, is_member = features(2, 300, 300, gap=0.0)
    estimate = auc(trained(RULES, kind, gap=0.0).score(fresh), is_member)
    assert estimate.low < 0.5 < estimate.high


@pytest.mark.parametrize("kind", KINDS)
def test_training_again_gives_the_same_bits_and_another_seed_others(kind):
    first, again, other = (trained(RULES, kind, seed).rule.arrays() for seed in (0, 0, 1))
    assert first.keys() == again.keys() == other.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not first or any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_training_leaves_the_global_generators_alone(kind):
    torch.manual_seed(5)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()
    trained(RULES, kind)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_equal(np.random.get_state(), numpy_before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("everybody", [True, False])
def test_training_needs_members_and_non_members(kind, everybody):
    given, _ = features(0, 10, 10, gap=1.0)
    alike = np.full(20, everybody)
    with pytest.raises(ValueError, match="members and non-members"):
        RULES[kind].train(given.values, alike, 0).threshold(given.values, alike)


@pytest.mark.parametrize("kind", ["V", "S"])
def test_a_rare_kind_of_example_weighs_as_much_as_a_common_one(kind):
    given, is_member = features(3, 20, 180, gap=1.5)
    fresh, truth = features(4, 500, 500, gap=1.5)
    called = RULES[kind].train(given.values, is_member, 0).score(fresh.values) >= 0
    assert called[truth].mean() == pytest.approx(1 - called[~truth].mean(), abs=0.12)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_scores_do_not_depend_on_the_order_of_similarities_or_views(inferrer, data):
    given_features, _ = features(5, 6, 6, gap=1.0)
    values = given_features.values
    before = inferrer.rule.score(values)
    shuffled = values[:, data.draw(st.permutations(range(len(PAIRS))))]
    order = data.draw(st.permutations(range(N_VIEWS)))
    place = {pair: k for k, pair in enumerate(PAIRS)}
    of_views = values[:, [place[tuple(sorted((order[a], order[b])))] for a, b in PAIRS]]
    for moved in (shuffled, of_views):
        np.testing.assert_allclose(inferrer.rule.score(moved), before, rtol=0, atol=1e-12)
        if inferrer.card.kind != "T":
            np.testing.assert_array_equal(inferrer.rule.score(moved), before)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_a_score_does_not_depend_on_the_other_pictures(inferrer, data):
    values = features(6, 300, 300, gap=1.0)[0].values
    together = inferrer.rule.score(values)
    some = data.draw(st.lists(st.integers(0, 599), min_size=1, max_size=20))
    np.testing.assert_allclose(inferrer.rule.score(values[some]), together[some], atol=1e-4)


def test_no_pictures_have_no_scores(inferrer):
    none = Features((), np.empty((0, len(PAIRS)), np.float32), READS)
    assert inferrer.score(none).shape == (0,)


def test_scoring_leaves_the_features_alone(inferrer):
    given, _ = features(7, 5, 5, gap=1.0)
    before = given.values.copy()
    inferrer.score(given)
    np.testing.assert_array_equal(given.values, before)


# --- the second version, in torch ----------------------------------------------------------------


def dense(arrays, prefix):
    weights = [value for name, value in sorted(arrays.items()) if name.startswith(f"{prefix}.")]
    layers = []
    for bias, weight in zip(weights[::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(*reversed(weight.shape))
        linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]), [weight.shape for weight in weights[1::2]]


def in_torch(inferrer, values):
    """V, S and T as the paper draws them, with the weights that were saved."""
    x, arrays = torch.from_numpy(values), inferrer.rule.arrays()
    if inferrer.card.kind == "T":
        return x.double().mean(1)
    x = (x - float(arrays["centre"][0])) / float(arrays["spread"][0])
    if inferrer.card.kind == "V":
        net, shapes = dense(arrays, "layers")
        assert shapes == [(256, len(PAIRS)), (256, 256), (1, 256)]
        return net(x.sort(dim=1, descending=True).values)[:, 0]
    element, shapes = dense(arrays, "element")
    pooled, more_shapes = dense(arrays, "pooled")
    assert all(n_in == n_out for (n_out, _), (_, n_in) in pairwise(shapes + more_shapes))
    per_element = [element(x[:, k : k + 1]) for k in range(x.shape[1])]
    return pooled(torch.stack(per_element).mean(0))[:, 0]


def test_numpy_gives_what_torch_gives_on_the_same_weights(inferrer):
    values = features(8, 150, 150, gap=1.0)[0].values
    with torch.no_grad():
        expected = in_torch(inferrer, values).numpy()
    np.testing.assert_allclose(inferrer.rule.score(values), expected, atol=1e-4)


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", OTHER)
def test_features_of_another_kind_are_refused_with_what_to_do(inferrer, what):
    given, _ = features(0, 2, 2, gap=1.0)
    other = dataclasses.replace(READS, **{what: OTHER[what]})
    with pytest.raises(InferrerError) as caught:
        inferrer.score(dataclasses.replace(given, made_by=other))
    said = f"{caught.value} {caught.value.hint}"
    assert inferrer.card.name in said
    assert str(getattr(READS, what)) in said
    assert str(OTHER[what]) in said
    assert caught.value.exit_code == 5
    todo = {
        "n_views": "--views 6",
        "similarity": "--similarity cosine",
        "output": "--output embedding",
        "recipe": "clipaudit train",
    }
    assert todo[what] in caught.value.hint
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# --- on disk -------------------------------------------------------------------------------------


def test_what_is_loaded_scores_bit_by_bit_as_what_was_saved(inferrer, folder):
    given, _ = features(9, 100, 100, gap=1.0)
    loaded = load(folder)
    np.testing.assert_array_equal(loaded.score(given), inferrer.score(given))
    assert loaded.card.threshold == inferrer.card.threshold


def test_a_card_comes_back_as_it_was(inferrer, tmp_path):
    odd = dataclasses.replace(
        inferrer.card,
        threshold=0.1 + 0.2,
        name="größer-v",
        seed=2**70,
        command="clipaudit train 'my \"pictures\"' -o runs/ü",
    )
    saved = save(Inferrer(odd, inferrer.rule), tmp_path)
    assert load(tmp_path).card == saved.card
    assert dataclasses.replace(saved.card, weights_sha256="") == odd


def test_it_is_found_by_its_folder_and_by_each_of_its_files(inferrer, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in (folder, folder / CARD, folder / WEIGHTS, folder.name, f"./{folder.name}/"):
        assert find(str(name)).card.name == inferrer.card.name


def broken(folder):
    with pytest.raises(InferrerError) as caught:
        load(folder)
    assert str(folder) in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint
    return str(caught.value)


def test_one_changed_byte_of_the_weights_is_noticed(folder):
    weights = (folder / WEIGHTS).read_bytes()
    for position in {0, len(weights) // 2, len(weights) - 1}:
        changed = bytearray(weights)
        changed[position] ^= 1
        (folder / WEIGHTS).write_bytes(changed)
        assert "not those that its card names" in broken(folder)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_or_empty_file_is_an_error_of_ours(folder, name):
    (folder / name).write_bytes(b"")
    broken(folder)
    (folder / name).unlink()
    assert "No such file" in broken(folder)


def test_the_card_for_people_is_not_needed(folder):
    (folder / TEXT).unlink()
    load(folder)


def edited(folder, change):
    document = json.loads((folder / CARD).read_text())
    change(document)
    (folder / CARD).write_text(json.dumps(document))


@pytest.mark.parametrize("n_views", [0, 1, 5, 7, 10**9])
def test_weights_for_another_number_of_views_are_noticed(folder, n_views):
    kind = load(folder).card.kind
    edited(folder, lambda card: card["reads"].update(n_views=n_views))
    if kind != "V" and n_views in (5, 7):
        load(folder)  # S and T take sets of any size; `check` compares the card
    else:
        broken(folder)


@pytest.mark.parametrize("other", KINDS)
def test_weights_of_another_kind_are_noticed(folder, other):
    kind = load(folder).card.kind
    edited(folder, lambda card: card.update(kind=other))
    if other in (kind, "T"):
        load(folder)  # T has no weights that could be wrong
    else:
        broken(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_give_no_number_are_noticed(inferrer, tmp_path, value):
    arrays = {name: np.full_like(array, value) for name, array in inferrer.rule.arrays().items()}
    rule = RULES[inferrer.card.kind].from_arrays(arrays)
    save(Inferrer(inferrer.card, rule), tmp_path)
    if arrays:
        broken(tmp_path)


def test_saving_again_replaces_all_of_it(inferrer, folder):
    other = dataclasses.replace(inferrer.card, threshold=7.5)
    save(Inferrer(other, trained(RULES, inferrer.card.kind, seed=1).rule), folder)
    assert load(folder).card.threshold == 7.5
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, TEXT, WEIGHTS])
