"""Names of devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipaudit.encoders.devices import full_precision, resolve, send, share_work
from clipaudit.errors import EncoderError


def test_the_cpu_is_always_there():
    assert resolve("cpu") == torch.device("cpu")


def test_auto_takes_the_best_there_is():
    has = torch.cuda.is_available(), torch.backends.mps.is_available()
    kinds = {(True, False): "cuda", (False, True): "mps", (False, False): "cpu"}
    assert resolve("auto").type == kinds[has]


@pytest.mark.parametrize(
    "name", ["gpu", "", "cpu:1", "cuda:x", "cuda:-1", "mps:0", "CPU", "mps:all", "all"]
)
def test_what_is_no_device_is_refused(name):
    with pytest.raises(EncoderError, match="no device is called"):
        resolve(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "cuda:all"])
def test_a_missing_gpu_is_said(name):
    with pytest.raises(EncoderError, match=name) as caught:
        share_work(name)
    assert "--device cpu" in caught.value.hint


def test_one_device_shares_no_work():
    assert share_work("cpu") == ("cpu",)
    assert share_work("auto") == ("auto",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_all_gpus_are_counted():
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    assert [*share_work("cuda:all")] == names
    assert resolve("cuda:all") == resolve("cuda") == torch.device("cuda:0")


def flags():
    """What torch may do with numbers on a GPU; the flags are there without one, too."""
    matmul = torch.backends.cuda.matmul
    return {
        "products of float32": matmul.allow_tf32,
        "sums of float16": matmul.allow_fp16_reduced_precision_reduction,
        "sums of bfloat16": matmul.allow_bf16_reduced_precision_reduction,
        "convolutions of float32": torch.backends.cudnn.allow_tf32,
    }


def test_torch_takes_short_cuts_on_a_gpu_unless_it_is_told_not_to():
    """If this fails, torch has other defaults now; `full_precision` may have less to do."""
    assert flags() == {
        "products of float32": False,
        "sums of float16": True,
        "sums of bfloat16": True,
        "convolutions of float32": True,
    }


@pytest.mark.parametrize("is_allowed", [False, True])
def test_full_precision_on_a_gpu_ends_with_the_last_thread_that_wants_it(is_allowed):
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    before = flags()
    try:
        outer = full_precision(torch.device("cuda"))
        inner = full_precision(torch.device("cuda", 1))
        outer.__enter__()
        assert not any(flags().values())
        inner.__enter__()
        outer.__exit__(None, None, None)  # threads end in any order
        assert not any(flags().values())
        inner.__exit__(None, None, None)
        assert flags() == before
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_on_the_cpu_no_flag_is_touched():
    before = flags()
    with full_precision(torch.device("cpu")):
        assert flags() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_array_arrives_whole_while_the_gpu_is_busy():
    where = torch.device("cuda:0")
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (64, 3, 224, 224), dtype=np.uint8) for _ in range(4)]
    busy = torch.rand(4096, 4096, device=where)
    sent = []
    for array in arrays:
        for _ in range(8):
            busy = busy @ busy / busy.norm()
        sent.append(send(array, where))
    for array, tensor in zip(arrays, sent, strict=True):
        np.testing.assert_array_equal(tensor.cpu().numpy(), array)
