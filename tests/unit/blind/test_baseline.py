import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clipaudit.blind.baseline import MIN_OF_EACH, blind_baseline
from clipaudit.pictures.base import Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.image_statistics import STATISTICS, image_statistics
from clipaudit.pictures.random_embedding import random_embedding

NAMES = [one.name for one in STATISTICS]
WIDTH = len(STATISTICS)


def drawn(seed, n_members=40, n_others=40):
    """Statistics that say nothing, and memberships in no order."""
    rng = np.random.default_rng(seed)
    n = n_members + n_others
    return rng.normal(size=(n, WIDTH)), rng.permutation(n) < n_members, rng


def column(name):
    return NAMES.index(name)


def same(one, other):
    return (one.overall, one.by_classifier, one.telling) == (
        other.overall,
        other.by_classifier,
        other.telling,
    )


# --- what it finds -------------------------------------------------------------------------------


def test_one_statistic_that_differs_is_found_and_named():
    values, is_member, _ = drawn(0)
    values[is_member, column("file_size")] += 4
    found = blind_baseline(values, is_member)
    assert found.is_confounded
    assert found.overall.value > 0.9
    first = found.telling[0]
    assert (first.name, first.words) == ("file_size", "the file size")
    assert first.is_higher_in_members
    assert first.share_right > 0.9
    assert found.sentence() == (
        f"Confounded: without the encoder, classifiers tell members from non-members: AUC "
        f"{found.overall}, most of all by the file size. What an inferrer says of them proves "
        "nothing by itself."
    )


def test_the_share_that_one_threshold_gets_right_is_what_a_search_finds():
    values, is_member, _ = drawn(1)
    values[~is_member, 7] += 2
    (first, *_) = blind_baseline(values, is_member).telling
    shares = [
        ((values[is_member, 7] < cut).mean() + (values[~is_member, 7] >= cut).mean()) / 2
        for cut in values[:, 7]
    ]
    assert first.name == NAMES[7]
    assert not first.is_higher_in_members
    assert first.share_right == pytest.approx(max(shares))


def test_what_lies_between_is_found_by_trees():
    values, is_member, _ = drawn(2, 100, 100)
    values[is_member, 12] *= 0.2  # neither higher nor lower, but nearer to the middle
    found = blind_baseline(values, is_member)
    assert found.is_confounded
    assert found.by_classifier["boosted trees"].low > 0.7
    assert found.by_classifier["linear"].low < 0.5


def test_embeddings_find_what_statistics_do_not_have():
    values, is_member, rng = drawn(3)
    embeddings = rng.normal(size=(80, 150)) + 0.5 * is_member[:, None]
    assert not blind_baseline(values, is_member).is_confounded
    found = blind_baseline(values, is_member, embeddings=embeddings)
    assert found.is_confounded
    assert list(found.by_classifier) == ["linear", "boosted trees", "linear on embeddings"]
    assert found.by_classifier["linear on embeddings"].value == 1
    assert found.telling == ()


def test_statistics_that_say_the_same_are_named_once():
    values, is_member, rng = drawn(4)
    values[:, 5] = 3 * is_member + rng.normal(0, 0.5, 80)
    values[:, 6] = np.exp(values[:, 5])
    values[:, 9] = 2 * is_member + rng.normal(0, 0.5, 80)
    named = [one.name for one in blind_baseline(values, is_member).telling]
    assert named[0] == NAMES[5]
    assert NAMES[9] in named
    assert NAMES[6] not in named


def test_scores_are_those_of_each_picture_in_the_order_given():
    values, is_member, _ = drawn(5)
    values[is_member, 0] += 6
    found = blind_baseline(values, is_member)
    assert found.scores.shape == (80,)
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1
    assert np.mean((found.scores > 0.5) == is_member) > 0.95


def test_memberships_turned_round_turn_the_figures_round():
    values, is_member, _ = drawn(6)
    values[is_member, 0] += 1
    found, turned = blind_baseline(values, is_member), blind_baseline(values, ~is_member)
    assert turned.overall.value == pytest.approx(found.overall.value, abs=0.06)
    assert turned.n == found.n[::-1]
    assert turned.telling[0].is_higher_in_members is not found.telling[0].is_higher_in_members


