import numpy as np
import pytest
from PIL import Image

from clipaudit.pictures.base import BadImage, Frame, Limits
from clipaudit.pictures.decoding import decode, resize_to_square
from clipaudit.pictures.hashing import perceptual_hash
from clipaudit.pictures.image_statistics import image_statistics
from clipaudit.pictures.preparing import Wanted, prepare
from clipaudit.pictures.random_embedding import random_embedding
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture
from tests.made.picture_files import encoded
from tests.made.present import present

LIMITS = Limits()
PICTURE = Image.fromarray(draw_picture(stream(0, "picture", "preparing"), 40)).crop((0, 0, 40, 30))
FILES = {
    form: encoded(PICTURE, form)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
}


@pytest.mark.parametrize("form", FILES)
def test_what_is_prepared_is_what_each_step_alone_gives(form):
    decoded = decode(FILES[form], LIMITS)
    frames = (Frame(17, "nearest"), Frame(17, "bilinear"), Frame(9, "bicubic"), Frame(5, "lanczos"))
    prepared = prepare(FILES[form], Wanted(frames, appearance=True), LIMITS)
    for frame in frames:
        image = prepared.images[frame]
        np.testing.assert_array_equal(image, resize_to_square(decoded, *frame))
        assert image.flags.writeable
    assert (prepared.width_px, prepared.height_px) == (40, 30)
    assert (prepared.format, prepared.notes) == (decoded.format, decoded.notes)
    assert prepared.facts.phash == perceptual_hash(decoded.pixels)
    appearance = prepared.facts.appearance
    statistics = image_statistics(FILES[form], decoded.pixels)
    np.testing.assert_array_equal(present(appearance).statistics, statistics)
    np.testing.assert_array_equal(present(appearance).embedding, random_embedding(decoded.pixels))


def test_nothing_is_made_that_is_not_wanted():
    prepared = prepare(FILES["PNG"], Wanted(), LIMITS)
    assert prepared.images == {}
    assert prepared.facts.appearance is None


def test_a_bad_file_has_the_reason_that_decoding_gives():
    with pytest.raises(BadImage, match="not_an_image"):
        prepare(b"<html>", Wanted(), LIMITS)


def test_a_picture_that_is_blank_on_white_is_noted_as_one_of_one_colour():
    drawing = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    drawing.paste((255, 255, 255, 255), (20, 20, 40, 40))
    blank = prepare(encoded(drawing, "PNG"), Wanted(), LIMITS)
    assert blank.notes == ("transparency on white", "plain: one colour")
    white = prepare(encoded(Image.new("RGB", (9, 9), "white"), "BMP"), Wanted(), LIMITS)
    assert white.notes == ("plain: one colour",)
    assert blank.facts.phash == white.facts.phash
