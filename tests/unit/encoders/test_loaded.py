"""What every encoder does around its model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.encoders.base import InputSpec
from clipaudit.encoders.loaded import embed_or_out_of_memory, in_chunks, normalise, probe
from clipaudit.errors import EncoderError

SPEC = InputSpec(4, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), "bicubic")


def test_views_are_normalised_as_torchvision_does():
    from torchvision.transforms.functional import normalize

    views = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalise(views, SPEC), normalize(views, SPEC.mean, SPEC.std))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("Failed to allocate memory for requested buffer of size 99"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_want_of_memory_has_one_name(error):
    def run(_):
        raise error

    with pytest.raises(torch.OutOfMemoryError):
        embed_or_out_of_memory(run, torch.zeros(1))
    with pytest.raises(EncoderError, match="does not fit into the memory of cpu"):
        probe(run, SPEC, torch.device("cpu"), "it")


def test_other_errors_keep_theirs():
    def run(_):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        embed_or_out_of_memory(run, torch.zeros(1))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda views: views, "(2, 3, 4, 4)"),
        (lambda views: views.mean(), "()"),
        (lambda views: views.flatten(1)[:1], "(1, 48)"),
        (lambda views: views.flatten(1) / 0, "not finite"),
    ],
)
def test_what_is_no_vector_a_view_is_refused(run, says):
    with pytest.raises(EncoderError) as caught:
        probe(run, SPEC, torch.device("cpu"), "it")
    assert says in str(caught.value)


@given(n=st.integers(1, 20), size=st.integers(1, 8))
def test_chunks_change_nothing(n, size):
    seen = []

    def run(views):
        seen.append(len(views))
        return views.flatten(1) * 2

    views = torch.arange(n * 3.0).view(n, 3, 1, 1)
    assert torch.equal(in_chunks(run, size)(views), views.flatten(1) * 2)
    assert set(seen) == {size}
    assert len(seen) == -(-n // size)


def test_no_size_is_no_chunks():
    def run(views):
        return views

    assert in_chunks(run, None) is run