def test_nothing_hangs_on_the_order_of_the_pictures():
    values, is_member, rng = drawn(7, 30, 45)
    values[is_member, 0] += 0.7
    embeddings = rng.normal(size=(75, 20))
    groups = [f"parent {i % 60}" for i in range(75)]
    order = rng.permutation(75)
    found = blind_baseline(values, is_member, embeddings=embeddings, groups=groups)
    shuffled = blind_baseline(
        values[order],
        is_member[order],
        embeddings=embeddings[order],
        groups=[groups[i] for i in order],
    )
    assert same(found, shuffled)
    assert np.array_equal(found.scores[order], shuffled.scores)


def test_the_same_seed_gives_the_same_and_another_one_other_folds():
    values, is_member, _ = drawn(8)
    found = blind_baseline(values, is_member, seed=3)
    assert same(found, blind_baseline(values, is_member, seed=3))
    assert not same(found, blind_baseline(values, is_member, seed=4))


# --- where there is nothing to find --------------------------------------------------------------


# How often the interval excludes one half by chance is counted in test_cross_validation.py, with a
# quick classifier.


def false_alarms(draw_one, n_draws):
    """How often the interval excludes one half, and the mean AUC in standard errors from it."""
    found = [draw_one(draw).overall for draw in range(n_draws)]
    values = np.array([one.value for one in found])
    bias = (values.mean() - 0.5) / (values.std() / np.sqrt(n_draws))
    return sum(one.low > 0.5 or one.high < 0.5 for one in found), bias


def test_nothing_is_found_where_there_is_nothing():
    n_alarms, bias = false_alarms(lambda seed: blind_baseline(*drawn(seed, 20, 20)[:2]), 12)
    assert n_alarms <= 2
    assert abs(bias) < 2.5


@pytest.fixture(scope="session")
def cifar_pictures(cifar_zip):
    """Bytes of 640 pictures of CIFAR-10, any classes."""
    with zipfile.ZipFile(cifar_zip) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        chosen = np.random.default_rng(0).choice(len(names), 640, replace=False)
        return [archive.read(names[i]) for i in chosen]


def measured(files):
    pixels = [decode(data, Limits()).pixels for data in files]
    statistics = [image_statistics(*pair) for pair in zip(files, pixels, strict=True)]
    return np.stack(statistics), np.stack([random_embedding(one) for one in pixels])


@pytest.fixture(scope="session")
def cifar_measured(cifar_pictures):
    return measured(cifar_pictures[:600])


def split_at_random(cifar_measured, seed, n_each):
    statistics, embeddings = cifar_measured
    chosen = np.random.default_rng(seed).permutation(len(statistics))[: 2 * n_each]
    return blind_baseline(
        statistics[chosen],
        np.arange(2 * n_each) < n_each,
        embeddings=embeddings[chosen],
        seed=seed,
    )


def test_it_is_silent_on_a_random_split_of_one_source(cifar_measured):
    found = split_at_random(cifar_measured, 0, 300)
    assert not found.is_confounded
    assert found.overall.low < 0.5 < found.overall.high
    assert found.overall.high - found.overall.low < 0.15
    assert found.n == (300, 300)
    assert found.sentence() == (
        f"Without the encoder, nothing was found to tell members from non-members: AUC "
        f"{found.overall}."
    )


def test_it_is_seldom_wrong_on_random_splits_of_one_source(cifar_measured):
    n_alarms, bias = false_alarms(lambda seed: split_at_random(cifar_measured, seed, 30), 8)
    assert n_alarms <= 1
    assert abs(bias) < 2.5


# --- real confounding ----------------------------------------------------------------------------


def as_png(picture):
    buffer = BytesIO()
    picture.resize((224, 224), Image.Resampling.BICUBIC).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def joined(left, right):
    pair = Image.new("RGB", (64, 32))
    pair.paste(left, (0, 0))
    pair.paste(right, (32, 0))
    return pair


@pytest.fixture(scope="session")
def whole_and_joined(cifar_pictures):
    """Statistics of 60 pictures, and of 60 pairs of others, all PNGs of 224 × 224."""
    pictures = [Image.open(BytesIO(data)).convert("RGB") for data in cifar_pictures[:180]]
    pairs = [joined(*pictures[i : i + 2]) for i in range(60, 180, 2)]
    return measured([as_png(one) for one in pictures[:60] + pairs])


def test_it_fires_on_joined_non_members(whole_and_joined):
    statistics, embeddings = whole_and_joined
    found = blind_baseline(statistics, np.arange(120) < 60, embeddings=embeddings)
    assert found.is_confounded
    assert found.overall.low > 0.95
    assert found.sentence().startswith("Confounded: ")


