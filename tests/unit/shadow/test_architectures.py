import numpy as np
import pytest
import torch

from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.encoders.shadow import load, save
from clipaudit.errors import EncoderError
from clipaudit.files import FileError
from clipaudit.shadow.architectures import ARCHITECTURES, PROJECTION_DIM, build

SPEC = InputSpec(16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), interpolation="bicubic")
WIDTHS = {"resnet18": 512, "resnet-small": 256, "resnet-tiny": 128}


def views(n=3, side=16):
    return torch.from_numpy(np.random.default_rng(0).random((n, 3, side, side), dtype=np.float32))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("side", [8, 32, 33, 96])
def test_every_architecture_takes_every_size(architecture, side):
    net = build(architecture, side, seed=0).eval()
    with torch.no_grad():
        trunk = net.get_submodule("trunk")(views(2, side))
        assert trunk.shape == (2, WIDTHS[architecture])
        assert net(views(2, side)).shape == (2, PROJECTION_DIM)
        torch.testing.assert_close(net.get_submodule("head")(trunk), net(views(2, side)))


def test_weights_depend_on_the_seed_alone_and_leave_the_generator_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = build("resnet-tiny", 16, seed=0).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    again, other = (build("resnet-tiny", 16, seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["trunk.0.weight"], other["trunk.0.weight"])


# --- as an encoder, from disk --------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    save(build("resnet-tiny", 16, seed=4), tmp_path / "encoder", "resnet-tiny", SPEC)
    return tmp_path / "encoder"


@pytest.mark.parametrize("output", ["embedding", "trunk"])
def test_what_is_loaded_embeds_as_what_was_saved(folder, output):
    net = build("resnet-tiny", 16, seed=4).eval()
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        used = net if output == "embedding" else net.get_submodule("trunk")
        expected = used((views() - mean) / std)
    for path in (folder, folder.parent):  # the encoder's own folder, and that of its run
        encoder = load(str(path), EncoderOptions(output=output, device="cpu"))
        torch.testing.assert_close(encoder.embed(views()), expected)
        assert encoder.info.input == SPEC
        assert encoder.info.output == output
        assert encoder.info.dim == expected.shape[1]


def test_a_fingerprint_is_of_weights_input_and_output(folder, tmp_path):
    def fingerprint(seed=4, spec=SPEC, output="embedding"):
        save(build("resnet-tiny", 16, seed), tmp_path / "other", "resnet-tiny", spec)
        options = EncoderOptions(output=output, device="cpu")
        return load(str(tmp_path / "other"), options).info.fingerprint

    other_input = InputSpec(16, SPEC.mean, (0.2, 0.25, 0.31), "bicubic")
    ours = load(str(folder), EncoderOptions(device="cpu")).info.fingerprint
    assert fingerprint() == ours
    others = {fingerprint(seed=5), fingerprint(spec=other_input), fingerprint(output="trunk")}
    assert len(others | {ours}) == 4


CARD = '{"format": 1, "architecture": "resnet-tiny", "input": {"size_px": %s, "mean": %s, \
"std": [1, 1, 1], "interpolation": %s}}'
CARDS = {
    "empty": "",
    "no object": "[]",
    "other format": '{"format": 2}',
    "other architecture": '{"format": 1, "architecture": "vgg", "input": {}}',
    "unhashable": '{"format": 1, "architecture": [], "input": {}}',
    "no input": '{"format": 1, "architecture": "resnet-tiny"}',
    "size in words": CARD % ('"big"', "[0, 0, 0]", '"bicubic"'),
    "size of zero": CARD % ("0", "[0, 0, 0]", '"bicubic"'),
    "size of a planet": CARD % ("1000000000", "[0, 0, 0]", '"bicubic"'),
    "infinite size": CARD % ("Infinity", "[0, 0, 0]", '"bicubic"'),
    "two channels": CARD % ("16", "[0, 0]", '"bicubic"'),
    "unknown interpolation": CARD % ("16", "[0, 0, 0]", '"magic"'),
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_that_is_no_encoder_is_an_error_of_ours(folder, card):
    (folder / "encoder.json").write_text(card)
    with pytest.raises(EncoderError) as caught:
        load(str(folder), EncoderOptions(device="cpu"))
    assert caught.value.hint


@pytest.mark.parametrize("damage", ["missing", "cut", "of another net"])
def test_broken_weights_are_an_error_of_ours(folder, damage):
    weights = folder / "encoder.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        save(build("resnet-small", 16, seed=0), folder.parent / "other", "resnet-small", SPEC)
        weights.write_bytes((folder.parent / "other/encoder.safetensors").read_bytes())
    with pytest.raises(EncoderError, match="no shadow encoder that can be read"):
        load(str(folder), EncoderOptions(device="cpu"))


def test_there_is_no_encoder_where_there_is_none(tmp_path):
    with pytest.raises(EncoderError, match="no shadow encoder") as caught:
        load(str(tmp_path), EncoderOptions(device="cpu"))
    assert "clipaudit train" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        save(build("resnet-tiny", 16, 0), tmp_path / "file" / "encoder", "resnet-tiny", SPEC)
