import json
from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import vgg11_bn

from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.errors import EncoderError
from clipaudit.files import FileError
from clipaudit.shadow.architectures import ARCHITECTURES, HEADS, PROJECTION_DIM, Architecture, build
from clipaudit.shadow.encoder import load, save
from tests.made.present import present

SPEC = InputSpec(16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), interpolation="bicubic")
WIDTHS = {
    "resnet18": 512,
    "resnet-small": 256,
    "resnet-tiny": 128,
    "vgg11": 512,
    "vgg-small": 128,
    "vgg-tiny": 64,
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


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


@pytest.mark.parametrize("architecture", ["resnet-tiny", "vgg-tiny"])
@pytest.mark.parametrize("head", HEADS)
def test_weights_depend_on_the_seed_alone_and_leave_the_generator_alone(architecture, head):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = build(architecture, 16, 0, head).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    again, other = (build(architecture, 16, seed, head).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in first:
        if first[name].ndim > 1:  # neither a bias nor of a batch norm
            assert not torch.equal(first[name], other[name])


def convolutions(net):
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]


def test_a_vgg_has_the_convolutions_of_the_paper():
    """Simonyan and Zisserman (2015), table 1, column A; all are 3 × 3."""
    paper = [64, 128, 256, 256, 512, 512, 512, 512]
    divisors: dict[Architecture, int] = {"vgg11": 1, "vgg-small": 4, "vgg-tiny": 8}
    for architecture, divisor in divisors.items():
        layers = convolutions(build(architecture, 32, seed=0))
        assert [layer.out_channels * divisor for layer in layers] == paper
        assert [layer.in_channels for layer in layers[1:]] == [n // divisor for n in paper[:-1]]
        assert layers[0].in_channels == 3
        assert {layer.kernel_size for layer in layers} == {(3, 3)}


def test_a_vgg_halves_the_picture_where_the_paper_does():
    """Before convolutions 2, 3, 5 and 7, and at the end; ours begin with a stride instead."""
    cases: list[tuple[Architecture, int, list[int]]] = [
        ("vgg11", 32, [32, 16, 8, 8, 4, 4, 2, 2]),
        ("vgg-small", 32, [16, 16, 8, 8, 4, 4, 2, 2]),
        ("vgg-tiny", 64, [32, 32, 16, 16, 8, 8, 4, 4]),
        ("vgg-tiny", 96, [24, 24, 12, 12, 6, 6, 3, 3]),
    ]
    for architecture, size, sides in cases:
        seen = views(1, size)
        got = []
        with torch.no_grad():
            for layer in build(architecture, size, seed=0).eval().get_submodule("trunk").modules():
                if next(layer.children(), None) is None:
                    seen = layer(seen)
                    got += [seen.shape[-1]] if isinstance(layer, nn.Conv2d) else []
        assert got == sides


def test_vgg11_is_torchvisions_below_its_classifier():
    theirs = vgg11_bn().features.eval()
    for side in (32, 33, 96):
        trunk = build("vgg11", side, seed=2).get_submodule("trunk").eval()
        theirs.load_state_dict({k.removeprefix("0."): v for k, v in trunk.state_dict().items()})
        with torch.no_grad():
            expected = theirs(views(2, side)).mean(dim=(2, 3))
            torch.testing.assert_close(trunk(views(2, side)), expected)


# --- heads ---------------------------------------------------------------------------------------


def settled(net):
    """In evaluation mode, with batch norms that show whether they run."""
    numbers = torch.Generator().manual_seed(5)
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            present(layer.running_mean).uniform_(-0.1, 0.1, generator=numbers)
            present(layer.running_var).uniform_(0.5, 1.5, generator=numbers)
    return net.eval()


def slow_head(kind, weights, given):
    """Each head by matrix products, from the paper's description."""
    weights = {name.removeprefix("layers."): value.numpy() for name, value in weights.items()}
    if kind == "linear":  # He et al. (2020): a fully connected layer
        return given @ weights["weight"].T + weights["bias"]
    if kind == "mlp":  # Chen et al. (2020): one hidden layer, ReLU
        hidden = given @ weights["0.weight"].T + weights["0.bias"]
        last = "2"
    else:  # Grill et al. (2020): likewise, with a batch norm instead of the first bias
        hidden = given @ weights["0.weight"].T
        spread = np.sqrt(weights["1.running_var"] + 1e-5)
        hidden = (hidden - weights["1.running_mean"]) / spread
        hidden = hidden * weights["1.weight"] + weights["1.bias"]
        last = "3"
    assert hidden.shape == given.shape
    return np.maximum(hidden, 0) @ weights[f"{last}.weight"].T + weights[f"{last}.bias"]


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_is_what_its_paper_says(kind):
    head = settled(build("vgg-tiny", 16, 0, kind).get_submodule("head"))
    given = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
    with torch.no_grad():
        got = head(torch.from_numpy(given)).numpy()
    np.testing.assert_allclose(got, slow_head(kind, head.state_dict(), given), atol=1e-5)


def test_the_trunk_does_not_depend_on_the_head():
    first, *others = (build("resnet-tiny", 16, 3, head).get_submodule("trunk") for head in HEADS)
    for other in others:
        torch.testing.assert_close(other.state_dict(), first.state_dict(), rtol=0, atol=0)


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


@pytest.mark.parametrize(
    ("architecture", "head"),
    [*product(ARCHITECTURES, ["mlp-bn"]), *product(["resnet-tiny", "vgg-tiny"], ["mlp", "linear"])],
)
def test_every_net_is_loaded_with_the_head_that_it_was_saved_with(tmp_path, architecture, head):
    net = settled(build(architecture, 16, 4, head))
    save(net, tmp_path, architecture, SPEC, head)
    assert json.loads((tmp_path / "encoder.json").read_text())["head"] == head
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (SPEC.mean, SPEC.std))
    with torch.no_grad():
        expected = net((views() - mean) / std)
    got = load(str(tmp_path), EncoderOptions(device="cpu")).embed(views())
    torch.testing.assert_close(got, expected)


def on_card(folder, **changes):
    """Rewrite a card; what becomes None is taken from it."""
    path = folder / "encoder.json"
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: said for name, said in card.items() if said is not None}))


def test_a_card_from_before_there_were_other_heads_is_still_read(folder):
    before = load(str(folder), EncoderOptions(device="cpu"))
    on_card(folder, head=None)
    after = load(str(folder), EncoderOptions(device="cpu"))
    assert torch.equal(after.embed(views()), before.embed(views()))
    assert after.info == before.info


@pytest.mark.parametrize("claimed", ["magic", "", ["mlp"], {}, 3])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_is_unknown_is_an_error_of_ours(tmp_path, head, claimed):
    save(build("vgg-tiny", 16, 4, head), tmp_path, "vgg-tiny", SPEC, head)
    on_card(tmp_path, head=claimed)
    with pytest.raises(EncoderError, match="no shadow encoder that can be read") as caught:
        load(str(tmp_path), EncoderOptions(device="cpu"))
    assert f"got {claimed!r}" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("head", "claimed"), [*permutations(HEADS, 2)])
def test_a_head_that_is_another_is_an_error_of_ours(tmp_path, head, claimed):
    save(build("vgg-tiny", 16, 4, head), tmp_path, "vgg-tiny", SPEC, head)
    on_card(tmp_path, head=claimed)
    with pytest.raises(EncoderError, match="no shadow encoder that can be read") as caught:
        load(str(tmp_path), EncoderOptions(device="cpu"))
    assert caught.value.hint


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