def test_joined_pictures_are_found_by_the_seam_alone(whole_and_joined):
    statistics, _ = whole_and_joined
    seam_only = np.zeros_like(statistics)
    seam_only[:, column("seam_vertical")] = statistics[:, column("seam_vertical")]
    found = blind_baseline(seam_only, np.arange(120) < 60)
    assert found.overall.low > 0.8
    assert found.telling[0].words == "the step at the middle column"
    assert not found.telling[0].is_higher_in_members


def test_suspects_of_another_source_are_told_from_the_control(cifar_pictures, cifar_measured):
    brighter = [
        as_png(Image.open(BytesIO(data)).convert("RGB").point(lambda v: min(255, v + 25)))
        for data in cifar_pictures[600:640]
    ]
    statistics, embeddings = (
        np.concatenate([here, there[:40]])
        for here, there in zip(measured(brighter), cifar_measured, strict=True)
    )
    found = blind_baseline(
        statistics,
        np.arange(80) < 40,
        embeddings=embeddings,
        between=("suspects", "control"),
    )
    assert found.sentence().startswith("Confounded: without the encoder, classifiers tell suspects")


# --- pictures that hang together -----------------------------------------------------------------


def crops(seed, n_parents=40, n_each=3):
    """Crops of parents that are members or not at random: only who the parent is can be learned."""
    rng = np.random.default_rng(seed)
    parents = np.repeat(np.arange(n_parents), n_each)
    values = rng.normal(size=(n_parents, WIDTH))[parents]
    values += 0.1 * rng.normal(size=values.shape)
    return values, rng.permutation(n_parents)[parents] < n_parents // 2, parents.tolist()


def test_crops_of_one_picture_are_no_confounding_once_they_are_grouped():
    for seed in range(3):
        values, is_member, parents = crops(seed)
        assert blind_baseline(values, is_member).is_confounded
        grouped = blind_baseline(values, is_member, groups=parents).overall
        assert grouped.low < 0.5 < grouped.high


def test_near_duplicates_on_both_sides_show_as_worse_than_chance():
    values, _, rng = drawn(0, 60, 60)
    values[60:] = values[:60] + 0.1 * rng.normal(size=(60, WIDTH))
    is_member = np.arange(120) < 60
    found = blind_baseline(values, is_member)
    assert not found.is_confounded
    assert found.overall.high < 0.5
    assert found.sentence().endswith("That happens where near-duplicates stand on both sides.")
    grouped = blind_baseline(values, is_member, groups=[i % 60 for i in range(120)])
    assert grouped.overall.low < 0.5 < grouped.overall.high


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_members", "n_others"), [(19, 40), (40, 19), (0, 40)])
def test_few_pictures_are_refused_with_what_is_needed(n_members, n_others):
    values, is_member, _ = drawn(0, n_members, n_others)
    with pytest.raises(ValueError, match=r"needs 20 suspects and 20 control; .* there are"):
        blind_baseline(values, is_member, between=("suspects", "control"))


def test_twenty_of_each_are_enough():
    values, is_member, _ = drawn(0, MIN_OF_EACH, MIN_OF_EACH)
    assert blind_baseline(values, is_member).overall.n == 40


def test_groups_count_not_pictures():
    values, _, _ = drawn(0, 60, 60)
    groups = [i // 6 if i < 60 else i for i in range(120)]
    with pytest.raises(ValueError, match="of different groups; of one kind there are 10"):
        blind_baseline(values, np.arange(120) < 60, groups=groups)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    values, is_member, _ = drawn(0)
    embeddings = np.zeros((80, 4))
    embeddings[3, 2] = value
    with pytest.raises(ValueError, match="finite"):
        blind_baseline(values, is_member, embeddings=embeddings)
    values[3, 2] = value
    with pytest.raises(ValueError, match="finite"):
        blind_baseline(values, is_member)


def test_shapes_that_do_not_fit_are_refused():
    values, is_member, _ = drawn(0)
    with pytest.raises(ValueError, match="need statistics of shape"):
        blind_baseline(values[:, :-1], is_member)
    with pytest.raises(ValueError, match="as many embeddings"):
        blind_baseline(values, is_member, embeddings=np.zeros((79, 3)))
    with pytest.raises(ValueError, match="80 groups, got 79"):
        blind_baseline(values, is_member, groups=range(79))
