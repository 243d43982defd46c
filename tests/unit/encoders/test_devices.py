"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from clipaudit.encoders.devices import resolve
from clipaudit.errors import EncoderError


def test_the_cpu_is_always_there():
    assert resolve("cpu") == torch.device("cpu")


def test_auto_takes_the_best_there_is():
    has = torch.cuda.is_available(), torch.backends.mps.is_available()
    kinds = {(True, False): "cuda", (False, True): "mps", (False, False): "cpu"}
    assert resolve("auto").type == kinds[has]


@pytest.mark.parametrize("name", ["gpu", "", "cpu:1", "cuda:x", "cuda:-1", "mps:0", "CPU"])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(EncoderError, match="no device is called"):
        resolve(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_missing_gpu_is_said(name):
    with pytest.raises(EncoderError, match=name) as caught:
        resolve(name)
    assert "--device cpu" in caught.value.hint
