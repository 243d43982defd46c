"""Pictures made of several: where each parent ends up, and how large the whole is."""

import numpy as np
import pytest
from PIL import Image

from clipaudit.evaluation_sets.joining import LAYOUTS, N_PARENTS, join

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 20))


def plain_parents(layout, size=32):
    return np.stack(
        [np.full((size, size, 3), colour, np.uint8) for colour in COLOURS[: N_PARENTS[layout]]]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_whole_is_as_large_as_a_parent(layout):
    assert join(plain_parents(layout), layout).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("layout", "where"),
    [
        ("horizontal", [(16, 4), (16, 28)]),
        ("vertical", [(4, 16), (28, 16)]),
        ("grid", [(4, 4), (4, 28), (28, 4), (28, 28)]),
    ],
)
def test_each_parent_has_its_place(layout, where):
    whole = join(plain_parents(layout), layout)
    assert [tuple(whole[y, x]) for y, x in where] == list(COLOURS[: len(where)])


def test_two_parents_side_by_side_are_what_pillow_makes_of_them():
    parents = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    canvas = Image.new("RGB", (48, 24))
    for number, parent in enumerate(parents):
        canvas.paste(Image.fromarray(parent), (24 * number, 0))
    expected = np.array(canvas.resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(join(parents, "horizontal"), expected)


def test_a_blend_is_the_mean_rounded_half_up():
    parents = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (255, 254)])
    assert set(join(parents, "blend").ravel()) == {255}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_number_of_parents_is_refused(layout):
    parents = np.zeros((N_PARENTS[layout] + 1, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="joins"):
        join(parents, layout)


def test_parents_of_unequal_sides_are_refused():
    with pytest.raises(ValueError, match="squares"):
        join(np.zeros((2, 8, 9, 3), np.uint8), "horizontal")
