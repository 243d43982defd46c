from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from clipaudit.pictures.headers import Header, read_header

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[0x010F] = "a camera"


def saved(form, picture=None, **options):
    buffer = BytesIO()
    (picture or Image.fromarray(PIXELS)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [25, 49, 50, 51, 75, 85, 92, 95, 98])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality):
    assert read_header(saved("JPEG", quality=quality)).jpeg_quality == pytest.approx(quality, abs=1)


def test_the_best_and_the_worst_quality_are_near_their_ends():
    assert read_header(saved("JPEG", quality=100)).jpeg_quality > 98
    worst, bad = (read_header(saved("JPEG", quality=one)).jpeg_quality for one in (1, 10))
    assert 1 <= worst < bad < 15  # entries that were cut at 255 make them look better


def test_tables_of_two_bytes_an_entry_are_read():
    data = saved("JPEG", quality=50)
    at = data.index(b"\xff\xdb")
    assert data[at + 4] == 0
    wide = b"".join(bytes([0, entry]) for entry in data[at + 5 : at + 5 + 64])
    length = (2 + 1 + len(wide)).to_bytes(2, "big")
    rest = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    changed = data[:at] + b"\xff\xdb" + length + b"\x10" + wide + data[rest:]
    assert read_header(changed).jpeg_quality == read_header(data).jpeg_quality == 50


@pytest.mark.parametrize(("subsampling", "pixels"), [("4:4:4", 1), ("4:2:2", 2), ("4:2:0", 4)])
def test_chroma_counts_the_pixels_that_share_a_colour(subsampling, pixels):
    assert read_header(saved("JPEG", subsampling=subsampling)).chroma == pixels


def test_a_grey_jpeg_has_nothing_to_share():
    assert read_header(saved("JPEG", Image.fromarray(PIXELS[..., 0]))).chroma == 1


def test_a_progressive_jpeg_is_told_from_a_baseline_one():
    assert read_header(saved("JPEG", progressive=True)).is_progressive
    assert not read_header(saved("JPEG")).is_progressive


@pytest.mark.parametrize(("form", "name"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP")])
def test_metadata_is_seen_in_each_format(form, name):
    plain, full = read_header(saved(form)), read_header(saved(form, exif=EXIF, icc_profile=PROFILE))
    assert (plain.format, plain.has_exif, plain.has_profile) == (name, False, False)
    assert (full.format, full.has_exif, full.has_profile) == (name, True, True)


def test_exif_is_seen_in_an_avif():
    picture = Image.fromarray(PIXELS)
    assert read_header(saved("AVIF", picture, exif=EXIF)).has_exif
    assert not read_header(saved("AVIF", picture)).has_exif


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_metadata_counts_in_bytes_and_pixels_do_not(form):
    plain, full = saved(form), saved(form, icc_profile=PROFILE)
    more = read_header(full).metadata_bytes - read_header(plain).metadata_bytes
    assert more == len(full) - len(plain)
    larger = saved(form, Image.fromarray(np.tile(PIXELS, (3, 3, 1))))
    assert read_header(larger).metadata_bytes == read_header(plain).metadata_bytes


def test_an_interlaced_png_counts_as_progressive():
    data = bytearray(saved("PNG"))
    assert not read_header(bytes(data)).is_progressive
    data[28] = 1
    assert read_header(bytes(data)).is_progressive


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_just_other(form):
    assert read_header(saved(form)) == Header()


WHOLE = [saved("JPEG", exif=EXIF), saved("PNG", exif=EXIF), saved("WEBP", exif=EXIF), saved("AVIF")]


@given(st.sampled_from(WHOLE), st.integers(0, 4000), st.binary(max_size=40), st.integers(0, 60))
def test_no_bytes_are_too_broken(data, cut, junk, keep):
    for broken in (data[:cut], data[:keep] + junk + data[keep:], data[:keep] + junk, junk):
        header = read_header(broken)
        assert 0 <= header.jpeg_quality <= 100
        assert 0 <= header.metadata_bytes <= len(broken) + 65_537


def test_padding_between_segments_is_passed_over():
    data = saved("JPEG", quality=80)
    at = data.index(b"\xff\xdb")
    assert read_header(data[:at] + b"\xff\xff" + data[at:]).jpeg_quality == pytest.approx(80, abs=1)
