import struct

import numpy as np
import pytest
from PIL import Image

from clipaudit.pictures.base import Limits
from clipaudit.pictures.decoding import decode
from tests.made.picture_files import encoded, photo

LIMITS = Limits()


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
