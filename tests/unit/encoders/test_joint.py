"""One encoder on several devices: here, copies of a real one on the CPU stand in for GPUs."""

from __future__ import annotations

import contextlib
import gc
import logging
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.checked import CheckedEncoder
from clipaudit.encoders.joint import JointEncoder
from clipaudit.encoders.loaded import LoadedEncoder
from clipaudit.encoders.towers import Tower, ready
from clipaudit.errors import EncoderError
from clipaudit.features.embedder import Embedder
from clipaudit.features.views import ENCODERMI
from tests.made.encoders import INPUT, SIDE, conv_net, from_folder, untouched

OPTIONS = EncoderOptions(device="cpu", backend="torch")
N_VIEWS = 4


def tower():
    return ready(Tower("toy", conv_net(untouched), INPUT, "embedding"), OPTIONS)


def views(n):
    return torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(n))


def with_habit(habit):
    """A real encoder whose answers go through a function."""
    plain = tower()
    return LoadedEncoder(plain.info, plain.device, lambda seen: habit(plain.run(seen)))


@pytest.mark.parametrize("n_devices", [1, 2, 3])
@pytest.mark.parametrize("n_views", [1, 2, 5, 12])
def test_rows_are_those_of_each_share_alone_in_their_order(n_devices, n_views):
    joint = JointEncoder([tower() for _ in range(n_devices)])
    seen = views(n_views)
    found = joint.embed(seen)
    shares = [tower().embed(part) for part in seen.chunk(n_devices)]
    assert torch.equal(found, torch.cat(shares))
    torch.testing.assert_close(found, tower().embed(seen), rtol=1e-5, atol=1e-6)


def test_it_is_the_same_encoder_on_a_device_of_another_name():
    joint = JointEncoder([tower(), tower()])
    assert joint.info == replace(tower().info, device="cuda:all (2)")
    assert joint.device == torch.device("cpu")


def test_it_passes_for_an_encoder_and_gives_the_same_embeddings_of_pictures():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)
    ids = [f"{number:064x}" for number in range(5)]
    joint = CheckedEncoder(JointEncoder([tower(), tower()]), OPTIONS)
    found, expected = (
        Embedder(encoder, ENCODERMI, N_VIEWS, seed=7)(ids, images) for encoder in (joint, tower())
    )
    np.testing.assert_allclose(found.views, expected.views, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.plain, expected.plain, rtol=1e-5, atol=1e-6)


def fall_short(embeddings):
    if len(embeddings) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return embeddings


@pytest.mark.parametrize("place", [0, 1])
def test_one_device_without_memory_halves_the_batch(place, caplog):
    encoders = [tower(), tower()]
    encoders[place] = with_habit(fall_short)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)
    ids = [f"{number:064x}" for number in range(5)]
    joint = CheckedEncoder(JointEncoder(encoders), OPTIONS)
    with caplog.at_level(logging.WARNING):
        found = Embedder(joint, ENCODERMI, N_VIEWS, seed=7)(ids, images)
    assert "out of memory with 25 views at once, going on with 12" in caplog.text
    expected = Embedder(tower(), ENCODERMI, N_VIEWS, seed=7)(ids, images)
    np.testing.assert_allclose(found.views, expected.views, rtol=1e-5, atol=1e-6)


def test_memory_of_a_failed_batch_is_free_at_once():
    tensors = []

    def short(embeddings):
        tensors.append(weakref.ref(embeddings.untyped_storage()))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    joint = JointEncoder([with_habit(short), with_habit(short)])
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(torch.OutOfMemoryError):
            joint.embed(views(4))
        assert [tensor() for tensor in tensors] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_on_any_device_is_the_encoders(place):
    n_calls = 0

    def fail(embeddings):
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2:  # it is good while it is tried
            raise KeyError("a layer")
        return embeddings

    encoders = [tower(), tower()]
    encoders[place] = with_habit(fail)
    joint = CheckedEncoder(JointEncoder(encoders), OPTIONS)
    with pytest.raises(EncoderError, match="toy failed with 5 views: KeyError: 'a layer'"):
        joint.embed(views(5))


PROGRAM = """
import os, signal, sys, time
from dataclasses import replace
import torch
from clipaudit.encoders.base import EncoderInfo, EncoderOptions, InputSpec
from clipaudit.encoders.checked import CheckedEncoder
from clipaudit.encoders.joint import JointEncoder
from clipaudit.encoders.loaded import LoadedEncoder
from clipaudit.errors import EncoderError

spec = InputSpec(8, (0.5,) * 3, (0.5,) * 3, "bicubic")
info = EncoderInfo("toy", "embedding", spec, 192, "f" * 64, "torch", "cpu")
n_calls = 0

def misbehave(views):
    global n_calls
    n_calls += 1
    if n_calls > 2:
        {habit}
    return views.flatten(1)

good, bad = (
    LoadedEncoder(info, torch.device("cpu"), run) for run in (lambda v: v.flatten(1), misbehave)
)
joint = CheckedEncoder(JointEncoder([good, bad]), EncoderOptions(batch_timeout_s=10))
joint._timeout_s = 0.5
try:
    joint.embed(torch.rand(6, 3, 8, 8))
except EncoderError as error:
    print(error, flush=True)
    sys.exit(4)
"""

ENDS = {
    "signal.raise_signal(signal.SIGSEGV)": "toy crashed with 6 views (SIGSEGV)",
    "os.abort()": "toy crashed with 6 views (SIGABRT)",
    "time.sleep(10**6)": "toy gave no answer for 6 views within 0.5 s",
}


@pytest.mark.skipif(sys.platform == "win32", reason="crashes end a process there")
@pytest.mark.parametrize("habit", ENDS)
def test_a_device_that_crashes_or_hangs_ends_the_process_in_good_order(habit):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(habit=habit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (ENDS[habit], 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_all_gpus_compute_what_the_cpu_does(tmp_path):
    from clipaudit.encoders.spec import load_encoder

    made = from_folder(tmp_path, untouched)
    here, there = (
        load_encoder(made.spec, replace(made.options, device=name)) for name in ("cpu", "cuda:all")
    )
    n_gpus = torch.cuda.device_count()
    assert there.info.device == (f"cuda:all ({n_gpus})" if n_gpus > 1 else "cuda:0")
    side = here.info.input.size_px
    seen = torch.rand(7, 3, side, side)
    found, expected = there.embed(seen.to(there.device)).cpu(), here.embed(seen)
    assert (found - expected).norm() < 1e-3 * expected.norm()
