import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.png import without_metadata
from tests.made.picture_files import encoded, photo, png

ROWS = [bytes(range(number, number + 36)) for number in range(10)]
PLAIN = png(12, 10, 8, 2, ROWS)
START = 8 + 25  # of what follows the signature and the header
BIG = zlib.compress(b"a" * 1_500_000)
NOTES = ("unreadable metadata ignored",)


def chunk(name, data, crc=None):
    found = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", found)


def with_chunk(whole, at=START):
    return PLAIN[:at] + whole + PLAIN[at:]


def srgb(padding=0):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile += bytes(padding)
    return struct.pack(">I", len(profile)) + profile[4:]


SPOILED = {
    "large zTXt": chunk(b"zTXt", b"workflow\0\0" + BIG),
    "large iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + BIG),
    "large XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BIG),
    "large iCCP": chunk(b"iCCP", b"printer\0\0" + zlib.compress(srgb(1_300_000))),
    "iCCP of another packing": chunk(b"iCCP", b"printer\0\7" + zlib.compress(srgb())),
    "tEXt with a wrong sum": chunk(b"tEXt", b"Comment\0text", 7),
    "zTXt with a wrong sum": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"text"), 7),
    "iTXt with a wrong sum": chunk(b"iTXt", b"Comment\0\0\0\0\0text", 7),
    "iCCP with a wrong sum": chunk(b"iCCP", b"printer\0\0" + zlib.compress(srgb()), 7),
    "pHYs with a wrong sum": chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1), 7),
    "pHYs cut short": chunk(b"pHYs", b"\0\0"),
    "many large texts": chunk(b"tEXt", b"k\0" + b"a" * 1_000_000) * 70,
    "a length beyond the end": struct.pack(">I", 2**31 - 1) + b"tEXt" + b"Comment\0text",
    "a length that is too small": struct.pack(">I", 3) + b"tEXt" + b"Comment\0text, and more",
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_pixels_that_are_whole_are_read_whatever_the_metadata(spoiled):
    decoded = decode(with_chunk(spoiled), Limits())
    assert decoded.notes == NOTES
    np.testing.assert_array_equal(decoded.pixels, decode(PLAIN, Limits()).pixels)


@pytest.mark.parametrize("kind", ["large zTXt", "large iTXt", "large XMP", "many large texts"])
def test_metadata_may_follow_the_pixels(kind):
    decoded = decode(with_chunk(SPOILED[kind], len(PLAIN) - 12), Limits())
    assert decoded.notes == NOTES
    np.testing.assert_array_equal(decoded.pixels, decode(PLAIN, Limits()).pixels)


def test_what_changes_the_looks_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(photo(40, 30), "PNG", exif=exif)
    expected = decode(turned, Limits())
    spoiled = turned[:START] + SPOILED["large zTXt"] + turned[START:]
    decoded = decode(spoiled, Limits())
    np.testing.assert_array_equal(decoded.pixels, expected.pixels)
    assert decoded.pixels.shape == (40, 30, 3)


def test_a_profile_that_is_large_still_turns_the_colours():
    swapped = bytearray(srgb())
    at = swapped.index(b"rXYZ")
    red, green = at, swapped.index(b"gXYZ")
    swapped[red + 4 : red + 12], swapped[green + 4 : green + 12] = (
        swapped[green + 4 : green + 12],
        swapped[red + 4 : red + 12],
    )
    picture = io.BytesIO()
    photo().save(picture, "PNG", icc_profile=bytes(swapped))
    expected = decode(picture.getvalue(), Limits())
    assert expected.notes == ("colour profile converted to sRGB",)
    spoiled = picture.getvalue()[:START] + SPOILED["large zTXt"] + picture.getvalue()[START:]
    decoded = decode(spoiled, Limits())
    np.testing.assert_array_equal(decoded.pixels, expected.pixels)
    assert decoded.notes == (*NOTES, *expected.notes)


def test_pixels_that_are_damaged_are_damaged():
    at = PLAIN.index(b"IDAT") + 8
    broken = PLAIN[:at] + bytes([PLAIN[at] ^ 255]) + PLAIN[at + 1 :]
    with pytest.raises(BadImage, match="corrupt"):
        decode(broken[:START] + SPOILED["large zTXt"] + broken[START:], Limits())
    for length in (START, START + 20, len(PLAIN) - 40):
        with pytest.raises(BadImage):
            decode(PLAIN[:length], Limits())


def test_there_is_nothing_to_leave_out_of_a_plain_file():
    assert without_metadata(PLAIN) is None
    assert without_metadata(b"GIF89a") is None
