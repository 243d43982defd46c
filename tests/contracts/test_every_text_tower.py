"""Whatever loads a text tower, it keeps the promises of `TextTower`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clipaudit.encoders.spec import SCHEMES, load_encoder
from clipaudit.encoders.text_towers import has_text_tower, load_text_tower
from tests.made.encoders import untouched
from tests.made.text_towers import (
    from_checkpoint,
    from_folder,
    from_folder_of_coca,
    from_folder_of_parts,
    from_transformers,
    from_transformers_of_siglip,
)

EVERY = [
    from_folder,
    from_folder_of_parts,
    from_folder_of_coca,
    from_checkpoint,
    from_transformers,
    from_transformers_of_siglip,
]

TEXTS = (
    "a photo of a cat",
    "A Photo of a CAT, taken in 1998 & 2004!",
    "",
    "naïve café — 東京タワー 🐈",
    "  two  spaces,\ta tab\nand a line  ",
    "a caption that does not end " * 60,
)

TOLERANCE = 1e-5
"""Of a vector's length: a batch of another size may be multiplied in another order."""


def relative(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    lengths = np.linalg.norm(expected, axis=-1)
    return float((np.linalg.norm(got - expected, axis=-1) / lengths).max())


@pytest.fixture(scope="module", params=EVERY, ids=lambda make: make.__name__)
def case(request, tmp_path_factory):
    if "transformers" in request.param.__name__:
        pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    made = request.param(folder, untouched)
    return made, load_text_tower(made.spec, made.options), request.param


def test_every_scheme_is_tested():
    elsewhere = {"hf-hub"}  # integration/test_text_hub.py, since it downloads
    by_scheme = {"open_clip": "from_checkpoint", "local-dir": "from_folder"}
    names = {make.__name__ for make in EVERY}
    for scheme, row in SCHEMES.items():
        if row.text and scheme not in elsewhere:
            assert by_scheme.get(scheme, f"from_{scheme}") in names


def test_it_computes_what_its_library_computes(case):
    made, tower, _ = case
    with torch.no_grad():
        expected = made.encode_text(list(TEXTS))
    got = tower.embed_texts(TEXTS).vectors
    assert got.dtype == np.float32
    assert got.shape == (len(TEXTS), tower.info.dim)
    assert relative(got, expected) < TOLERANCE


def test_a_caption_embeds_alike_in_any_company(case):
    _, tower, _ = case
    together = tower.embed_texts(TEXTS * 30)  # more than one batch
    alone = [tower.embed_texts([text]) for text in TEXTS]
    expected = np.concatenate([found.vectors for found in alone] * 30)
    assert relative(together.vectors, expected) < TOLERANCE
    cut = np.concatenate([found.is_cut for found in alone] * 30)
    np.testing.assert_array_equal(together.is_cut, cut)


def test_a_caption_that_is_longer_than_the_context_is_cut_and_said_to_be(case):
    _, tower, _ = case
    length = tower.info.context_length
    lengths = np.arange(1, length + 5)
    found = tower.embed_texts(["cat " * int(n) for n in lengths])
    assert found.is_cut[-1]
    assert not found.is_cut[0]
    # All that are cut, and the one that just fits with its marks, hold as many words as fit.
    n_marks = length - int(lengths[~found.is_cut].max())
    assert n_marks in {0, 1, 2}
    np.testing.assert_array_equal(found.is_cut, lengths > length - n_marks)
    longest = found.vectors[length - n_marks - 1]
    for vector in found.vectors[found.is_cut]:
        assert relative(vector, longest) < TOLERANCE


def test_a_picture_and_a_caption_are_as_alike_as_the_training_saw_them(case):
    made, tower, _ = case
    encoder = load_encoder(made.spec, made.options)
    side = encoder.info.input.size_px
    views = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    given = encoder.info.input
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (given.mean, given.std))
    with torch.no_grad():
        pictures = made.encode_image((views - mean) / std)
        expected = made.logits(pictures, made.encode_text(list(TEXTS)))
    info = tower.info
    assert info.loss == made.loss
    assert info.dim == encoder.info.dim
    texts = torch.from_numpy(tower.embed_texts(TEXTS).vectors)
    cosines = torch.nn.functional.normalize(encoder.embed(views)) @ (
        torch.nn.functional.normalize(texts).T
    )
    torch.testing.assert_close(info.scale * cosines + info.bias, expected, rtol=1e-4, atol=1e-3)


def test_no_captions_are_no_error(case):
    _, tower, _ = case
    found = tower.embed_texts([])
    assert found.vectors.shape == (0, tower.info.dim)
    assert found.is_cut.shape == (0,)


def test_captions_that_are_no_text_or_without_end_are_embedded_in_a_moment(case):
    _, tower, _ = case
    hostile = ["\ud800 lone", "\0\x01\x02", "a" * 2_000_000, "<script>" * 10, " " * 2_000_000]
    found = tower.embed_texts(hostile)
    assert np.isfinite(found.vectors).all()
    assert found.is_cut[2]
    assert not found.is_cut[4]


def test_loading_it_twice_gives_the_same(case):
    made, tower, _ = case
    again = load_text_tower(made.spec, made.options)
    assert again.info == tower.info
    np.testing.assert_array_equal(
        again.embed_texts(TEXTS).vectors, tower.embed_texts(TEXTS).vectors
    )


def test_other_weights_have_another_fingerprint(case, tmp_path):
    _, tower, make = case

    def nudge(model):
        """Change one weight of the text tower, and none of the visual one."""
        weight = next(
            weight
            for name, weight in model.named_parameters()
            if "position" in name and "vis" not in name
        )
        with torch.no_grad():
            weight.view(-1)[0] += 0.1

    other = make(tmp_path, nudge)
    info = load_text_tower(other.spec, other.options).info
    assert info.fingerprint != tower.info.fingerprint
    assert replace(info, spec="", fingerprint="") == replace(tower.info, spec="", fingerprint="")


def test_its_scheme_says_that_there_is_one(case):
    assert has_text_tower(case[0].spec)
