import dataclasses
import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms.v2 import functional

from clipaudit.features.views import (
    CLIP,
    DINO,
    DINOV2,
    ENCODERMI,
    MAE,
    OVERLAPS,
    RECIPES,
    Recipe,
    ViewParameters,
    draw,
    draw_for_training,
    interpret,
    make_views,
    to_unit_range,
)

FIELDS = tuple(field.name for field in dataclasses.fields(ViewParameters))
BLUR, MOCOV2 = OVERLAPS[0], OVERLAPS[-1]
SWITCHES = ("flip", "jitter", "grayscale", "blur")
ATOL = 1e-4
"""A fortieth of one grey level; sizes that are powers of two agree a hundred times better."""


def sha256(number):
    return hashlib.sha256(f"picture {number}".encode()).hexdigest()


IDS = tuple(map(sha256, range(8)))


def pictures(size):
    """Random, flat, white, black, fully saturated, a grey ramp: uint8, (6, 3, size, size)."""
    numbers = np.random.default_rng(size)
    ramp = np.tile(np.linspace(0, 255, size), (3, size, 1))
    shape = (3, size, size)
    return torch.from_numpy(
        np.stack(
            [
                numbers.integers(0, 256, shape),
                np.broadcast_to(np.array([200, 30, 30])[:, None, None], shape),
                np.full(shape, 255),
                np.zeros(shape),
                255 * numbers.integers(0, 2, shape),
                ramp,
            ]
        ).astype(np.uint8)
    )


def one_view(image, parameters, which, size):
    """A view by torchvision's own functions, one step after the other."""
    top, left, height, width = map(int, parameters.box[which])
    view = functional.resized_crop(image, top, left, height, width, [size, size], antialias=True)
    if parameters.flip[which]:
        view = functional.horizontal_flip(view)
    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    if parameters.jitter[which]:
        for step in parameters.order[which]:
            view = changes[step](view, float(parameters.factors[which][step]))
    if parameters.grayscale[which]:
        view = functional.rgb_to_grayscale(view, num_output_channels=3)
    if parameters.blur[which]:
        side = min(13, 2 * size - 1)  # a wider one would look past its own mirror image
        sigma = float(parameters.sigma[which])
        view = functional.gaussian_blur(view, [side, side], [sigma, sigma])
    return view


