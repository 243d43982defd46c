import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from clipaudit.pictures.hashing import perceptual_hash
from clipaudit.pictures.near_duplicates import MOST_BITS, Seen, partners
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

TOP = 2**63


def drawn(number, side=64):
    return Image.fromarray(draw_picture(stream(0, f"picture {number}", "near-duplicates"), side))


def hashed(picture):
    return perceptual_hash(np.asarray(picture))


def n_bits_apart(one, other):
    return f"{one ^ other:b}".count("1")


def encoded(form, quality):
    def change(picture):
        file = io.BytesIO()
        picture.save(file, form, quality=quality)
        return Image.open(file).convert("RGB")

    return change


def scaled(factor):
    def change(picture):
        return picture.resize([round(factor * side) for side in picture.size])

    return change


def cut(share):
    def change(picture):
        side = picture.width
        off = round(share * side)
        return picture.crop((off, off, side - off, side - off))

    return change


SAME = {
    "JPEG of 90": encoded("JPEG", 90),
    "JPEG of 50": encoded("JPEG", 50),
    "WebP of 75": encoded("WEBP", 75),
    "twice as large": scaled(2),
    "half as large": scaled(0.5),
    "three quarters": scaled(0.75),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.05),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.1),
    "in grey": lambda picture: picture.convert("L").convert("RGB"),
    "small JPEG": lambda picture: encoded("JPEG", 75)(scaled(0.5)(picture)),
}
OTHER = {
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "cut on all sides": cut(1 / 8),
}


def share_taken_as_the_same(pictures, change):
    same = [n_bits_apart(hashed(one), hashed(change(one))) <= MOST_BITS for one in pictures]
    return np.mean(same)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_copy_that_looks_the_same_is_a_near_duplicate(change):
    assert share_taken_as_the_same([drawn(number) for number in range(100)], change) >= 0.97


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_a_copy_that_was_mirrored_turned_or_cut_is_another_picture(change):
    """That is what pHash cannot see; the module says so."""
    assert share_taken_as_the_same([drawn(number) for number in range(100)], change) <= 0.03


def test_different_pictures_are_no_near_duplicates():
    hashes = [hashed(drawn(number)) for number in range(300)]
    apart = [n_bits_apart(one, other) for k, one in enumerate(hashes) for other in hashes[:k]]
    assert min(apart) > MOST_BITS
    assert 30 < np.mean(apart) < 33  # of 64 bits, 32 of which are ones


@pytest.fixture(scope="module")
def photographs(cifar_zip):
    """500 pictures of CIFAR-10."""
    with zipfile.ZipFile(cifar_zip) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        chosen = np.random.default_rng(0).choice(names, 500, replace=False)
        return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in chosen]


def test_few_photographs_are_taken_for_others(photographs):
    seen = Seen()
    n_taken = sum(not seen.add(hashed(one)) for one in photographs)
    assert n_taken <= 5  # CIFAR-10 does have near-duplicates, one in a hundred of all 50,000


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_photograph_is_known_again(photographs, change):
    assert share_taken_as_the_same(photographs[:100], change) >= 0.97


# --- what was seen -------------------------------------------------------------------------------


@st.composite
def hashes(draw):
    """Some that have nothing to do with each other, and some that differ from those in few bits."""
    numbers = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 12))):
        one = draw(st.sampled_from(numbers))
        for bit in draw(st.sets(st.integers(0, 63), max_size=10)):
            one ^= 2**bit
        numbers.append(one)
    return draw(st.permutations(numbers))


def slow_answers(known, asked, most_bits):
    known, answers = list(known), []
    for one in asked:
        is_new = all(n_bits_apart(one, other) > most_bits for other in known)
        answers.append(is_new)
        if is_new:
            known.append(one)
    return answers


@given(st.just([]) | hashes(), hashes(), st.integers(0, 64))
@settings(max_examples=200)
def test_seen_answers_as_a_comparison_with_each_one_does(known, asked, most_bits):
    for most in (most_bits, MOST_BITS):
        seen = Seen(iter(known), most)
        assert [seen.add(one) for one in asked] == slow_answers(known, asked, most)


@pytest.mark.parametrize("one", [0, 2**64 - 1, TOP, 0x0123456789ABCDEF])
def test_six_bits_are_few_and_seven_are_not_wherever_they_are(one):
    for first in range(64):
        flipped = one
        for n in range(1, 10):
            flipped ^= 2 ** ((first + 7 * n) % 64)
            assert Seen([one]).add(flipped) == (n > 6)


def test_what_was_no_news_is_not_remembered():
    seen = Seen()
    assert seen.add(0)
    assert not seen.add(0b111111)
    assert seen.add(0b111111_111111)  # six bits from the second, which is not there


def test_hashes_that_are_known_from_the_start_are_all_kept():
    seen = Seen([0, 0b111])  # near each other, but known is known
    assert not seen.add(0b111_111_111)
    assert Seen([0]).add(0b111_111_111)


@pytest.mark.parametrize("n_known", [0, 1, 63, 64, 65, 100])
def test_nothing_is_forgotten_as_more_is_seen(n_known):
    numbers = [int(one) for one in np.random.default_rng(1).integers(0, 2**64, 700, np.uint64)]
    seen = Seen(numbers[:n_known])
    for position, one in enumerate(numbers[n_known:], start=n_known):
        assert seen.add(one)
        for earlier in {0, position // 2, position}:
            assert not seen.add(numbers[earlier] ^ TOP)
    assert not any(seen.add(one) for one in numbers)
    assert Seen(numbers).add(numbers[0] ^ 0xFFFF)


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=12),
    st.lists(st.integers(0, 2**64 - 1), max_size=12),
    st.integers(0, 40),
)
def test_partners_are_the_nearest_by_a_count_of_bits(ones, others, most_bits):
    some, more = ({str(i): one for i, one in enumerate(hashes)} for hashes in (ones, others))
    got = partners(some, more, most_bits)
    for name, one in some.items():
        distances = {other: (one ^ code).bit_count() for other, code in more.items()}
        nearest = min(distances, key=distances.__getitem__, default=None)
        if nearest is None or distances[nearest] > most_bits:
            assert name not in got
        else:
            assert got[name] == nearest
