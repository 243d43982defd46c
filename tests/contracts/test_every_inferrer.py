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

from clipaudit.cli.app import main
from clipaudit.errors import InferrerError
from clipaudit.features.caption_signals import COLUMNS, CaptionSignals
from clipaudit.features.signals import Signals
from clipaudit.inferrers import RULES, find_rule, forms
from clipaudit.inferrers.base import Features, Inferrer
from clipaudit.inferrers.library import CARD, TEXT, WEIGHTS, find, load, save
from clipaudit.statistics.metrics import auc
from tests.made.examples import entry, example
from tests.made.inferrers import FORMS, READS, features, form_id, reads_of, trained
from tests.made.score_runs import draw_pictures

N_VIEWS = READS.n_views
PAIRS = list(zip(*np.triu_indices(N_VIEWS, 1), strict=True))
OTHER = {"n_views": 8, "similarity": "pearson", "output": "trunk", "recipe": "encodermi@2"}


every_form = pytest.mark.parametrize("form", FORMS, ids=form_id)


def trained_form(form, seed=0, gap=3.0):
    return trained(form[0], seed, gap, has_reference=form[1])


def rule_and_features(form, *numbers):
    given, is_member = features(*numbers, reads=reads_of(*form))
    return find_rule(form[0]), given, is_member


@pytest.fixture(scope="module", params=FORMS, ids=form_id)
def inferrer(request):
    return trained_form(request.param)


@pytest.fixture
def some(inferrer):
    """Features that it reads, by seed, members, non-members and the gap between them."""
    return lambda *numbers: features(*numbers, reads=inferrer.card.reads)


@pytest.fixture
def folder(inferrer, tmp_path):
    """One of each kind on disk."""
    save(inferrer, tmp_path / inferrer.card.name)
    return tmp_path / inferrer.card.name


def test_members_that_can_be_told_are_told(inferrer, some):
    fresh, is_member = some(1, 200, 200, 3.0)
    scores = inferrer.score(fresh)
    assert scores.shape == (400,)
    assert scores.dtype == np.float64
    assert auc(scores, is_member).low > 0.95
    called = scores >= inferrer.card.threshold
    assert called[is_member].mean() > 0.85
    assert called[~is_member].mean() < 0.15


@every_form
def test_members_that_cannot_be_told_are_not(form):
    fresh, is_member = features(2, 300, 300, 0.0, reads=reads_of(*form))
    estimate = auc(trained_form(form, gap=0.0).score(fresh), is_member)
    assert estimate.low < 0.5 < estimate.high


@every_form
def test_training_again_gives_the_same_bits_and_another_seed_others(form):
    first, again, other = (trained_form(form, seed).rule.arrays() for seed in (0, 0, 1))
    assert first.keys() == again.keys() == other.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not first or any(not np.array_equal(first[name], other[name]) for name in first)


@every_form
def test_training_leaves_the_global_generators_alone(form):
    torch.manual_seed(5)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()
    trained_form(form)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_equal(np.random.get_state(), numpy_before)


@every_form
@pytest.mark.parametrize("everybody", [True, False])
def test_training_needs_members_and_non_members(form, everybody):
    rule, given, _ = rule_and_features(form, 0, 10, 10, 1.0)
    alike = np.full(20, everybody)
    with pytest.raises(ValueError, match="members and non-members"):
        rule.train(given.values, alike, 0).threshold(given.values, alike)


LEARNED = [form for form in FORMS if form[0] in ("V", "S", "combined")]


