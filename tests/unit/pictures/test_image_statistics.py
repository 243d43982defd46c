from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipaudit.pictures.base import Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.image_statistics import STATISTICS, image_statistics
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture


def png(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def measured(pixels, data=None):
    """The statistics of a picture by name."""
    pixels = np.asarray(pixels, dtype=np.uint8)
    values = image_statistics(png(pixels) if data is None else data, pixels)
    return dict(zip((one.name for one in STATISTICS), values.tolist(), strict=True))


def drawn(number, size_px=96):
    return draw_picture(stream(0, str(number), "test"), size_px)


def grey(luma):
    return np.repeat(np.clip(np.round(luma), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def waves(period_px, size_px=128):
    """Upright stripes: brightness runs along x."""
    x = np.arange(size_px)
    return grey(np.tile(127 + 100 * np.cos(2 * np.pi * x / period_px), (size_px, 1)))


def test_names_and_words_are_different_for_each():
    assert len({one.name for one in STATISTICS}) == len(STATISTICS)
    assert len({one.words for one in STATISTICS}) == len(STATISTICS)


SHAPES = [(1, 1), (1, 400), (300, 2), (7, 7), (15, 33), (17, 1000), (64, 64), (700, 600)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_every_size_gives_finite_numbers_in_their_range(shape, kind):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels = {"black": noise * 0, "white": noise * 0 + 255, "noise": noise}[kind]
    values = measured(pixels)
    assert np.isfinite(list(values.values())).all()
    for one in STATISTICS:
        low, high = {
            "0 or 1": (0, 1),
            "share, 0 to 1": (0, 1),
            "levels, 0 to 255": (0, 255),
            "levels, -255 to 255": (-255, 255),
            "correlation, -1 to 1": (-1, 1),
            "log2 of share of power": (-np.inf, 0.0),
            "bits, 0 to 6": (0, 6),
            "skewness, cut at -5 and 5": (-5, 5),
        }.get(one.unit, (-np.inf, np.inf))
        assert low <= values[one.name] <= high + 1e-5, one.name


def test_what_the_file_is_like():
    data = png(np.zeros((50, 200, 3), dtype=np.uint8))
    values = measured(np.zeros((50, 200, 3)), data)
    assert values["width"] == pytest.approx(np.log2(200), abs=1e-6)
    assert values["height"] == pytest.approx(np.log2(50), abs=1e-6)
    assert values["aspect"] == 2
    assert values["file_size"] == pytest.approx(np.log2(len(data)), abs=1e-6)
    assert values["file_density"] == pytest.approx(np.log2(len(data) / 10_000), abs=1e-6)
    assert (values["is_png"], values["is_jpeg"], values["jpeg_quality"]) == (1, 0, 0)


@pytest.mark.parametrize("number", range(4))
def test_colours_agree_with_their_definition(number):
    pixels = drawn(number, 64)  # as large as the frame, so that nothing is resized
    red, green, blue = np.moveaxis(pixels.astype(float), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    values = measured(pixels)
    assert values["luma_mean"] == pytest.approx(luma.mean(), abs=1e-3)
    assert values["luma_sd"] == pytest.approx(luma.std(), abs=1e-3)
    assert values["luma_95"] == pytest.approx(np.percentile(luma, 95), abs=1e-2)
    assert values["red_mean"] == pytest.approx((red - green).mean(), abs=1e-3)
    assert values["blue_sd"] == pytest.approx((blue - (red + green) / 2).std(), abs=1e-3)
    saturation = pixels.max(axis=2).astype(float) - pixels.min(axis=2)
    assert values["saturation_mean"] == pytest.approx(saturation.mean(), abs=1e-3)


def test_grey_pictures_have_no_colour():
    values = measured(grey(drawn(0).mean(axis=2)))
    assert values["grey_share"] == 1
    assert values["saturation_mean"] == values["red_sd"] == values["blue_sd"] == 0


def test_brightness_spread_evenly_has_the_most_entropy():
    ramp = np.tile(np.arange(64) * 4 + 2.0, (64, 1))
    assert measured(grey(ramp))["luma_entropy"] == pytest.approx(6, abs=1e-4)
    assert measured(grey(np.full((64, 64), 90.0)))["luma_entropy"] == 0


def test_pictures_joined_side_by_side_have_a_step_at_the_middle_column():
    joined, single = [], []
    for i in range(20):
        left, right, whole = (
            Image.fromarray(drawn(3 * i + j)).resize((112 if j < 2 else 224, 224)) for j in range(3)
        )
        joined.append(measured(np.hstack([np.asarray(left), np.asarray(right)])))
        single.append(measured(np.asarray(whole)))
    steps = [[one["seam_vertical"] for one in some] for some in (joined, single)]
    assert np.mean(steps[0]) > np.mean(steps[1]) + 1
    assert np.mean(np.array(steps[0])[:, None] > np.array(steps[1])) > 0.9
    across = [[one["seam_horizontal"] for one in some] for some in (joined, single)]
    assert abs(np.mean(across[0]) - np.mean(across[1])) < 0.5


def test_a_line_off_the_middle_is_a_line_but_no_seam():
    ground = np.full((128, 128), 100.0) + np.random.default_rng(0).normal(0, 2, (128, 128))
    plain = measured(grey(ground))
    ground[:, 36:] += 60
    stepped = measured(grey(ground))
    assert stepped["line_vertical"] > plain["line_vertical"] + 3
    assert stepped["seam_vertical"] == pytest.approx(plain["seam_vertical"], abs=0.3)
    assert stepped["line_horizontal"] == pytest.approx(plain["line_horizontal"], abs=0.3)


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_turning_a_picture_on_its_diagonal_swaps_across_and_down(number):
    pixels = drawn(number, 64)  # resizing would round along x first
    values, turned = measured(pixels, b""), measured(pixels.swapaxes(0, 1).copy(), b"")
    swaps = {
        "seam_vertical": "seam_horizontal",
        "line_vertical": "line_horizontal",
        "halves_left_right": "halves_top_bottom",
        "mirror_left_right": "mirror_top_bottom",
        "width": "height",
    }
    swaps |= {there: here for here, there in swaps.items()}
    for name, value in values.items():
        if name in ("anisotropy", "frame_anisotropy", "aspect"):
            assert turned[name] == pytest.approx(-value, abs=2e-3), name
        else:
            assert turned[swaps.get(name, name)] == pytest.approx(value, abs=2e-3), name


def test_a_mirrored_half_is_like_the_other():
    half = drawn(1, 64)[:, :32]
    values = measured(np.hstack([half, half[:, ::-1]]))
    assert values["mirror_left_right"] == pytest.approx(1, abs=1e-5)
    assert values["halves_left_right"] == 0
    assert values["mirror_top_bottom"] < 0.99


@pytest.mark.parametrize("sigma", [2, 5, 15])
def test_noise_is_measured_in_levels(sigma):
    soft = np.tile(np.linspace(60, 180, 200), (200, 1))
    noisy = soft + np.random.default_rng(0).normal(0, sigma, soft.shape)
    luma_only = grey(noisy)
    assert 2 ** measured(luma_only)["noise"] - 1 == pytest.approx(sigma, rel=0.06)
    assert measured(grey(soft))["noise"] < 0.3


def test_blurring_takes_sharpness_and_edges():
    sharp = drawn(5, 200)
    blurred = np.asarray(Image.fromarray(sharp).resize((25, 25)).resize((200, 200)))
    before, after = measured(sharp), measured(blurred)
    assert after["sharpness"] < before["sharpness"] - 2
    assert after["edge_density"] < before["edge_density"]
    assert after["band_4"] < before["band_4"] - 2


def test_blocks_show_a_jpeg_that_was_saved_as_png():
    pixels = drawn(2, 240)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=15)
    compressed = decode(buffer.getvalue(), Limits()).pixels
    assert measured(compressed)["blocks"] > measured(pixels)["blocks"] + 0.3
    shifted = compressed[4:-4, 4:-4]  # the blocks meet elsewhere now
    assert measured(shifted)["blocks"] < measured(pixels)["blocks"] + 0.1


@pytest.mark.parametrize("shape", [(600, 840), (840, 600), (1000, 999)])
def test_the_patch_of_a_large_picture_keeps_to_the_grid_of_blocks(shape):
    pixels = np.asarray(Image.fromarray(drawn(2, 240)).resize(shape))
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=10)
    compressed = decode(buffer.getvalue(), Limits()).pixels
    assert measured(compressed)["blocks"] > measured(pixels)["blocks"] + 0.3


@pytest.mark.parametrize(("period_px", "band"), [(3, 4), (6, 3), (12, 2), (24, 1), (64, 0)])
def test_a_wave_is_in_the_band_of_its_period(period_px, band):
    values = measured(waves(period_px))
    shares = [2 ** values[f"band_{i}"] for i in range(5)]
    assert np.argmax(shares) == band
    assert shares[band] > 0.9


def test_upright_stripes_run_across():
    values = measured(waves(6))
    lying = measured(waves(6).swapaxes(0, 1))
    assert values["anisotropy"] > 5
    assert lying["anisotropy"] < -5


def test_the_finest_diagonal_structure_is_beyond_what_a_row_can_hold():
    chequered = grey(255.0 * (np.indices((64, 64)).sum(axis=0) % 2))
    assert 2 ** measured(chequered)["diagonality"] > 0.9


def test_the_frame_is_the_same_at_any_size():
    pixels = drawn(7, 256)
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1)
    eightfold = pixels.repeat(8, axis=0).repeat(8, axis=1)  # so large that pixels are left out
    small = measured(pixels)
    for large in (measured(doubled, b""), measured(eightfold, b"")):
        for name in small:
            if name.startswith(("luma", "seam", "line", "halves", "mirror", "saturation", "frame")):
                assert large[name] == pytest.approx(small[name], abs=0.6), name


def test_what_is_alike_in_all_pictures_is_exactly_alike():
    """A constant statistic with noise in its last digits would count once standardised."""
    flat = [measured(np.full((64, 64, 3), level)) for level in (10, 90, 200, 254)]
    for name in (
        "luma_sd",
        "sharpness",
        "noise",
        "seam_vertical",
        "blocks",
        "band_4",
        "anisotropy",
    ):
        assert len({one[name] for one in flat}) == 1, name
