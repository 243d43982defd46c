import contextlib
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoding import decode, resize_to_square
from clipaudit.pictures.preparing import Wanted, prepare
from tests.made.picture_files import encoded, photo, png

LIMITS = Limits()


def colour_of(data):
    """The one colour of a picture of one colour."""
    pixels = decode(data, LIMITS).pixels.reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return pixels[0].tolist()


def reason_of(data, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        decode(data, limits)
    return caught.value.reason


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_pictures_come_out_to_the_bit(form):
    options = {"lossless": True} if form == "WEBP" else {}
    decoded = decode(encoded(photo(), form, **options), LIMITS)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(photo()))
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.writeable
    assert decoded.notes == ()
    assert decoded.format == form


@pytest.mark.parametrize("form", ["JPEG", "AVIF", "JPEG2000", "GIF"])
def test_lossy_pictures_come_out_alike(form):
    decoded = decode(encoded(photo(), form), LIMITS)
    difference = decoded.pixels.astype(int) - np.asarray(photo()).astype(int)
    assert np.abs(difference).mean() < 8
    assert decoded.format == form


# Where row 0 and column 0 of the stored picture are, seen upright (the EXIF standard's table),
# as the upright pixel that is stored at (row, column) of an upright picture of (height, width).
STORED = {
    2: lambda r, c, h, w: (r, w - 1 - c),  # top, right
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),  # bottom, right
    4: lambda r, c, h, w: (h - 1 - r, c),  # bottom, left
    5: lambda r, c, h, w: (c, r),  # left, top
    6: lambda r, c, h, w: (c, w - 1 - r),  # right, top
    7: lambda r, c, h, w: (h - 1 - c, w - 1 - r),  # right, bottom
    8: lambda r, c, h, w: (h - 1 - c, r),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_upright(form, orientation):
    upright = np.arange(4 * 7 * 3, dtype=np.uint8).reshape(4, 7, 3)
    shape = (7, 4) if orientation >= 5 else (4, 7)
    stored = np.zeros((*shape, 3), np.uint8)
    for row, column in np.ndindex(shape):
        stored[row, column] = upright[STORED[orientation](row, column, 4, 7)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(stored), form, exif=exif, **options)
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, upright)


def test_the_size_of_a_turned_picture_is_the_one_that_a_person_sees():
    exif = Image.Exif()
    exif[0x0112] = 6
    prepared = prepare(encoded(photo(64, 48), "JPEG", exif=exif), Wanted(), LIMITS)
    assert (prepared.width_px, prepared.height_px) == (48, 64)


def test_broken_exif_costs_no_picture():
    data = encoded(photo(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, np.asarray(photo()))


def test_16_bit_grey_is_scaled_and_not_clipped():
    values = [0, 255, 256, 300, 32768, 65279, 65535]
    data = png(7, 1, 16, 0, [struct.pack(">7H", *values)])
    decoded = decode(data, LIMITS)
    assert decoded.pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255]
    assert decoded.notes == ("16-bit scaled to 8-bit",)


def test_16_bit_colours_and_grey_agree():
    values = [0, 255, 256, 300, 32768, 65279, 65535]
    grey = png(7, 1, 16, 0, [struct.pack(">7H", *values)])
    colours = png(7, 1, 16, 2, [struct.pack(">21H", *np.repeat(values, 3))])
    np.testing.assert_array_equal(decode(grey, LIMITS).pixels, decode(colours, LIMITS).pixels)


def test_16_bit_pictures_that_use_little_of_their_range_say_so():
    data = png(2, 1, 16, 0, [struct.pack(">2H", 0, 4095)])
    assert "nearly black: uses little of its 16-bit range" in decode(data, LIMITS).notes


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_of_either_byte_order(order):
    picture = Image.fromarray(np.array([[0, 32768, 65535]], f"{order}u2"))
    assert decode(encoded(picture, "TIFF"), LIMITS).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_32_bit_integers_within_16_bits_count_as_16_bit():
    picture = Image.fromarray(np.array([[0, 32768, 65535]], np.int32))
    assert decode(encoded(picture, "TIFF"), LIMITS).pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 5]], np.int32),
        np.array([[0, 0.5]], np.float32),
    ],
)
def test_pixels_without_a_fixed_white_are_refused(values):
    assert reason_of(encoded(Image.fromarray(values), "TIFF")) == "unsupported"


def test_grey_one_bit_and_palette():
    assert colour_of(encoded(Image.new("L", (2, 2), 77), "PNG")) == [77, 77, 77]
    assert colour_of(encoded(Image.new("1", (2, 2), 1), "PNG")) == [255, 255, 255]
    palette = (b"PLTE", bytes([9, 8, 7, 200, 100, 50]))
    assert colour_of(png(2, 1, 8, 3, [b"\1\1"], palette)) == [200, 100, 50]


