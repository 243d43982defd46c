"""TIFF files made by hand; what is expected agrees with ImageMagick, which was asked once."""

import zlib

import numpy as np
import pytest

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoding import decode
from tests.made.picture_files import tiff

WIDTH, HEIGHT = 16, 8
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
RAMP = (ROWS + COLUMNS) / (WIDTH + HEIGHT - 2)
COLOURS = np.stack([COLUMNS / (WIDTH - 1), ROWS / (HEIGHT - 1), RAMP], axis=-1)


def packed(values, bits, order):
    if bits in (8, 16):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)


def page(bits, photometric, n_samples, strips, **more):
    tags = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [bits] * n_samples,
        259: [1],
        262: [photometric],
        273: strips,
        277: [n_samples],
        278: [HEIGHT],
        279: [WIDTH * HEIGHT * bits * n_samples // 8 // len(strips)] * len(strips),
    }
    return tags | {int(tag.removeprefix("tag")): values for tag, values in more.items()}


def grey(bits, photometric, order="<", predictor=1):
    values = (RAMP * (2**bits - 1)).round().astype(int)
    if photometric == 0:
        values = 2**bits - 1 - values
    stored = values.copy()
    if predictor == 2:
        stored[:, 1:] = (values[:, 1:] - values[:, :-1]) % 2**bits
    data = packed(stored, bits, order)
    tags = page(bits, photometric, 1, [0])
    if predictor == 2:
        data = zlib.compress(data)
        tags |= {259: [8], 279: [len(data)], 317: [2]}
    return tiff([tags], [data + b"\0" * (len(data) % 2)], order)


def levels(data):
    return decode(data, Limits()).pixels[..., 0].astype(int)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize(
    ("order", "bits", "photometric"),
    [
        *((order, bits, kind) for order in "<>" for bits in (8,) for kind in (0, 1)),
        ("<", 16, 0),
        ("<", 16, 1),
        (">", 16, 1),
    ],
)
def test_a_grey_ramp_runs_from_black_to_white(order, bits, photometric, predictor):
    got = levels(grey(bits, photometric, order, predictor))
    assert np.abs(got - 255 * RAMP).max() <= 1


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_levels_run_from_black_to_white(bits, photometric):
    steps = 2**bits - 1
    expected = (RAMP * steps).round() / steps * 255
    assert np.abs(levels(grey(bits, photometric)) - expected).max() <= 1


def test_twelve_bits_are_as_bright_as_sixteen():
    assert np.abs(levels(grey(12, 1)) - 255 * RAMP).max() <= 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("n_planes", [1, 3])
def test_colours_are_the_same_in_one_plane_and_in_three(n_planes, bits, order):
    values = (COLOURS * (2**bits - 1)).round().astype(int)
    if n_planes == 1:
        strips = [packed(values, bits, order)]
    else:
        strips = [packed(values[..., channel], bits, order) for channel in range(3)]
    planes = {"tag284": [2]} if n_planes == 3 else {}
    data = tiff([page(bits, 2, 3, [*range(n_planes)], **planes)], strips, order)
    assert np.abs(decode(data, Limits()).pixels - 255 * COLOURS).max() <= 1


def test_the_first_page_that_is_no_thumbnail_is_the_picture():
    ramp = packed((RAMP * 255).round(), 8, "<")
    pages = [page(8, 1, 1, [0], tag254=[1]), page(8, 1, 1, [1])]
    data = tiff(pages, [bytes(WIDTH * HEIGHT), ramp])
    assert np.abs(levels(data) - 255 * RAMP).max() <= 1


@pytest.mark.parametrize(
    "more", [{"tag254": [1], "tag330": [8]}, {"tag50706": [1, 4, 0, 0]}, {"tag254": [1]}]
)
def test_a_thumbnail_of_camera_raw_is_not_the_picture(more):
    data = tiff([page(8, 1, 1, [0], **more)], [bytes(WIDTH * HEIGHT)])
    with pytest.raises(BadImage, match="unsupported: a camera raw file"):
        decode(data, Limits())


def test_grey_and_transparency_in_two_planes_are_not_read():
    data = tiff([page(8, 1, 2, [0, 1], tag284=[2], tag338=[2])], [bytes(128), bytes(128)])
    with pytest.raises(BadImage, match="unsupported"):
        decode(data, Limits())