@pytest.mark.parametrize("form", LEARNED, ids=form_id)
def test_a_rare_kind_of_example_weighs_as_much_as_a_common_one(form):
    rule, given, is_member = rule_and_features(form, 3, 20, 180, 1.5)
    _, fresh, truth = rule_and_features(form, 4, 500, 500, 1.5)
    called = rule.train(given.values, is_member, 0).score(fresh.values) >= 0
    assert called[truth].mean() == pytest.approx(1 - called[~truth].mean(), abs=0.12)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_scores_do_not_depend_on_the_order_of_similarities_or_views(inferrer, some, data):
    if inferrer.card.reads.what != "similarities":
        return  # it reads means over views
    values = some(5, 6, 6, 1.0)[0].values
    before = inferrer.rule.score(values)
    shuffled = values[..., data.draw(st.permutations(range(len(PAIRS))))]
    order = data.draw(st.permutations(range(N_VIEWS)))
    place = {pair: k for k, pair in enumerate(PAIRS)}
    of_views = values[..., [place[tuple(sorted((order[a], order[b])))] for a, b in PAIRS]]
    for moved in (shuffled, of_views):
        np.testing.assert_allclose(inferrer.rule.score(moved), before, rtol=0, atol=1e-12)
        if inferrer.card.kind in ("V", "S"):
            np.testing.assert_array_equal(inferrer.rule.score(moved), before)


