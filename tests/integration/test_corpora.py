"""Pictures that others made to break decoders; see `corpora.py`, which fetches them."""

import json
import re
import time
from importlib.util import find_spec

import numpy as np
import pytest

from clipaudit.pictures.base import Limits
from clipaudit.pictures.decoding import decode
from tests.integration import corpora

SECONDS = 120
MEGABYTES = 900


def pictures(corpus):
    folder = corpora.home() / corpus
    if not folder.is_dir():
        pytest.skip(f"{corpus} is not here: python tests/integration/corpora.py fetch")
    return folder


def pixels(name):
    data = (pictures(corpora.PILLOW) / name).read_bytes()
    return decode(data, Limits()).pixels.astype(float)


@pytest.mark.parametrize("corpus", corpora.CORPORA)
def test_every_file_has_the_outcome_in_the_table(corpus):
    folder = pictures(corpus)
    golden = json.loads(corpora.GOLDEN.read_text())
    expected = {
        name: outcome for outcome, names in golden["outcomes"][corpus].items() for name in names
    }
    began = time.monotonic()
    found, worker_bytes = corpora.outcomes(corpus)
    assert time.monotonic() - began < SECONDS
    assert worker_bytes < MEGABYTES * 2**20

    assert {re.sub(r"(?<=\.tar)/.*", "", name) for name in found} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    if find_spec("pillow_heif") and "avif/hopper.heif" in expected:
        expected["avif/hopper.heif"] = "ok"
    changed = {
        name: f"{expected.get(name)} → {outcome}"
        for name, outcome in found.items()
        if outcome != expected.get(name)
    }
    assert not changed, f"made with Pillow {golden['pillow']}; to accept: {golden['made_by']}"
    assert found.keys() == expected.keys()
    assert not {"decoder_crashed", "timeout", "out_of_memory"} & set(found.values())


def difference(one, other):
    """Mean difference of two pictures, in levels of 255."""
    return np.abs(pixels(one) - pixels(other)).mean()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_pictures_look_like_the_upright_one(orientation):
    # The same photograph, saved again with loss: 4.5 to 4.9 levels apart; 59 or more if not turned.
    assert difference(f"hopper_orientation_{orientation}.jpg", "hopper.png") < 6
    assert difference(f"hopper_orientation_{orientation}.webp", "hopper.png") < 6
    assert difference(f"g4_orientation_{orientation}.tif", "g4_orientation_1.tif") < 1


def test_cmyk_and_lab_look_like_rgb():
    assert difference("pil_sample_cmyk.jpg", "pil_sample_rgb.jpg") < 6
    assert difference("hopper.Lab.tif", "hopper.png") < 3


@pytest.mark.parametrize("kind", ["RGB", "RGBa"])
def test_16_bit_colours_look_like_8_bit(kind):
    for file in ("tiff_16bit", "tiff_strip_planar_16bit", "tiff_tiled_planar_16bit"):
        assert difference(f"{file}_{kind}.tiff", f"tiff_16bit_{kind}_target.png") == 0


def test_every_way_to_write_transparency_looks_the_same():
    assert difference("p_trns_single.png", "rgb_trns.png") == 0
    assert difference("rgb_trns_ycbc.jp2", "rgb_trns.png") < 3
    assert difference("transparent.webp", "transparent.png") < 3
    assert difference("transparent.gif", "transparent.png") < 3


def test_16_bit_grey_is_dark_where_it_uses_little_of_its_range():
    data = (pictures(corpora.PILLOW) / "16bit.cropped.tif").read_bytes()  # brightest value 694
    decoded = decode(data, Limits())
    assert decoded.pixels.max() == 694 // 256
    assert "nearly black: uses little of its 16-bit range" in decoded.notes
