"""Encoders in fewer bits: never by themselves, told apart everywhere, close to float32."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from clipaudit.encoders.base import EncoderOptions, Precision
from clipaudit.encoders.loaded import normalise
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.towers import Tower, of_float32, ready, shorten
from clipaudit.errors import EncoderError
from clipaudit.shadow.architectures import build
from clipaudit.shadow.encoder import load as load_shadow
from clipaudit.shadow.encoder import save
from tests.made.encoders import (
    INPUT,
    SIDE,
    conv_net,
    from_folder,
    from_shadow,
    from_torch_export,
    from_torchvision,
    untouched,
)

PLAIN = EncoderOptions(device="cpu", backend="torch")
SHORT = replace(PLAIN, precision="bfloat16")
VIEWS = torch.rand(7, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(params=["a tower", "a shadow encoder"])
def load(request, tmp_path):
    """What loads an encoder with the options that it is given, on the CPU in any precision."""
    if request.param == "a tower":
        return lambda options: ready(Tower("toy", conv_net(untouched), INPUT, "embedding"), options)
    save(build("resnet-tiny", SIDE, seed=0), tmp_path, "resnet-tiny", INPUT)
    return lambda options: load_shadow(str(tmp_path), options)


@pytest.fixture(params=["bfloat16", "float16"])
def short_options(request):
    return replace(PLAIN, precision=request.param)


def test_each_precision_has_a_fingerprint_and_a_name_of_its_own(load):
    infos = [load(replace(PLAIN, precision=kind)).info for kind in get_args(Precision)]
    assert len({info.fingerprint for info in infos}) == 3
    assert [info.backend for info in infos] == ["torch", "torch in bfloat16", "torch in float16"]
    assert load(SHORT).info == infos[1]


def test_fewer_bits_give_what_float32_gives_but_for_a_rounding(load, short_options):
    expected, found = load(PLAIN).embed(VIEWS), load(short_options).embed(VIEWS)
    assert found.dtype == torch.float32
    off = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert 0 < off.max() < 0.03


def test_float16_needs_a_gpu(tmp_path):
    made = from_folder(tmp_path, untouched)
    with pytest.raises(EncoderError, match="float16 needs a GPU with CUDA") as caught:
        load_encoder(made.spec, replace(made.options, device="cpu", precision="float16"))
    assert "bfloat16" in caught.value.hint


@pytest.mark.parametrize("what", ["a weight", "an embedding"])
def test_what_float16_cannot_hold_is_said(what):
    net = conv_net(untouched)
    with torch.no_grad():
        net.get_parameter("4.weight")[0] = 1e6 if what == "a weight" else 6e4
    tower = Tower("toy", net, INPUT, "embedding")
    assert ready(tower, PLAIN).embed(VIEWS).isfinite().all()
    with pytest.raises(EncoderError, match="not finite") as caught:
        ready(tower, replace(PLAIN, precision="float16"))
    assert "65,504" in caught.value.hint
    assert "--precision bfloat16" in caught.value.hint


def test_convolutions_in_channels_last_give_the_same():
    """As on CUDA, whose part the CPU plays here."""
    net = build("resnet-tiny", SIDE, seed=0).eval()
    shorten(net, "bfloat16", "toy")
    seen = normalise(VIEWS, INPUT)
    with torch.no_grad():
        expected = of_float32(net, torch.device("cpu"), "bfloat16")(seen).float()
        run = of_float32(net, torch.device("cuda"), "bfloat16")
        found = run(seen).float()
    weights = [layer.weight for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert (found - expected).norm() < 0.03 * expected.norm()


def test_the_one_convolution_of_a_transformer_stays_as_it_is():
    net = shorten(conv_net(untouched), "bfloat16", "toy")
    of_float32(net, torch.device("cuda"), "bfloat16")
    assert net.get_parameter("0.weight").is_contiguous()


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("make", [from_folder, from_torchvision, from_shadow])
def test_on_cuda_fewer_bits_are_close_to_float32_on_the_cpu(make, tmp_path, short_options):
    made = make(tmp_path, untouched)
    here = load_encoder(made.spec, replace(made.options, device="cpu"))
    there = load_encoder(
        made.spec, replace(made.options, device="cuda", precision=short_options.precision)
    )
    side = here.info.input.size_px
    seen = torch.rand(7, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected, found = here.embed(seen), there.embed(seen.cuda()).cpu()
    assert (found - expected).norm() < 0.03 * expected.norm()


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
