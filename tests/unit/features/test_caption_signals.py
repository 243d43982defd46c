"""Captions and pictures → signals, against the losses as torch computes and differentiates them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clipaudit.features.caption_signals import (
    COLUMNS,
    Bank,
    CaptionEmbeddings,
    average_captions,
    concatenate_captions,
    measure_captions,
)
from clipaudit.features.embeddings import Embeddings

DIM, N_VIEWS = 6, 3


@pytest.fixture
def numbers():
    return np.random.default_rng(5)


def embeddings_of(numbers, *image_ids, n_views=N_VIEWS):
    shape = (len(image_ids), n_views, DIM)
    return Embeddings(
        image_ids,
        views=numbers.normal(size=shape).astype(np.float32),
        plain=numbers.normal(size=(len(image_ids), DIM)).astype(np.float32),
    )


def captions_of(numbers, *caption_ids):
    names = {name for own in caption_ids for name in own}
    vectors = {name: numbers.normal(size=DIM).astype(np.float32) for name in sorted(names)}
    return CaptionEmbeddings(caption_ids, vectors)


def bank_of(numbers, image_ids=("p", "q"), caption_ids=("s", "t", "u")):
    return Bank(
        "hash",
        "a test",
        image_ids,
        numbers.normal(size=(len(image_ids), DIM)).astype(np.float32),
        caption_ids,
        numbers.normal(size=(len(caption_ids), DIM)).astype(np.float32),
    )


def by_torch(picture, caption, bank, loss, scale, bias):
    """Loss, and the length of its gradient along the sphere, by automatic differentiation."""
    halves = [
        torch.tensor(half.astype(np.float64), requires_grad=True) for half in (picture, caption)
    ]
    unit = [functional.normalize(half, dim=0) for half in halves]
    for half in unit:
        half.retain_grad()
    pictures, captions = (
        functional.normalize(torch.tensor(side.astype(np.float64)), dim=1)
        for side in (bank.pictures, bank.captions)
    )
    own = unit[0] @ unit[1]
    to_captions = scale * torch.cat([own[None], captions @ unit[0]]) + bias
    to_pictures = scale * torch.cat([own[None], pictures @ unit[1]]) + bias
    if loss == "softmax":
        directions = [to_captions, to_pictures] if len(pictures) else [to_captions]
        value = torch.stack(
            [functional.cross_entropy(logits[None], torch.tensor([0])) for logits in directions]
        ).mean()
    else:
        value = (
            functional.softplus(-to_captions[0])
            + functional.softplus(torch.cat([to_captions[1:], to_pictures[1:]])).sum()
        )
    value.backward()
    along = []
    for half in unit:
        assert half.grad is not None
        along.append(half.grad - (half.grad @ half) * half)
    return value.item(), torch.cat(along).norm().item()


@pytest.mark.parametrize(
    ("loss", "scale", "bias"),
    [("softmax", 1.0, 0.0), ("softmax", 14.3, 0.0), ("sigmoid", 10.0, -10.0), ("sigmoid", 2, 0.5)],
)
@pytest.mark.parametrize("bank_pictures", [(), ("p", "q")])
def test_loss_and_gradient_are_those_of_automatic_differentiation(
    numbers, loss, scale, bias, bank_pictures
):
    embeddings = embeddings_of(numbers, "a")
    captions = captions_of(numbers, ("x",))
    bank = bank_of(numbers, bank_pictures)
    measured = measure_captions(embeddings, captions, bank, loss, scale, bias)
    wanted = by_torch(embeddings.plain[0], captions.vectors["x"], bank, loss, scale, bias)
    assert (measured.loss[0], measured.gradient[0]) == pytest.approx(wanted, rel=1e-5)


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_plain_signals_are_what_they_are_called(numbers):
    embeddings = embeddings_of(numbers, "a")
    captions, bank = captions_of(numbers, ("x",)), bank_of(numbers)
    measured = measure_captions(embeddings, captions, bank, "softmax", 5)
    picture, caption = embeddings.plain[0], captions.vectors["x"]
    assert measured.cosine[0] == pytest.approx(cosine(picture, caption), abs=1e-6)
    views = [cosine(view, caption) for view in embeddings.views[0]]
    assert measured.view_cosine[0] == pytest.approx(np.mean(views), abs=1e-6)
    assert measured.text_norm[0] == pytest.approx(np.linalg.norm(caption), rel=1e-6)
    nearest = max(cosine(picture, other) for other in bank.captions)
    assert measured.nearest[0] == pytest.approx(nearest, abs=1e-6)


def test_a_picture_without_a_caption_has_only_its_nearest(numbers):
    measured = measure_captions(
        embeddings_of(numbers, "a", "b"),
        captions_of(numbers, (), ("x",)),
        bank_of(numbers),
        "softmax",
        5,
    )
    for name in COLUMNS:
        assert np.isnan(getattr(measured, name)).tolist() == [name != "nearest", False]


def test_of_several_captions_the_mean_stands(numbers):
    embeddings, bank = embeddings_of(numbers, "a"), bank_of(numbers)
    both = captions_of(numbers, ("x", "y"))
    apart = [
        measure_captions(embeddings, CaptionEmbeddings(((own,),), both.vectors), bank, "softmax", 5)
        for own in ("x", "y")
    ]
    together = measure_captions(embeddings, both, bank, "softmax", 5)
    for name in ("cosine", "view_cosine", "loss", "gradient", "text_norm"):
        mean = np.mean([getattr(signals, name)[0] for signals in apart])
        assert getattr(together, name)[0] == pytest.approx(mean, rel=1e-5)


def test_a_picture_is_not_compared_with_itself_in_the_bank(numbers):
    embeddings, captions = embeddings_of(numbers, "a"), captions_of(numbers, ("x",))
    bank = bank_of(numbers, ("a", "q"), ("x", "t"))
    without = Bank("", "", ("q",), bank.pictures[1:], ("t",), bank.captions[1:])
    with_itself, alone = (
        measure_captions(embeddings, captions, some, "softmax", 5) for some in (bank, without)
    )
    for name in COLUMNS:
        assert getattr(with_itself, name)[0] == getattr(alone, name)[0]


def test_neighbours_change_nothing(numbers):
    embeddings, bank = embeddings_of(numbers, "a", "b", "c"), bank_of(numbers)
    captions = captions_of(numbers, ("x",), (), ("y", "z"))
    together = measure_captions(embeddings, captions, bank, "sigmoid", 10, -5)
    apart = concatenate_captions(
        [
            measure_captions(
                Embeddings(
                    embeddings.image_ids[row : row + 1],
                    embeddings.views[row : row + 1],
                    embeddings.plain[row : row + 1],
                ),
                CaptionEmbeddings(captions.caption_ids[row : row + 1], captions.vectors),
                bank,
                "sigmoid",
                10,
                -5,
            )
            for row in range(3)
        ]
    )
    assert apart.image_ids == together.image_ids
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(apart, name), getattr(together, name))


def test_without_views_all_but_their_cosine_is_there(numbers):
    embeddings = embeddings_of(numbers, "a", n_views=0)
    measured = measure_captions(
        embeddings, captions_of(numbers, ("x",)), bank_of(numbers), "softmax", 5
    )
    assert [name for name in COLUMNS if np.isnan(getattr(measured, name)[0])] == ["view_cosine"]


def test_the_mean_of_several_encoders_is_taken_field_by_field(numbers):
    several = [
        measure_captions(
            embeddings_of(numbers, "a"),
            captions_of(numbers, ("x",)),
            bank_of(numbers),
            "softmax",
            5,
        )
        for _ in range(2)
    ]
    mean = average_captions(several)
    for name in COLUMNS:
        values = [getattr(signals, name)[0] for signals in several]
        wanted = np.sqrt(np.prod(values)) if name == "text_norm" else np.mean(values)
        assert getattr(mean, name)[0] == pytest.approx(wanted, rel=1e-5)


def test_a_bank_without_captions_is_refused(numbers):
    with pytest.raises(ValueError, match="at least one caption"):
        measure_captions(
            embeddings_of(numbers, "a"),
            captions_of(numbers, ("x",)),
            bank_of(numbers, caption_ids=()),
            "softmax",
            5,
        )


def test_an_embedding_of_zero_is_refused(numbers):
    embeddings = embeddings_of(numbers, "a")
    embeddings.plain[0] = 0
    with pytest.raises(ValueError, match="non-zero"):
        measure_captions(embeddings, captions_of(numbers, ("x",)), bank_of(numbers), "softmax", 5)
