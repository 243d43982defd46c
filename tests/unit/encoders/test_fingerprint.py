"""What two encoders must share to be one."""

from __future__ import annotations

import struct
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from torch import nn

from clipaudit.encoders.base import InputSpec
from clipaudit.encoders.fingerprint import of_files, of_module

SPEC = InputSpec(32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bicubic")


def net(activation=nn.GELU, stride=1, eps=1e-5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=stride), activation(), nn.BatchNorm2d(4, eps=eps)
        )


def test_its_bytes_never_change():
    """Stores, inferrers and calibrations are keyed by it."""
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    written = (
        b"bias torch.float32 (1,)\n"
        + struct.pack("<f", 3)
        + b"weight torch.float32 (1, 2)\n"
        + struct.pack("<2f", 1, 2)
        + b" Linear []\n"
        + b'{"format":"clipaudit-encoder-1","input":{"interpolation":"bicubic",'
        + b'"mean":[0.5,0.4,0.3],"size_px":32,"std":[0.2,0.2,0.2]},"output":"embedding"}'
    )
    assert of_module(layer, SPEC, "embedding") == sha256(written).hexdigest()


def test_counters_and_idle_layers_do_not_count():
    one, other = net(), net()
    other[2].num_batches_tracked += 5
    other.append(nn.Dropout(0.5))
    assert of_module(one, SPEC, "trunk") == of_module(other, SPEC, "trunk")


@pytest.mark.parametrize(
    "other",
    [
        lambda: (net(nn.ReLU), SPEC, "trunk"),
        lambda: (net(stride=2), SPEC, "trunk"),
        lambda: (net(eps=1e-6), SPEC, "trunk"),
        lambda: (net().half(), SPEC, "trunk"),
        lambda: (net(), SPEC, "embedding"),
        lambda: (net(), replace(SPEC, size_px=33), "trunk"),
        lambda: (net(), replace(SPEC, mean=(0.5, 0.4, 0.31)), "trunk"),
        lambda: (net(), replace(SPEC, interpolation="bilinear"), "trunk"),
    ],
)
def test_whatever_changes_the_function_changes_it(other):
    assert of_module(*other()) != of_module(net(), SPEC, "trunk")


def test_every_kind_of_tensor_counts():
    class Odd(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.register_buffer("scalar", torch.tensor(value, dtype=torch.bfloat16))
            self.register_buffer("empty", torch.zeros(0))
            self.register_buffer("turned", torch.arange(6.0).view(2, 3).T)

    assert of_module(Odd(1.0), SPEC, "trunk") == of_module(Odd(1.0), SPEC, "trunk")
    assert of_module(Odd(1.0), SPEC, "trunk") != of_module(Odd(2.0), SPEC, "trunk")


def test_files_count_by_content_and_cut(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c", "d")]
    for path, content in zip(paths, (b"12", b"34", b"123", b"4"), strict=True):
        path.write_bytes(content)
    a, b, c, d = paths
    assert of_files([a, b], SPEC, "trunk") != of_files([c, d], SPEC, "trunk")
    assert of_files([a, b], SPEC, "trunk") != of_files([a, b], SPEC, "embedding")
    assert of_files([a], SPEC, "trunk") == of_files([a], SPEC, "trunk")
