import imagehash
import numpy as np
import pytest
from PIL import Image

from clipaudit.pictures.hashing import perceptual_hash
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

TOP = 2**63


def drawn(number, side=64):
    return Image.fromarray(draw_picture(stream(0, f"picture {number}", "near-duplicates"), side))


def hashed(picture):
    return perceptual_hash(np.asarray(picture))


def slow_hash(pixels):
    """Krawetz, "Looks Like It" (2011): a picture in grey, 32 pixels a side, by its cosine waves.

    Of those of the eight lowest frequencies each way, the ones above the median are ones.
    """
    brightness = pixels @ [19595, 38470, 7471]  # 0.299, 0.587, 0.114 of 2^16, as Pillow has them
    grey = ((brightness + 2**15) // 2**16).astype(np.uint8)
    small = np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.LANCZOS))
    places = np.arange(32)
    waves = [np.cos(np.pi / 32 * (places + 0.5) * frequency) for frequency in range(8)]
    found = [float((small * np.outer(down, across)).sum()) for down in waves for across in waves]
    ranked = sorted(found)
    median = (ranked[31] + ranked[32]) / 2
    return int("".join("1" if one > median else "0" for one in found), 2)


@pytest.mark.parametrize("shape", [(32, 32), (8, 8), (20, 50), (64, 64), (96, 33), (300, 200)])
def test_a_hash_is_that_of_the_definition(shape):
    for number in range(10):
        square = drawn(number, max(shape)).crop((0, 0, shape[1], shape[0]))
        noise = np.random.default_rng(number).integers(0, 256, (*shape, 3), dtype=np.uint8)
        for pixels in (np.asarray(square), noise):
            assert perceptual_hash(pixels) == slow_hash(pixels)


def test_a_hash_is_a_number_of_64_bits_that_may_begin_with_a_one():
    hashes = [hashed(drawn(number)) for number in range(20)]
    assert all(type(one) is int and 0 <= one < 2**64 for one in hashes)
    assert any(one >= TOP for one in hashes)  # the mean of a picture is its strongest wave


def test_a_picture_is_not_changed_and_may_be_read_only():
    pixels = np.asarray(drawn(0)).copy()
    pixels.flags.writeable = False
    before = pixels.copy()
    assert perceptual_hash(pixels) == perceptual_hash(before)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("shape", [(32, 32), (20, 50), (511, 400), (1000, 40), (1300, 800)])
def test_a_hash_is_that_of_imagehash_but_for_a_bit_or_two_of_a_large_picture(shape):
    for number in range(10):
        picture = drawn(number, max(shape)).crop((0, 0, shape[1], shape[0]))
        differing = perceptual_hash(picture) ^ int(str(imagehash.phash(picture)), 16)
        assert differing.bit_count() <= (0 if max(shape) < 1024 else 2)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_picture_without_content_has_no_bits_but_of_its_mean(level):
    expected = TOP if level else 0
    for size in ((8, 8), (40, 30), (900, 1)):
        assert perceptual_hash(Image.new("RGB", size, (level,) * 3)) == expected
