"""Encoders in bfloat16: never by themselves, told apart everywhere, close to float32."""

from dataclasses import replace

import pytest
import torch

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.towers import Tower, ready
from clipaudit.errors import EncoderError
from clipaudit.shadow.architectures import build
from clipaudit.shadow.encoder import save
from tests.made.encoders import INPUT, SIDE, conv_net, from_torch_export, untouched

PLAIN = EncoderOptions(device="cpu", backend="torch")
SHORT = replace(PLAIN, precision="bfloat16")
VIEWS = torch.rand(7, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["a tower", "a shadow encoder"])
def load(request, tmp_path):
    """What loads an encoder with the options that it is given."""
    if request.param == "a tower":
        return lambda options: ready(Tower("toy", conv_net(untouched), INPUT, "embedding"), options)
    save(build("resnet-tiny", SIDE, seed=0), tmp_path, "resnet-tiny", INPUT)
    return lambda options: load_encoder(f"shadow:{tmp_path}", options)


def test_bfloat16_has_a_fingerprint_and_a_name_of_its_own(load):
    plain, short = load(PLAIN), load(SHORT)
    assert plain.info.fingerprint != short.info.fingerprint
    assert (plain.info.backend, short.info.backend) == ("torch", "torch in bfloat16")
    assert load(SHORT).info == short.info


def test_bfloat16_gives_what_float32_gives_but_for_a_rounding(load):
    expected, found = load(PLAIN).embed(VIEWS), load(SHORT).embed(VIEWS)
    assert found.dtype == torch.float32
    off = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert 0 < off.max() < 0.03


def test_onnxruntime_refuses_bfloat16():
    tower = Tower("toy", conv_net(untouched), INPUT, "embedding")
    with pytest.raises(EncoderError, match="onnxruntime does not run encoders in bfloat16"):
        ready(tower, replace(SHORT, backend="onnx"))


def test_auto_takes_torch_for_bfloat16():
    tower = Tower("toy", conv_net(untouched), INPUT, "embedding", auto_onnx=True)
    options = replace(SHORT, backend="auto", n_views_ahead=10**9)
    assert ready(tower, options).info.backend == "torch in bfloat16"


def test_a_file_that_is_a_program_refuses_bfloat16(tmp_path):
    made = from_torch_export(tmp_path, untouched)
    with pytest.raises(EncoderError, match="does not run in bfloat16"):
        load_encoder(made.spec, replace(made.options, device="cpu", precision="bfloat16"))