@pytest.mark.parametrize("recipe", [ENCODERMI, BLUR, MOCOV2], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize(
    ("size", "n_views"), [(1, 8), (2, 8), (6, 8), (7, 8), (32, 40), (33, 40), (224, 6)]
)
def test_every_view_is_what_torchvision_makes_of_the_same_parameters(recipe, size, n_views):
    images = pictures(size)
    parameters = draw(IDS[: len(images)], recipe, n_views, size, seed=3)
    views = make_views(images, parameters)
    assert views.shape == (len(images), n_views, 3, size, size)
    assert views.dtype == torch.float32
    for i, image in enumerate(to_unit_range(images)):
        for j in range(n_views):
            expected = one_view(image, parameters, (i, j), size)
            np.testing.assert_allclose(views[i, j], expected, atol=2e-6 if size <= 32 else ATOL)


def test_that_comparison_saw_every_kind_of_change():
    parameters = draw(IDS[:6], MOCOV2, 40, 32, seed=3)
    for switch in SWITCHES:
        assert 0 < getattr(parameters, switch).mean() < 1
    assert parameters.sigma[parameters.blur].min() < 0.15
    assert parameters.sigma[parameters.blur].max() > 1.95
    assert len({tuple(order) for order in parameters.order[parameters.jitter]}) == 24
    assert (parameters.factors.min(axis=(0, 1)) < [0.65, 0.65, 0.65, -0.09]).all()
    assert (parameters.factors.max(axis=(0, 1)) > [1.35, 1.35, 1.35, 0.09]).all()


@pytest.mark.parametrize("shift", np.linspace(-0.5, 0.5, 21))
def test_every_hue_turns_as_in_torchvision(shift):
    levels = np.linspace(0, 1, 6, dtype=np.float32)
    cube = np.stack(np.meshgrid(levels, levels, levels)).reshape(1, 3, 6, 36)
    square = functional.pad(torch.from_numpy(cube), [0, 0, 0, 30])
    parameters = whole(36)
    parameters.factors[..., :3], parameters.factors[..., 3] = 1, shift
    parameters.jitter[:] = True
    got = make_views(square, parameters)[0, 0]
    expected = functional.adjust_hue(square[0], float(np.float32(shift)))
    np.testing.assert_allclose(got, expected, atol=ATOL)


def whole(size, n_views=1):
    """Parameters that change nothing."""
    parameters = draw(IDS[:1], ENCODERMI, n_views, size, seed=0)
    parameters.box[:] = (0, 0, size, size)
    for switch in SWITCHES:
        getattr(parameters, switch)[:] = False
    return parameters


@pytest.mark.parametrize("size", [32, 33, 224])
def test_a_view_without_changes_is_the_picture(size):
    image = pictures(size)[:1]
    views = make_views(image, whole(size))
    np.testing.assert_allclose(views[0, 0], image[0] / 255, atol=ATOL)


@given(
    st.integers(1, 40),
    st.integers(0, 2**31),
    st.integers(1, 6),
    st.sampled_from([*RECIPES.values()]),
)
@settings(max_examples=40)
def test_pixels_stay_between_zero_and_one(size, seed, n_views, recipe):
    views = make_views(pictures(size), draw(IDS[:6], recipe, n_views, size, seed))
    assert views.min() >= 0
    assert views.max() <= 1 + 1e-6  # the four weights of a bilinear pixel round to 1 ± 2⁻²³


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_the_pictures_that_were_given_are_left_alone(dtype):
    image = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    image = image if dtype == torch.uint8 else (image / 255).to(dtype)
    before = image.clone()
    views = make_views(image, draw(IDS[:1], MOCOV2, 8, 16, seed=1))
    assert torch.equal(image, before)
    assert views.dtype == torch.float32


# --- what the parameters depend on ---------------------------------------------------------------


def same(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def part(parameters, which):
    return type(parameters)(**{name: getattr(parameters, name)[which] for name in FIELDS})


BOTH = st.sampled_from([ENCODERMI, MOCOV2])


@given(st.permutations(range(8)), st.integers(0, 2**40), st.integers(1, 8), BOTH)
def test_parameters_do_not_depend_on_order_or_batch(order, seed, n_in_batch, recipe):
    together = draw(IDS, recipe, 3, 32, seed)
    batch = order[:n_in_batch]
    same(draw([IDS[i] for i in batch], recipe, 3, 32, seed), part(together, batch))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(), BOTH)
def test_the_first_views_of_many_are_the_views_of_few(few, more, seed, recipe):
    of_many = draw(IDS[:2], recipe, few + more, 32, seed)
    same(draw(IDS[:2], recipe, few, 32, seed), part(of_many, np.s_[:, :few]))


@given(st.integers(0, 1000))
def test_no_two_views_share_their_parameters(seed):
    parameters = draw(IDS, ENCODERMI, 10, 224, seed)
    factors = parameters.factors.reshape(80, 4)
    assert len(np.unique(factors, axis=0)) == 80
    assert len(np.unique(parameters.box.reshape(80, 4), axis=0)) >= 79


def test_another_seed_picture_or_recipe_gives_other_views():
    first = draw(IDS[:1], ENCODERMI, 10, 224, seed=0).factors
    others = [
        draw(IDS[:1], ENCODERMI, 10, 224, seed=1),
        draw(IDS[1:2], ENCODERMI, 10, 224, seed=0),
        draw(IDS[:1], dataclasses.replace(ENCODERMI, version=2), 10, 224, seed=0),
        draw(IDS[:1], dataclasses.replace(ENCODERMI, name="other"), 10, 224, seed=0),
    ]
    assert not any(np.isclose(first, other.factors).any() for other in others)


def test_switches_and_factors_do_not_depend_on_the_size():
    small, large = (draw(IDS, MOCOV2, 10, size, seed=0) for size in (32, 224))
    for name in set(FIELDS) - {"box"}:
        np.testing.assert_array_equal(getattr(small, name), getattr(large, name))


@pytest.mark.parametrize("recipe", [ENCODERMI, MOCOV2], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("size", [32, 224])
def test_a_batch_of_one_gives_the_views_of_a_batch_of_many(size, recipe):
    images = pictures(size)
    together = make_views(images, draw(IDS[:6], recipe, 4, size, seed=0))
    for i in range(len(images)):
        alone = make_views(images[i : i + 1], draw(IDS[i : i + 1], recipe, 4, size, seed=0))
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


def test_a_recipe_is_found_by_its_name_and_version():
    assert list(RECIPES) == [
        "encodermi@1",
        "clip@1",
        "mae@1",
        "dino@1",
        "dinov2@1",
        "blur@1",
        "blur+gray@1",
        "blur+gray+crop@1",
        "blur+gray+crop+flip@1",
        "blur+gray+crop+flip+jitter@1",
    ]
    assert tuple(RECIPES.values()) == (ENCODERMI, CLIP, MAE, DINO, DINOV2, *OVERLAPS)


def by_hand(seed, image_id, recipe, n_views, size):
    """The parameters of one image, number by number, from the hash up."""
    key = hashlib.blake2b(f"{seed}/views/{recipe.id}/{image_id}".encode(), digest_size=16).digest()
    numbers = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
    for _ in range(n_views):
        row = [numbers.random() for _ in range(53 if recipe.blur else 51)]
        box = (0, 0, size, size)
        for attempt in range(10):
            area, ratio, at_top, at_left = row[4 * attempt : 4 * attempt + 4]
            area = size**2 * (recipe.crop_scale[0] * (1 - area) + recipe.crop_scale[1] * area)
            ratio = recipe.crop_ratio[0] ** (1 - ratio) * recipe.crop_ratio[1] ** ratio
            width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if 0 < width <= size and 0 < height <= size:
                top, left = int(at_top * (size - height + 1)), int(at_left * (size - width + 1))
                box = (top, left, height, width)
                break
        flip, jitter, *rest = row[40:]
        brightness, contrast, saturation = (
            1 + spread * (2 * number - 1)
            for spread, number in zip((0.4, 0.4, 0.4), rest[:3], strict=True)
        )
        yield {
            "box": box,
            "flip": flip < 0.5,
            "jitter": jitter < 0.8,
            "factors": (brightness, contrast, saturation, 0.1 * (2 * rest[3] - 1)),
            "order": sorted(range(4), key=rest[4:8].__getitem__),
            "grayscale": rest[8] < 0.2,
            "blur": recipe.blur and rest[9] < 0.5,
            "sigma": 0.1 + 1.9 * rest[10] if recipe.blur else 1,
        }


@pytest.mark.parametrize("recipe", [ENCODERMI, MOCOV2], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("size", [7, 32, 224])
def test_parameters_agree_with_those_worked_out_by_hand(size, recipe):
    drawn = draw(IDS[:3], recipe, 30, size, seed=11)
    for i in range(3):
        for j, expected in enumerate(by_hand(11, IDS[i], recipe, 30, size)):
            for name in FIELDS:
                np.testing.assert_allclose(getattr(drawn, name)[i, j], expected[name], rtol=1e-6)


# --- how they are distributed --------------------------------------------------------------------

N_DRAWN = 6000
WIDE = dataclasses.replace(ENCODERMI, crop_scale=(0.7, 1.0), crop_ratio=(1 / 3, 3.0))
"""Most attempts at a crop do not fit, and many pictures are kept whole."""


def drawn_by_torchvision(recipe, size):
    picture = torch.empty(3, size, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [
            RandomResizedCrop.get_params(picture, recipe.crop_scale, recipe.crop_ratio)
            for _ in range(N_DRAWN)
        ]
        jitter = ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
        ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        colours = [ColorJitter.get_params(*ranges) for _ in range(N_DRAWN)]
    orders = [tuple(order.tolist()) for order, *_ in colours]
    return np.array(boxes), np.array([factors for _, *factors in colours]), orders


@pytest.mark.parametrize("recipe", [ENCODERMI, WIDE], ids=["encodermi", "wide"])
@pytest.mark.parametrize("size", [32, 224])
def test_parameters_are_distributed_as_torchvisions(recipe, size):
    boxes, factors, orders = drawn_by_torchvision(recipe, size)
    ours = draw_for_training(N_DRAWN, 1, recipe, size, np.random.default_rng(0))
    box = ours.box[:, 0]
    for column in range(4):
        assert stats.ks_2samp(box[:, column], boxes[:, column]).pvalue > 1e-3
        assert stats.ks_2samp(ours.factors[:, 0, column], factors[:, column]).pvalue > 1e-3
    assert stats.ks_2samp(box[:, 2] * box[:, 3], boxes[:, 2] * boxes[:, 3]).pvalue > 1e-3
    assert stats.ks_2samp(box[:, 3] / box[:, 2], boxes[:, 3] / boxes[:, 2]).pvalue > 1e-3

    kept_whole = [int((some[:, 2:] == size).all(axis=1).sum()) for some in (box, boxes)]
    assert recipe is ENCODERMI or min(kept_whole) > 10
    whole = np.array([kept_whole, [N_DRAWN - count for count in kept_whole]])
    assert stats.fisher_exact(whole).pvalue > 1e-3

    counts = [Counter(map(tuple, ours.order[:, 0].tolist())), Counter(orders)]
    assert len(counts[0]) == len(counts[1]) == 24
    table = [[count[order] for order in counts[0]] for count in counts]
    assert stats.chi2_contingency(table).pvalue > 1e-3


ODDS = {  # flip, jitter, grayscale, blur
    "encodermi@1": (0.5, 0.8, 0.2, 0),
    "clip@1": (0, 0, 0, 0),
    "mae@1": (0.5, 0, 0, 0),
    "dino@1": (0.5, 0.8, 0.2, 1),
    "dinov2@1": (0.5, 0.8, 0.2, 1),
    "blur@1": (0, 0, 0, 0.5),
    "blur+gray@1": (0, 0, 0.2, 0.5),
    "blur+gray+crop@1": (0, 0, 0.2, 0.5),
    "blur+gray+crop+flip@1": (0.5, 0, 0.2, 0.5),
    "blur+gray+crop+flip+jitter@1": (0.5, 0.8, 0.2, 0.5),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_switches_are_on_as_often_as_the_recipe_says(recipe):
    drawn = draw_for_training(N_DRAWN, 2, RECIPES[recipe], 32, np.random.default_rng(1))
    for name, expected in zip(SWITCHES, ODDS[recipe], strict=True):
        switch = getattr(drawn, name)
        assert stats.binomtest(int(switch.sum()), switch.size, expected).pvalue > 1e-3


def test_the_blur_is_uniform_in_its_range_whether_it_is_on_or_off():
    drawn = draw_for_training(N_DRAWN, 2, MOCOV2, 32, np.random.default_rng(4))
    between = stats.uniform(0.1, 1.9).cdf
    for some in (drawn.sigma[drawn.blur], drawn.sigma[~drawn.blur]):
        assert stats.kstest(some, between).pvalue > 1e-3
    other = dataclasses.replace(MOCOV2, blur_sigma=(0.5, 0.75))
    drawn = draw_for_training(N_DRAWN, 2, other, 32, np.random.default_rng(4))
    assert stats.kstest(drawn.sigma.ravel(), stats.uniform(0.5, 0.25).cdf).pvalue > 1e-3


def test_numbers_stay_in_their_range_whatever_was_drawn():
    extremes = np.array([0.0, 0.5, np.nextafter(1, 0)])
    rows = np.random.default_rng(2).choice(extremes, (20_000, 1, 53))
    for size in (1, 2, 5, 224):
        for recipe in (ENCODERMI, CLIP, WIDE, *OVERLAPS):
            meant = interpret(rows[..., : recipe.n_uniforms], recipe, size)
            assert (meant.sigma >= np.float32(0.1)).all()
            assert (meant.sigma <= 2).all()
            top, left, height, width = meant.box[:, 0].T
            assert (np.minimum(top, left) >= 0).all()
            assert (np.minimum(height, width) >= 1).all()
            assert (top + height <= size).all()
            assert (left + width <= size).all()


# --- the recipes that share more and more with the inferrer's views ------------------------------


def kinds(recipe):
    """The augmentations that occur when many views are drawn."""
    drawn = draw_for_training(500, 2, recipe, 32, np.random.default_rng(5))
    cropped = {"crop"} if (drawn.box != (0, 0, 32, 32)).any() else set()
    return cropped | {switch for switch in SWITCHES if getattr(drawn, switch).any()}


def test_each_overlap_adds_one_augmentation_to_the_one_before():
    assert kinds(BLUR) == {"blur"}
    added = [kinds(after) - kinds(before) for before, after in pairwise(OVERLAPS)]
    assert added == [{"grayscale"}, {"crop"}, {"flip"}, {"jitter"}]
    for before, after in pairwise(OVERLAPS):
        assert kinds(before) < kinds(after)


def test_an_overlap_changes_nothing_but_what_its_name_says():
    fields = [field.name for field in dataclasses.fields(Recipe)]
    changed = [
        {name for name in fields if getattr(before, name) != getattr(after, name)} - {"name"}
        for before, after in pairwise(OVERLAPS)
    ]
    assert changed == [{"grayscale"}, {"crop_scale", "crop_ratio"}, {"flip"}, {"jitter"}]


def test_the_last_overlap_is_the_inferrers_own_recipe_and_a_blur():
    assert dataclasses.replace(MOCOV2, name="encodermi", blur=0.0) == ENCODERMI
    rows = np.random.default_rng(6).random((50, 2, 53))
    ours, theirs = interpret(rows, MOCOV2, 32), interpret(rows[..., :51], ENCODERMI, 32)
    for name in set(FIELDS) - {"blur", "sigma"}:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@given(st.integers(1, 4096), st.integers(0, 2**40))
def test_a_recipe_of_whole_pictures_never_crops(size, seed):
    for recipe in OVERLAPS[:2]:
        box = draw(IDS, recipe, 3, size, seed).box
        np.testing.assert_array_equal(box, np.broadcast_to([0, 0, size, size], box.shape))
