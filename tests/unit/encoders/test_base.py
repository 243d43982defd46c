"""What an input may be, and what is said of one that no encoder can have been trained on."""

from __future__ import annotations

import pytest

from clipaudit.encoders.base import BadInputError, InputSpec

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PUBLISHED = [
    IMAGENET,
    CLIP,
    ((0.5,) * 3, (0.5,) * 3),
    ((0.0,) * 3, (1.0,) * 3),
    ((0.0,) * 3, (1 / 255,) * 3),
    ((0.5,) * 3, (1.0,) * 3),
    ((0.48627, 0.45882, 0.40784), (0.23482,) * 3),
    ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143)),
    ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)),  # CIFAR-10
    ((0.1307,) * 3, (0.3081,) * 3),  # MNIST
    ((0.2860,) * 3, (0.3530,) * 3),  # Fashion-MNIST
]


def refusal(mean, std, size_px=224):
    with pytest.raises(BadInputError) as caught:
        InputSpec(size_px, mean, std, "bicubic")
    return caught.value


@pytest.mark.parametrize(("mean", "std"), PUBLISHED)
def test_what_is_published_is_taken(mean, std):
    assert InputSpec(224, mean, std, "bicubic").mean == mean


@pytest.mark.parametrize(
    ("mean", "std", "right"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), IMAGENET),
        ((123.675, 116.28, 103.53), (0.229, 0.224, 0.225), IMAGENET),
        ((0.485, 0.456, 0.406), (58.395, 57.12, 57.375), IMAGENET),
        ((127.5,) * 3, (127.5,) * 3, ((0.5,) * 3, (0.5,) * 3)),
        ((0.0,) * 3, (255.0,) * 3, ((0.0,) * 3, (1.0,) * 3)),
        ((127.5,) * 3, (1.0,) * 3, ((0.5,) * 3, (0.0039,) * 3)),
    ],
)
def test_values_for_0_to_255_are_refused_with_those_for_0_to_1(mean, std, right):
    error = refusal(mean, std)
    assert "0 to 255" in str(error)
    for values in right:
        assert f"[{', '.join(f'{value:g}' for value in values)}]" in error.hint


@pytest.mark.parametrize(("mean", "std"), [IMAGENET, CLIP, PUBLISHED[7], PUBLISHED[8]])
def test_a_mean_and_a_std_that_are_swapped_are_refused(mean, std):
    error = refusal(std, mean)
    assert "swapped" in str(error)
    assert f"mean [{', '.join(f'{value:g}' for value in mean)}]" in error.hint


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((-1.0,) * 3, (0.5,) * 3),
        ((0.5,) * 3, (0.0,) * 3),
        ((0.5,) * 3, (-0.2,) * 3),
        ((0.5,) * 3, (1e-45,) * 3),
        ((float("nan"),) * 3, (0.5,) * 3),
        ((0.5,) * 3, (float("nan"),) * 3),
        ((0.5,) * 3, (float("inf"),) * 3),
        ((1e300,) * 3, (0.5,) * 3),
        ((0.5,) * 2, (0.5,) * 3),
    ],
)
def test_what_is_in_no_range_is_refused(mean, std):
    assert refusal(mean, std).hint


@pytest.mark.parametrize("size_px", [0, -1, 4097, 100_000, 10**400])
def test_sizes_of_no_encoder_are_refused(size_px):
    assert len(str(refusal(*IMAGENET, size_px=size_px))) < 200