def signals_of(generator, n_images, n_views):
    pairs = generator.uniform(-0.9, 0.9, (3, n_images, n_views * (n_views - 1) // 2))
    norms = generator.uniform(0.5, 3, (n_images, n_views + 1))
    ids = tuple(f"{number:064x}" for number in range(n_images))
    cosine, pearson, euclidean = pairs.astype("f4")
    columns = generator.uniform(0.1, 0.9, (len(COLUMNS), n_images)).astype("f4")
    return Signals(
        ids,
        cosine,
        pearson,
        euclidean,
        norms[:, 1:].astype("f4"),
        norms[:, 0].astype("f4"),
        captions=CaptionSignals(ids, *columns),
    )


def test_it_reads_of_all_signals_what_its_card_says(inferrer):
    target, reference = (signals_of(np.random.default_rng(seed), 7, N_VIEWS) for seed in (0, 1))
    reads = inferrer.card.reads
    both = [target, reference] if reads.has_reference else [target]
    expected = np.array([[seen_of(one, image, reads) for one in both] for image in range(7)])
    got = Features.of(target, reads, reference if reads.has_reference else None)
    np.testing.assert_allclose(got.values, expected.reshape(7, *reads.shape), atol=1e-6)
    assert got.values.dtype == np.float32
    assert inferrer.score(got).shape == (7,)


def seen_of(signals, image, reads):
    """What an inferrer reads of one encoder and one image, number by number."""
    pairs = list(signals.cosine[image])
    if reads.what == "similarities":
        return pairs
    plain = np.log(float(signals.plain_norm[image]))
    if reads.what == "norm":
        return [plain]
    if reads.reads_captions:
        seen = signals.captions
        loss = float(seen.loss[image])
        if reads.what == "caption-loss":
            return [-loss]
        text = np.log(float(seen.text_norm[image]))
        return [float(seen.cosine[image]), loss, float(seen.gradient[image]), text, plain]
    views = [np.log(float(length)) for length in signals.norms[image]]
    return [sum(pairs) / len(pairs), sum(views) / len(views), plain]


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_a_score_does_not_depend_on_the_other_pictures(inferrer, some, data):
    values = some(6, 300, 300, 1.0)[0].values
    together = inferrer.rule.score(values)
    few = data.draw(st.lists(st.integers(0, 599), min_size=1, max_size=20))
    np.testing.assert_allclose(inferrer.rule.score(values[few]), together[few], atol=1e-4)


def test_no_pictures_have_no_scores(inferrer):
    reads = inferrer.card.reads
    none = Features((), np.empty((0, *reads.shape), np.float32), reads)
    assert inferrer.score(none).shape == (0,)


def test_scoring_leaves_the_features_alone(inferrer, some):
    given, _ = some(7, 5, 5, 1.0)
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
    """V and S as the paper draws them, with the weights that were saved; with a reference too."""
    arrays = inferrer.rule.arrays()
    x = torch.from_numpy(values).reshape(len(values), -1, len(PAIRS))  # 1 or 2 encoders
    scaling = [torch.tensor(arrays[name]).reshape(1, -1, 1) for name in ("centre", "spread")]
    scaled = ((x - scaling[0]) / scaling[1]).swapaxes(1, 2)  # image, pair of views, encoder
    n_encoders = x.shape[1]
    if inferrer.card.kind == "V":
        net, shapes = dense(arrays, "layers")
        assert shapes == [(256, n_encoders * len(PAIRS)), (256, 256), (1, 256)]
        ranked = [sorted(map(tuple, image.tolist()), reverse=True) for image in scaled]
        return net(torch.tensor(ranked).swapaxes(1, 2).flatten(1))[:, 0]
    element, shapes = dense(arrays, "element")
    pooled, more_shapes = dense(arrays, "pooled")
    assert shapes[0] == (64, n_encoders)
    assert all(n_in == n_out for (n_out, _), (_, n_in) in pairwise(shapes + more_shapes))
    return pooled(torch.stack([element(scaled[:, k]) for k in range(len(PAIRS))]).mean(0))[:, 0]


def by_hand(inferrer, image):
    """The score of one image by the others, number by number."""
    arrays, kind = inferrer.rule.arrays(), inferrer.card.kind
    target, *reference = image if image.ndim == 2 else [image]
    means = [sum(map(float, some)) / len(some) for some in (target, *reference)]
    if kind == "adjusted":
        at_zero, slope = map(float, arrays["line"])
        return means[0] - at_zero - slope * means[1]
    if kind in ("combined", "caption", "fine-tune"):
        products = map(float.__mul__, image.ravel().tolist(), arrays["weight"].ravel().tolist())
        return float(arrays["bias"][0]) + sum(products)
    return means[0] - sum(means[1:])  # T, difference, norm and caption-loss


def test_it_computes_what_it_says_it_does(inferrer, some):
    values = some(8, 150, 150, 1.0)[0].values
    got = inferrer.rule.score(values)
    if inferrer.card.kind in ("V", "S"):
        with torch.no_grad():
            np.testing.assert_allclose(got, in_torch(inferrer, values).numpy(), atol=1e-4)
    else:
        np.testing.assert_allclose(got, [by_hand(inferrer, image) for image in values], rtol=1e-6)


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", OTHER)
def test_features_of_another_kind_are_refused_with_what_to_do(inferrer, some, what):
    given, _ = some(0, 2, 2, 1.0)
    other = dataclasses.replace(inferrer.card.reads, **{what: OTHER[what]})
    if what == "recipe" and not inferrer.card.reads.reads_views:
        inferrer.check(other)  # it reads no view, whatever the recipe
        return
    with pytest.raises(InferrerError) as caught:
        inferrer.score(dataclasses.replace(given, made_by=other))
    said = f"{caught.value} {caught.value.hint}"
    assert inferrer.card.name in said
    assert str(getattr(inferrer.card.reads, what)) in said
    assert str(OTHER[what]) in said
    assert caught.value.exit_code == 5
    todo = {
        "n_views": f"--views {inferrer.card.reads.n_views}",
        "similarity": "--similarity cosine",
        "output": "--output embedding",
        "recipe": "clipaudit train",
    }
    assert todo[what] in caught.value.hint
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_who_reads_a_reference_says_so_where_there_is_none(inferrer, some):
    given, _ = some(0, 2, 2, 1.0)
    without = dataclasses.replace(inferrer.card.reads, has_reference=False)
    if not inferrer.card.reads.has_reference:
        with pytest.raises(InferrerError, match=r"without a reference, got .* with a reference"):
            inferrer.check(dataclasses.replace(without, has_reference=True))
        return
    with pytest.raises(InferrerError, match="a reference encoder too") as caught:
        inferrer.score(dataclasses.replace(given, made_by=without))
    assert "Pass --reference" in caught.value.hint
    assert inferrer.card.name in str(caught.value)


@pytest.mark.parametrize("reference", [None, "of other images"])
def test_features_with_a_reference_need_one_of_the_same_images(reference):
    generator = np.random.default_rng(0)
    target, other = signals_of(generator, 3, N_VIEWS), signals_of(generator, 4, N_VIEWS)
    with pytest.raises(ValueError, match="the very same images"):
        Features.of(target, reads_of("difference", True), other if reference else None)


# --- on disk -------------------------------------------------------------------------------------


def test_what_is_loaded_scores_bit_by_bit_as_what_was_saved(inferrer, some, folder):
    given, _ = some(9, 100, 100, 1.0)
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


ANY_NUMBER = {"S", "T", "difference", "adjusted", "combined"}
"""Those that take sets of any size: their weights fit any number of views; `check` compares."""


@pytest.mark.parametrize("n_views", [0, 1, 5, 7, 10**9])
def test_weights_for_another_number_of_views_are_noticed(folder, n_views):
    kind = load(folder).card.kind
    edited(folder, lambda card: card["reads"].update(n_views=n_views))
    if (kind in ANY_NUMBER and n_views in (5, 7)) or (
        n_views == 0 and not reads_of(kind).reads_views
    ):
        load(folder)
    else:
        broken(folder)


WEIGHTLESS = {"T", "norm", "difference", "caption-loss"}


@pytest.mark.parametrize("other", RULES)
def test_weights_of_another_kind_are_noticed(folder, other):
    reads = load(folder).card.reads
    kind = load(folder).card.kind
    edited(folder, lambda card: card.update(kind=other))
    reads_the_same = reads.what == reads_of(other).what
    exists = reads.has_reference in forms(other, has_reference=True)
    is_of_one_shape = other in WEIGHTLESS or {kind, other} == {"caption", "fine-tune"}
    if other == kind or (is_of_one_shape and reads_the_same and exists):
        load(folder)  # it has no weights that could be wrong
    else:
        broken(folder)


@pytest.mark.parametrize("what", ["similarities", "norm", "summary"])
@pytest.mark.parametrize("has_reference", [False, True])
def test_what_it_reads_cannot_be_another_than_that_of_its_kind(folder, what, has_reference):
    reads = load(folder).card.reads
    changed = {"what": what, "has_reference": has_reference, "n_views": 6 * (what != "norm")}
    edited(folder, lambda card: card["reads"].update(changed))
    kind = load_or_none(folder)
    if (what, has_reference) == (reads.what, reads.has_reference):
        assert kind is not None
    elif kind is not None:  # norm has no weights, so it is one with a reference just as well
        assert (kind, what) == ("norm", "norm")


def load_or_none(folder):
    try:
        return load(folder).card.kind
    except InferrerError:
        return None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_give_no_number_are_noticed(inferrer, tmp_path, value):
    arrays = {name: np.full_like(array, value) for name, array in inferrer.rule.arrays().items()}
    rule = find_rule(inferrer.card.kind).from_arrays(arrays)
    save(Inferrer(inferrer.card, rule), tmp_path)
    if arrays:
        broken(tmp_path)


def test_saving_again_replaces_all_of_it(inferrer, folder):
    other = dataclasses.replace(inferrer.card, threshold=7.5)
    form = inferrer.card.kind, inferrer.card.reads.has_reference
    save(Inferrer(other, trained_form(form, seed=1).rule), folder)
    assert load(folder).card.threshold == 7.5
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, TEXT, WEIGHTS])


