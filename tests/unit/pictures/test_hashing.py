import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw

from clipaudit.pictures.hashing import ONE_COLOUR, PLAIN_NOTES, TOO_PLAIN, likeness, perceptual_hash
from clipaudit.pictures.near_duplicates import MOST_BITS, partners
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


# --- pictures that are too plain for a hash ------------------------------------------------------


def as_jpeg(picture, quality=75):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def faint(number, strength):
    """A cloud whose levels spread by a standard deviation."""
    waves = np.random.default_rng(number).normal(size=(6, 6)).astype(np.float32)
    cloud = np.asarray(Image.fromarray(waves).resize((96, 96), Image.Resampling.BICUBIC))
    grey = (200 + strength * cloud / cloud.std()).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def small_text(number):
    picture = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(picture).text((120, 120), chr(65 + number), fill="black")
    return picture


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (300, 20)])
def test_pictures_of_one_colour_are_known_by_the_colour_alone(size):
    keys = {}
    for colour in ("white", "black", "grey", "red", "blue", "lime", "#203040"):
        picture = Image.new("RGB", size, colour)
        keys[colour], note = likeness(picture)
        assert note == ONE_COLOUR
        again = likeness(as_jpeg(picture.resize((40, 40))))
        assert (again.note, again.key) == (ONE_COLOUR, keys[colour])
    for colour, key in keys.items():
        assert partners({colour: key}, {k: v for k, v in keys.items() if k != colour}) == {}


@pytest.mark.parametrize("place", [(0, 0), (50, 3), (99, 99), (41, 77)])
@pytest.mark.parametrize(("level", "is_one_colour"), [(2, True), (3, False)])
def test_one_pixel_that_differs_is_seen_wherever_it_is(place, level, is_one_colour):
    picture = Image.new("RGB", (100, 100))
    picture.putpixel(place, (0, level, 0))
    assert (likeness(picture).note == ONE_COLOUR) is is_one_colour


@pytest.mark.parametrize("strength", [0.5, 1, 2, 3])
def test_what_recompression_would_change_is_too_plain_to_compare(strength):
    pictures = [faint(number, strength) for number in range(30)]
    noisy = [
        picture
        for picture in pictures
        if (perceptual_hash(picture) ^ perceptual_hash(as_jpeg(picture))).bit_count() > MOST_BITS
    ]
    assert len(noisy) >= 8
    assert np.mean([likeness(picture).note in PLAIN_NOTES for picture in noisy]) >= 0.95


def test_letters_on_white_are_too_plain_and_no_near_duplicates_of_each_other():
    found = [likeness(small_text(number)) for number in range(26)]
    assert {one.note for one in found} == {TOO_PLAIN}
    keys = {str(number): one.key for number, one in enumerate(found)}
    for name, key in keys.items():
        others = {k: v for k, v in keys.items() if k != name}
        assert partners({name: key}, others) == {}
    assert likeness(small_text(3)).key == found[3].key


def test_pictures_with_content_keep_their_hash():
    for number in range(100):
        picture = drawn(number)
        assert likeness(picture) == (perceptual_hash(picture), None)
