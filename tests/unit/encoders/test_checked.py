"""Encoders that misbehave: what they give is looked at, and they are waited for only so long."""

from __future__ import annotations

import contextlib
import gc
import time
import weakref

import pytest
import torch

from clipaudit.encoders.base import EncoderInfo, EncoderOptions, InputSpec
from clipaudit.encoders.checked import CheckedEncoder
from clipaudit.errors import EncoderError

SIDE, DIM = 8, 6
SPEC = InputSpec(SIDE, (0.5,) * 3, (0.5,) * 3, "bicubic")
WEIGHTS = torch.randn(3 * SIDE**2, DIM, generator=torch.Generator().manual_seed(0))


class Fake:
    """An encoder that is good for as long as it is tried, and then does what it is told."""

    def __init__(self, habit=lambda embeddings: embeddings, n_good=2, input_spec=SPEC):
        self.device = torch.device("cpu")
        self.info = EncoderInfo("fake", "embedding", input_spec, DIM, "f" * 64, "torch", "cpu")
        self.n_good = n_good
        self.habit = habit
        self.n_calls = 0

    def embed(self, views):
        self.n_calls += 1
        embeddings = views.flatten(1) @ WEIGHTS
        return embeddings if self.n_calls <= self.n_good else self.habit(embeddings)


def raise_error(_):
    raise KeyError("layer\nof two lines")


BAD_ANSWERS = {
    "half of the rows": (lambda made: made[::2], "(3, 6)"),
    "twice the rows": (lambda made: made.repeat(2, 1), "(10, 6)"),
    "one row": (lambda made: made[:1], "(1, 6)"),
    "no row": (lambda made: made[:0], "(0, 6)"),
    "half of the width": (lambda made: made[:, :3], "(5, 3)"),
    "twice the width": (lambda made: made.repeat(1, 2), "(5, 12)"),
    "turned round": (lambda made: made.T, "(6, 5)"),
    "one dimension": (lambda made: made.flatten(), "(30,)"),
    "three dimensions": (lambda made: made[None], "(1, 5, 6)"),
    "a scalar": (lambda made: made.sum(), "()"),
    "a float": (lambda made: 1.0, "a float"),
    "a list": (lambda made: made.tolist(), "a list"),
    "a tuple": (lambda made: (made,), "a tuple"),
    "None": (lambda made: None, "a NoneType"),
    "an array": (lambda made: made.numpy(), "a ndarray"),
    "integers": (lambda made: made.to(torch.int8), "numbers of int8"),
    "booleans": (lambda made: made > 0, "numbers of bool"),
    "complex numbers": (lambda made: made.to(torch.complex64), "numbers of complex64"),
    "sparse numbers": (lambda made: made.to_sparse(), "numbers of float32"),
    "an exception": (raise_error, "KeyError: 'layer"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
@pytest.mark.parametrize("n_good", [0, 2])
def test_an_answer_that_is_no_vector_a_view_is_refused(name, n_good):
    habit, says = BAD_ANSWERS[name]
    with pytest.raises(EncoderError) as caught:
        CheckedEncoder(Fake(habit, n_good), EncoderOptions()).embed(torch.rand(5, 3, SIDE, SIDE))
    if n_good:
        assert says in str(caught.value)
        assert "5 views" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("element", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_become_those_that_are_promised(element):
    encoder = CheckedEncoder(Fake(lambda made: made.to(element).requires_grad_()), EncoderOptions())
    made = encoder.embed(torch.rand(5, 3, SIDE, SIDE))
    assert made.dtype == torch.float32
    assert not made.requires_grad


def test_a_good_encoder_has_the_same_numbers():
    views = torch.rand(5, 3, SIDE, SIDE)
    fake = Fake()
    assert torch.equal(CheckedEncoder(fake, EncoderOptions()).embed(views), Fake().embed(views))


@pytest.mark.parametrize(
    "habit",
    [
        lambda made: made + torch.randn(made.shape) * 0.05,
        lambda made: torch.rand(made.shape),
        lambda made: torch.nn.functional.dropout(made, 0.5),
        lambda made: made - made.mean(dim=0),
        lambda made: made.cumsum(dim=0),
        lambda made: made.flip(0),
    ],
)
def test_an_encoder_that_answers_the_same_view_with_other_numbers_is_refused(habit):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with pytest.raises(EncoderError, match="other numbers when it is asked"):
            CheckedEncoder(Fake(habit, n_good=0), EncoderOptions())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_encoder_that_gives_no_finite_numbers_is_refused(value):
    with pytest.raises(EncoderError, match="not finite"):
        CheckedEncoder(Fake(lambda made: made * value, n_good=0), EncoderOptions())


def sleep(made):
    time.sleep(10**6)
    return made


def spin(made):
    while True:
        made.add_(1)


def wait_in_pieces(made):
    while True:
        time.sleep(0.001)


@pytest.mark.parametrize("habit", [spin, wait_in_pieces])
@pytest.mark.parametrize("n_good", [0, 2])
def test_an_encoder_that_hangs_is_given_up_in_time(habit, n_good):
    started = time.monotonic()
    options = EncoderOptions(batch_timeout_s=0.5)
    with pytest.raises(EncoderError, match=r"no answer for \d views within 0\.\d+ s") as caught:
        CheckedEncoder(Fake(habit, n_good), options).embed(torch.rand(5, 3, SIDE, SIDE))
    assert "--batch-timeout" in caught.value.hint
    assert time.monotonic() - started < 4


def test_memory_of_a_failed_batch_is_free_at_once():
    """Else the next, smaller one would not fit either."""
    tensors = []

    def short(made):
        tensors.append(weakref.ref(made.untyped_storage()))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    encoder = CheckedEncoder(Fake(short), EncoderOptions())
    gc.disable()
    try:
        with contextlib.suppress(torch.OutOfMemoryError):
            encoder.embed(torch.rand(5, 3, SIDE, SIDE))
        assert tensors[0]() is None
    finally:
        gc.enable()


def test_want_of_memory_is_left_to_those_who_can_halve_the_batch():
    def short(made):
        if len(made) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return made

    encoder = CheckedEncoder(Fake(short, n_good=0), EncoderOptions())
    with pytest.raises(torch.OutOfMemoryError):
        encoder.embed(torch.rand(5, 3, SIDE, SIDE))
    assert encoder.embed(torch.rand(1, 3, SIDE, SIDE)).shape == (1, DIM)
