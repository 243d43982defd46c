import contextlib
import io
import os
import socket
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipaudit.errors import InputError
from clipaudit.pictures.decoding import (
    BadImage,
    Limits,
    content_id,
    decode,
    find_images,
    prepare,
    read_file,
    read_path_list,
    resize_to_square,
)

LIMITS = Limits()
POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX file systems only")


# --- making files, with as little help from Pillow as can be -------------------------------------


def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG file by hand: rows of packed bytes, further chunks as (name, data)."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    middle = b"".join(chunk(*extra) for extra in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def icc_profile(space, tags):
    """A version 4 display profile by hand; tags as name → data."""
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, unpadded in tags.items():
        data = unpadded + b"\0" * (-len(unpadded) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    total = start + len(body)
    header = struct.pack(">I4sI4s4s4s", total, b"lcms", 0x04300000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)  # D50
    header += b"\0" * (128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body


def s15(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def xyz(*values):
    return b"XYZ \0\0\0\0" + s15(*values)


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + s15(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LINEAR_CURVE = b"curv\0\0\0\0\0\0\0\0"
WHITE = xyz(0.9642, 1.0, 0.8249)


def rgb_profile(columns, curve):
    red, green, blue = columns
    return icc_profile(
        b"RGB ",
        {
            b"wtpt": WHITE,
            b"rXYZ": xyz(*red),
            b"gXYZ": xyz(*green),
            b"bXYZ": xyz(*blue),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        },
    )


# Primaries adapted to D50, as the published profiles have them.
SRGB = rgb_profile(
    [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)],
    SRGB_CURVE,
)
DISPLAY_P3 = rgb_profile(
    [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)],
    SRGB_CURVE,
)
LINEAR_GREY = icc_profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": LINEAR_CURVE})


def linear(level):
    value = np.asarray(level) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def gamma(value):
    value = np.clip(value, 0, 1)
    return 255 * np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def p3_to_srgb(colour):
    """From the two standards' matrices, both with a D65 white: nothing of ICC in it."""
    p3 = [[0.486571, 0.265668, 0.198217], [0.228975, 0.691739, 0.079287], [0, 0.045113, 1.043944]]
    back = [[3.240970, -1.537383, -0.498611], [-0.969244, 1.875968, 0.041555]]
    back.append([0.055630, -0.203977, 1.056972])
    return gamma(np.array(back) @ np.array(p3) @ linear(colour))


def colour_of(data):
    """The one colour of a picture of one colour."""
    pixels = decode(data, LIMITS).pixels.reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return pixels[0].tolist()


def reason_of(data, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        decode(data, limits)
    return caught.value.reason


def photo(width=64, height=48):
    """Smooth, colourful, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    channels = [x, y, (x + y * y) / 2]
    return Image.fromarray((np.stack(channels, axis=-1) * 250).astype(np.uint8))


# --- decode: what comes out ----------------------------------------------------------------------


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
    prepared = prepare(encoded(photo(64, 48), "JPEG", exif=exif), 8, "bicubic", LIMITS)
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


def test_cmyk_without_a_profile_is_ink_on_paper():
    inks = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0], [51, 102, 153, 51]]], np.uint8)
    data = encoded(Image.fromarray(inks, "CMYK"), "TIFF")
    share = 1 - inks.astype(float) / 255
    expected = 255 * share[..., :3] * share[..., 3:]
    decoded = decode(data, LIMITS)
    np.testing.assert_allclose(decoded.pixels, expected, atol=1)
    assert decoded.notes == ("CMYK without a profile: colours approximate",)


def test_lab_is_converted():
    picture = Image.fromarray(np.array([[[138, 81, 70]]], np.uint8), "LAB")  # sRGB red
    decoded = decode(encoded(picture, "TIFF"), LIMITS)
    np.testing.assert_allclose(decoded.pixels[0, 0], [255, 0, 0], atol=8)


@pytest.mark.parametrize("colour", [(200, 100, 50), (60, 180, 90), (128, 128, 128), (255, 0, 0)])
def test_display_p3_becomes_srgb(colour):
    data = encoded(Image.new("RGB", (4, 4), colour), "PNG", icc_profile=DISPLAY_P3)
    np.testing.assert_allclose(colour_of(data), p3_to_srgb(colour), atol=1.5)
    assert decode(data, LIMITS).notes == ("colour profile converted to sRGB",)


def test_a_profile_applies_below_transparency_too():
    data = encoded(Image.new("RGBA", (4, 4), (200, 100, 50, 128)), "PNG", icc_profile=DISPLAY_P3)
    expected = p3_to_srgb((200, 100, 50)) * 128 / 255 + 255 * 127 / 255
    np.testing.assert_allclose(colour_of(data), expected, atol=1.5)


def test_an_srgb_profile_changes_nothing():
    decoded = decode(encoded(photo(), "PNG", icc_profile=SRGB), LIMITS)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(photo()))
    assert decoded.notes == ()


def test_a_grey_profile_becomes_srgb():
    data = encoded(Image.new("L", (4, 4), 55), "PNG", icc_profile=LINEAR_GREY)
    np.testing.assert_allclose(colour_of(data), gamma(np.repeat(55 / 255, 3)), atol=1.5)


@pytest.mark.parametrize("profile", [b"broken", DISPLAY_P3[:150], LINEAR_GREY])
def test_broken_and_unfit_profiles_are_ignored_with_a_note(profile):
    decoded = decode(encoded(photo(), "PNG", icc_profile=profile), LIMITS)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(photo()))
    assert decoded.notes == ("unfit colour profile ignored",)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_shown(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert colour_of(data) == [255, 0, 0]
    assert decode(data, LIMITS).notes == ("first of several frames",)


# --- decode: what does not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0", "not_an_image"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        (b"BM is how this text starts, and it is no bitmap", "not_an_image"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"8BPS\0\1", "unsupported"),
        (b"%PDF-1.7", "unsupported"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported"),
        (b"P6 1 1 255\n\1\2\3", "unsupported"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (b"\xff\xd8\xff\xe0", "corrupt"),
    ],
)
def test_what_is_no_readable_picture_has_its_reason(data, reason):
    assert reason_of(data) == reason


def test_no_explanation_holds_addresses_or_bytes_of_the_file():
    for data in (b"\x89PNG\r\n\x1a\n", b"<html>", encoded(photo(), "JPEG")[:400]):
        with pytest.raises(BadImage) as caught:
            decode(data, LIMITS)
        assert "0x" not in str(caught.value)
        assert str(caught.value) == f"{caught.value.reason}: {caught.value.explanation}"


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


def test_ghostscript_is_never_called(tmp_path, monkeypatch):
    called = tmp_path / "called"
    for name in ("gs", "gswin32c", "gswin64c"):
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\ntouch '{called}'\n")
        stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it remembers what it found before
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with Image.open(io.BytesIO(eps)) as picture:
        assert picture.format == "EPS"  # Pillow itself would take it
    path = tmp_path / "picture.png"
    path.write_bytes(eps)
    assert reason_of(read_file(path, LIMITS)) == "unsupported"
    assert not called.exists()


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


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(min_value=0, max_value=10_000))
def test_any_cut_of_a_good_file_gives_a_picture_or_a_reason(form, where):
    data = FILES[form][: where % len(FILES[form])]
    outcome = outcome_of(data)
    assert outcome in ("empty", "not_an_image", "unsupported", "truncated", "corrupt", (30, 40, 3))


def test_every_single_cut_of_a_small_jpeg():
    data = encoded(photo(16, 16), "JPEG")
    outcomes = {outcome_of(data[:end]) for end in range(len(data))}
    assert outcomes <= {(16, 16, 3), "empty", "not_an_image", "truncated", "corrupt"}


# --- resizing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resizing_is_that_of_torchvision_to_the_bit(interpolation):
    from torchvision.transforms import InterpolationMode, Resize

    mode = InterpolationMode(interpolation)
    expected = np.asarray(Resize((33, 33), mode)(photo(200, 120)))
    decoded = decode(encoded(photo(200, 120), "PNG"), LIMITS)
    np.testing.assert_array_equal(resize_to_square(decoded, 33, interpolation), expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_prepare_is_decode_and_resize(interpolation):
    for data in FILES.values():
        decoded = decode(data, LIMITS)
        prepared = prepare(data, 17, interpolation, LIMITS)
        np.testing.assert_array_equal(prepared.image, resize_to_square(decoded, 17, interpolation))
        assert prepared.image.flags.writeable
        assert (prepared.width_px, prepared.height_px) == (40, 30)
        assert (prepared.format, prepared.notes) == (decoded.format, decoded.notes)


# --- files ---------------------------------------------------------------------------------------


def bad_file(path, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        read_file(path, limits)
    return caught.value.reason


def test_a_file_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_file(path, LIMITS) == b"abc"
    assert content_id(b"abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2's example


def test_what_cannot_be_read_has_its_reason(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    large = tmp_path / "large"
    large.write_bytes(bytes(101))
    assert bad_file(empty) == "empty"
    assert bad_file(large, Limits(max_file_bytes=100)) == "too_large"
    assert len(read_file(large, Limits(max_file_bytes=101))) == 101
    assert bad_file(tmp_path / "gone") == "missing"
    assert bad_file(tmp_path) == "not_a_file"
    assert bad_file("nul\0byte") == "missing"
    assert bad_file(large / "below") == "missing"


@POSIX
def test_pipes_sockets_and_devices_never_block(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        paths = [pipe, tmp_path / "socket", Path("/dev/zero")]
        assert [bad_file(path) for path in paths] == ["not_a_file"] * 3
        assert [found.problem.reason for found in find_images(paths)] == ["not_a_file"] * 3
        in_folder = {Path(f.path).name: f.problem.reason for f in find_images([tmp_path])}
    assert in_folder == {"pipe": "not_a_file", "socket": "not_a_file"}


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"first")
    read = os.read

    def read_while_somebody_writes(descriptor, n_bytes):
        data = read(descriptor, n_bytes)
        if data:
            with path.open("ab") as file:
                file.write(b" more")
        return data if len(data) < 1000 else b""

    monkeypatch.setattr(os, "read", read_while_somebody_writes)
    assert bad_file(path, Limits(max_file_bytes=50)) in ("changed", "too_large")


@POSIX
def test_without_permission_there_is_a_row():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        top = Path(folder)
        top.chmod(0o755)
        (top / "a.png").write_bytes(b"x")
        (top / "a.png").chmod(0)
        (top / "b").mkdir(mode=0)
        (top / "c.png").write_bytes(b"x")
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)  # root may read everything
        try:
            found = {Path(f.path).name: f.problem for f in find_images([top])}
            assert bad_file(top / "a.png") == "unreadable"
        finally:
            if is_root:
                os.seteuid(0)
        (top / "b").chmod(0o700)
    assert found["a.png"] is None  # shows when it is read
    assert found["b"].reason == "unreadable"
    assert found["c.png"] is None


# --- finding -------------------------------------------------------------------------------------


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_found(folder, *paths, **options):
    found = list(find_images(paths or [folder], **options))
    assert all(one.problem is None for one in found), found
    return [os.path.relpath(one.path, folder) for one in found]


def test_folders_are_walked_by_name(tmp_path):
    tree(tmp_path, "b/2.png", "b/1.png", "a.png", "c.txt", "Z.png", "b/deep/er/x", "b0")
    expected = ["Z.png", "a.png", "b/1.png", "b/2.png", "b/deep/er/x", "b0", "c.txt"]
    assert names_found(tmp_path) == [str(Path(name)) for name in expected]


def test_paths_come_back_as_they_were_given(tmp_path, monkeypatch):
    tree(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    assert [found.path for found in find_images(["in"])] == [str(Path("in/a.png"))]
    assert [found.path for found in find_images([Path("in/a.png")])] == [str(Path("in/a.png"))]
    assert [found.path for found in find_images([b"in/a.png"])] == ["in/a.png"]


def test_hidden_files_and_litter_are_passed_over_in_folders_only(tmp_path):
    litter = [".git/x", ".hidden.png", "._a.png", "@eaDir/a.png", "node_modules/b/c.png"]
    litter += ["System Volume Information/x", "Thumbs.db", ".DS_Store"]
    tree(tmp_path, "a.png", *litter)
    assert names_found(tmp_path) == ["a.png"]
    assert len(names_found(tmp_path, include_hidden=True)) == 1 + len(litter)
    named = [tmp_path / ".hidden.png", tmp_path / "@eaDir", tmp_path / ".git"]
    assert len(names_found(tmp_path, *named)) == 3


def test_missing_paths_and_empty_folders_are_listed(tmp_path):
    (tmp_path / "bare" / "below").mkdir(parents=True)
    found = list(find_images([tmp_path / "gone", tmp_path / "bare"]))
    assert [one.problem.reason for one in found] == ["missing", "empty"]
    tree(tmp_path, "bare/a.png")
    assert len(list(find_images([tmp_path / "bare", tmp_path / "bare"]))) == 1


def test_what_is_given_twice_is_listed_once(tmp_path, monkeypatch):
    tree(tmp_path, "a/b/1.png", "a/2.png")
    monkeypatch.chdir(tmp_path)
    both = [str(Path("a/2.png")), str(Path("a/b/1.png"))]
    for arguments in (
        ["a", "a"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["a", "a/2.png", "a/b/1.png"],
        ["a/2.png", "a/b/1.png", "a"],
        ["a/2.png", "./a/2.png", str(tmp_path / "a/2.png"), "a/b"],
    ):
        paths = [found.path for found in find_images(arguments)]
        real = sorted(os.path.relpath(path) for path in paths)
        assert real == both, arguments


@POSIX
def test_links_are_followed_once(tmp_path):
    tree(tmp_path, "real/1.png", "z/only.png", "hard.png")
    os.link(tmp_path / "hard.png", tmp_path / "hard-2.png")
    (tmp_path / "real" / "up").symlink_to(tmp_path)  # a loop
    (tmp_path / "aa").symlink_to(tmp_path / "z")  # a second way, met before the first
    (tmp_path / "linked.png").symlink_to(tmp_path / "real" / "1.png")
    (tmp_path / "real" / "linked.png").symlink_to(tmp_path / "real" / "1.png")
    assert names_found(tmp_path) == ["aa/only.png", "hard-2.png", "hard.png", "linked.png"]


@POSIX
def test_links_to_nothing_are_listed(tmp_path):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = {Path(one.path).name: one.problem.reason for one in find_images([tmp_path])}
    assert found == {"dangling.png": "missing", "self.png": "unreadable"}


NASTY = [b"new\nline.png", b"\x1b[2Jescape.png", b"-x.png", b"not utf-8 \xff.png", b"[red].png"]
NASTY += [
    "naïve.png".encode(),
    "nai\u0308ve.png".encode(),
    b" ",
    b"a\\b",
    b"=cmd()",
    b"\xed\xa0\x80",
]


@POSIX
def test_every_name_survives(tmp_path):
    folder = os.fsencode(tmp_path)
    for name in NASTY:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = [os.fsencode(one.path) for one in find_images([tmp_path])]
    assert found == [folder + b"/" + name for name in sorted(NASTY)]
    assert all(read_file(os.fsdecode(path), LIMITS) == b"x" for path in found)
    listed = io.BytesIO(b"\0".join(found))
    assert [os.fsencode(path) for path in read_path_list(listed)] == found


def test_files_are_found_as_they_are_asked_for(tmp_path):
    tree(tmp_path, "a.png", "b.png")
    found = find_images(iter([tmp_path / "a.png", tmp_path / "b.png"]))
    next(found)
    (tmp_path / "b.png").unlink()
    assert next(found).problem.reason == "missing"


def test_lists_of_paths():
    def listed(data):
        return list(read_path_list(io.BytesIO(data)))

    assert listed(b"a.png\nb c.png\n\n./d") == ["a.png", "b c.png", "./d"]
    assert listed(b"\xef\xbb\xbfa.png\r\nb.png\r\n") == ["a.png", "b.png"]
    assert listed(b"a\nb\0c\0") == ["a\nb", "c"]
    assert listed(b"") == []
    assert listed(b"bad \xff.png\n") == ["bad \udcff.png"]
    many = [f"folder/{i}.png" for i in range(20_000)]
    assert listed("\n".join(many).encode()) == many
    with pytest.raises(InputError, match="UTF-16"):
        listed("a.png\r\n".encode("utf-16"))


def test_limits_must_be_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        Limits(max_pixels=0)