def test_transparency_shows_white():
    hidden_red = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    data = encoded(hidden_red, "PNG")
    assert colour_of(data) == [255, 255, 255]
    assert decode(data, LIMITS).notes == ("transparency on white",)
    half = [round(0.5 * 0 + 255 * (1 - 128 / 255)), 127, 127]
    assert colour_of(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")) == half


def test_opaque_alpha_changes_nothing_and_is_no_news():
    decoded = decode(encoded(Image.new("RGBA", (2, 2), (10, 20, 30, 255)), "PNG"), LIMITS)
    assert decoded.pixels[0, 0].tolist() == [10, 20, 30]
    assert decoded.notes == ()


def test_transparency_of_every_kind_of_png():
    plte = (b"PLTE", bytes([9, 8, 7, 200, 100, 50]))
    see_through = {
        "palette": png(1, 1, 8, 3, [b"\1"], plte, (b"tRNS", bytes([255, 0]))),
        "grey": png(1, 1, 8, 0, [b"\5"], (b"tRNS", struct.pack(">H", 5))),
        "one bit": png(1, 1, 1, 0, [b"\0"], (b"tRNS", struct.pack(">H", 0))),
        "grey, 16 bits": png(1, 1, 16, 0, [b"\5\6"], (b"tRNS", struct.pack(">H", 0x0506))),
        "colour": png(1, 1, 8, 2, [b"\1\2\3"], (b"tRNS", struct.pack(">3H", 1, 2, 3))),
        "grey and alpha": png(1, 1, 8, 4, [b"\5\0"]),
        "grey and alpha, 16 bits": png(1, 1, 16, 4, [b"\5\6\0\0"]),
        "colour and alpha, 16 bits": png(1, 1, 16, 6, [bytes(8)]),
    }
    for kind, data in see_through.items():
        assert colour_of(data) == [255, 255, 255], kind
    partly = png(1, 1, 8, 3, [b"\1"], plte, (b"tRNS", bytes([255, 51])))
    assert colour_of(partly) == [244, 224, 214]  # a fifth of the colour, four fifths of white


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_shown(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert colour_of(data) == [255, 0, 0]
    assert decode(data, LIMITS).notes == ("first of several frames",)


def test_a_cut_off_picture_is_refused_and_not_filled_up():
    data = encoded(photo(640, 480), "JPEG")
    assert reason_of(data[: len(data) // 2]) == "truncated"


def test_a_forged_header_is_refused_before_anything_is_decoded():
    data = png(20_000, 20_000, 8, 6, [b"tiny"])
    assert reason_of(data) == "too_many_pixels"
    assert reason_of(png(11, 10, 8, 0, [bytes(11)] * 10), Limits(max_pixels=109)) == (
        "too_many_pixels"
    )
    assert decode(png(11, 10, 8, 0, [bytes(11)] * 10), Limits(max_pixels=110)).pixels.any() == 0


def test_no_warning_comes_out_and_no_filter_is_left_behind():
    before = list(warnings.filters)
    bad_mpo = encoded(photo(), "MPO", save_all=True, append_images=[photo()]).replace(
        b"MPF\0", b"MPF\1", 1
    )
    data = [bad_mpo, png(9500, 9500, 8, 0, [b"x"]), encoded(photo(), "TIFF")[:200]]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for file in data:
            with contextlib.suppress(BadImage):
                decode(file, LIMITS)
    assert heard == []
    assert warnings.filters == before


def outcome_of(data):
    """The shape of the picture, or the reason why there is none."""
    try:
        return decode(data, LIMITS).pixels.shape
    except BadImage as bad:
        return bad.reason


FILES = {
    form: encoded(photo(40, 30), form)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
}


@settings(max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.integers(min_value=0, max_value=10_000))
def test_any_cut_of_a_good_file_gives_a_picture_or_a_reason(form, where):
    data = FILES[form][: where % len(FILES[form])]
    outcome = outcome_of(data)
    assert outcome in ("empty", "not_an_image", "unsupported", "truncated", "corrupt", (30, 40, 3))


def test_every_single_cut_of_a_small_jpeg():
    data = encoded(photo(16, 16), "JPEG")
    outcomes = {outcome_of(data[:end]) for end in range(len(data))}
    assert outcomes <= {(16, 16, 3), "empty", "not_an_image", "truncated", "corrupt"}


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resizing_is_that_of_torchvision_to_the_bit(interpolation):
    from torchvision.transforms import InterpolationMode, Resize

    mode = InterpolationMode(interpolation)
    expected = np.asarray(Resize((33, 33), mode)(photo(200, 120)))
    decoded = decode(encoded(photo(200, 120), "PNG"), LIMITS)
    np.testing.assert_array_equal(resize_to_square(decoded, 33, interpolation), expected)