# --- a kind that is added ------------------------------------------------------------------------


def test_a_new_kind_is_one_module_and_one_line(tmp_path, monkeypatch, capsys):
    kind, rule = entry(example("inferrer").install(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(RULES, kind, rule)
    pictures = draw_pictures(tmp_path / "pictures", 30)[0].parent

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        assert not ended.value.code
        return capsys.readouterr().out

    size = ["--members", 10, "--nonmembers", 10, "--size", 16, "--views", 4]
    how = ["--architecture", "resnet-tiny", "--epochs", 1, "--batch-size", 5, "--device", "cpu"]
    kinds = ["--kind", "largest", "--encoder-output", "embedding", "--data-name", "toy"]
    run("train", pictures, "-o", tmp_path / "run", *size, *how, *kinds)
    folder = tmp_path / "run/inferrers/toy-largest"
    assert "The largest similarity, compared with a threshold. Input:" in run(
        "inferrers", "show", folder
    )
    scored = json.loads(
        run(
            *("score", pictures, "--encoder", f"shadow:{tmp_path / 'run'}", "--views", 4),
            *("--inferrer", folder, "--format", "json"),
        )
    )
    assert scored["summary"]["n_scored"] == 30
    assert scored["run"]["inferrers"][0]["kind"] == "largest"
