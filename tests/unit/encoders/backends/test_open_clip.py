"""What open_clip's own towers give, and how local checkpoints are prepared."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from clipaudit.encoders.backends.open_clip.names import preprocessing_of, wrong_gelu
from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError

TEXT = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
VIT = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
TIMM = {"timm_model_name": "resnet10t", "image_size": 32}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

# The tower, and the length of its embedding and of its trunk; None where they are the same.
TOWERS = {
    "vit": (VIT, 16, 64),
    "vit, mean of tokens": ({**VIT, "pool_type": "avg"}, 16, 64),
    "vit with attention pooling": (
        {**VIT, "attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 4},
        16,
        16,
    ),
    "OpenAI's ResNet": (
        {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 8},
        16,
        256,
    ),
    "timm, linear projection": ({**TIMM, "timm_proj": "linear", "timm_pool": ""}, 16, 512),
    "timm, two layers": ({**TIMM, "timm_proj": "mlp", "timm_pool": ""}, 16, 512),
    "timm, its own head": ({**TIMM, "timm_proj": "", "timm_pool": "avg"}, 16, 512),
    "timm, no projection": ({**TIMM, "timm_proj": "none", "timm_pool": "avg"}, 512, None),
}


def write(folder, vision, **more):
    import open_clip

    model_config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": False}
    config = {"model_cfg": {**model_config, **more}, "preprocess_cfg": IMAGENET}
    kind = open_clip.CoCa if more else open_clip.CLIP
    if "timm_proj" in vision:
        kind = open_clip.CustomTextCLIP
    config["model_cfg"]["custom_text"] = kind is not open_clip.CLIP
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(**model_config, **more).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


@pytest.fixture
def torch_only():
    return EncoderOptions(backend="torch")


@pytest.mark.parametrize("tower", TOWERS)
def test_both_outputs_of_every_kind_of_tower(tmp_path, tower):
    vision, dim, trunk_dim = TOWERS[tower]
    model = write(tmp_path, vision)
    spec = f"local-dir:{tmp_path}"
    encoder = load_encoder(spec, EncoderOptions(backend="torch"))
    assert (encoder.info.output, encoder.info.dim) == ("embedding", dim)
    views = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = model.encode_image((views - mean) / std)
    torch.testing.assert_close(encoder.embed(views), expected, rtol=1e-4, atol=1e-5)

    options = EncoderOptions(backend="torch", output="trunk")
    if trunk_dim is None:
        with pytest.raises(EncoderError, match="no projection"):
            load_encoder(spec, options)
        return
    trunk = load_encoder(spec, options)
    assert (trunk.info.output, trunk.info.dim) == ("trunk", trunk_dim)
    assert trunk.info.fingerprint != encoder.info.fingerprint


def test_the_image_half_of_a_captioning_model(tmp_path, torch_only):
    captions = {"multimodal_cfg": {**TEXT, "mlp_ratio": 4}}
    vision = {**VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    model = write(tmp_path, vision, **captions)
    encoder = load_encoder(f"local-dir:{tmp_path}", torch_only)
    views = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = model.encode_image((views - mean) / std, normalize=False)
    torch.testing.assert_close(encoder.embed(views), expected, rtol=1e-4, atol=1e-5)


def test_the_preprocessing_of_a_tag_is_its_own():
    import open_clip

    for model, tag in open_clip.list_pretrained():
        assert {"mean", "std", "interpolation"} <= dict(preprocessing_of(model, tag)).keys()


def test_only_a_wrong_activation_is_wrong():
    import open_clip

    assert wrong_gelu("ViT-B-32", "laion400m_e32")
    assert not wrong_gelu("ViT-B-32", "openai")
    assert not wrong_gelu("ViT-B-32", "laion2b_s34b_b79k")
    for model, tag in open_clip.list_pretrained():
        if wrong_gelu(model, tag):
            assert not wrong_gelu(f"{model}-quickgelu", tag)
            assert tag in open_clip.list_pretrained_tags_by_model(f"{model}-quickgelu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights of a built-in model that nobody published weights of."""
    import open_clip

    path = tmp_path_factory.mktemp("checkpoint") / "weights.safetensors"
    model = open_clip.create_model("ViT-S-32-alt", load_weights=False, pretrained_text=False)
    visual = {name: one for name, one in model.state_dict().items() if name.startswith("visual.")}
    save_file(visual, path)
    return path


def test_a_checkpoint_without_published_kin_has_open_clips_own_preprocessing(
    checkpoint, torch_only
):
    info = load_encoder(f"ViT-S-32-alt/{checkpoint}", torch_only).info
    assert info.input.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert info.input.interpolation == "bicubic"
    same = load_encoder(
        f"state-dict:{checkpoint}", EncoderOptions(backend="torch", architecture="ViT-S-32-alt")
    )
    assert same.info.fingerprint == info.fingerprint


def test_a_checkpoint_of_another_model_is_refused(checkpoint, torch_only):
    with pytest.raises(EncoderError, match="does not fit ViT-B-32"):
        load_encoder(f"ViT-B-32/{checkpoint}", torch_only)


def test_published_weights_that_disagree_on_preprocessing_leave_it_to_the_user(checkpoint):
    with pytest.raises(EncoderError, match="missing: input_size, mean, std, interpolation"):
        load_encoder(f"ViT-L-14/{checkpoint}", EncoderOptions())


def test_a_model_that_says_how_it_is_fed_is_not_contradicted(tmp_path, checkpoint):
    write(tmp_path, VIT)
    wrong = EncoderOptions(input=InputOverrides(mean=(0.5, 0.5, 0.5)))
    with pytest.raises(EncoderError, match="says itself"):
        load_encoder(f"local-dir:{tmp_path}", wrong)
    wrong = EncoderOptions(input=InputOverrides(32, (0, 0, 0), (1, 1, 1), "bicubic"))
    with pytest.raises(EncoderError, match="224 pixels, not of 32"):
        load_encoder(f"ViT-S-32-alt/{checkpoint}", wrong)


@pytest.mark.parametrize("size", [(32, 48), [48, 32]])
def test_an_input_that_is_not_square_is_refused(tmp_path, size):
    write(tmp_path, {**VIT, "image_size": size})
    with pytest.raises(EncoderError, match="only square"):
        load_encoder(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.pop("preprocess_cfg"),
        lambda config: config["preprocess_cfg"].pop("mean"),
        lambda config: config.pop("model_cfg"),
        lambda config: config["model_cfg"].update(vision_cfg={"nonsense": 1}),
        lambda config: config["preprocess_cfg"].update(interpolation="random"),
    ],
)
def test_a_folder_with_a_broken_configuration_is_refused(tmp_path, damage):
    write(tmp_path, VIT)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    damage(config)
    path.write_text(json.dumps(config))
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"local-dir:{tmp_path}")
    assert caught.value.hint


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    write(tmp_path, VIT)
    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="visual tower"):
        load_encoder(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderError, match="no weights"):
        load_encoder(f"local-dir:{tmp_path}")


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    model = write(tmp_path, VIT)
    model.visual.ln_post.weight.data[0] = float("nan")
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="not finite"):
        load_encoder(f"local-dir:{tmp_path}", EncoderOptions(backend="torch"))


def test_loading_prints_nothing_and_installs_no_log_handler(tmp_path, capfd):
    import logging

    write(tmp_path, VIT)
    before = list(logging.getLogger().handlers)
    load_encoder(f"local-dir:{tmp_path}", EncoderOptions(backend="torch"))
    assert logging.getLogger().handlers == before
    assert capfd.readouterr() == ("", "")


def renamed(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def bare(state):
    return {name.removeprefix("visual."): one for name, one in state.items() if "visual." in name}


LAYOUTS = {
    "as it is": renamed(""),
    "torch.compile": renamed("_orig_mod."),
    "DDP": renamed("module."),
    "DDP twice": renamed("module.module."),
    "compiled within DDP": renamed("module._orig_mod."),
    "DDP within compiled": renamed("_orig_mod.module."),
    "Lightning": lambda state: {"state_dict": renamed("model.")(state), "epoch": 3},
    "Lightning, compiled": lambda state: {"state_dict": renamed("model._orig_mod.")(state)},
    "Lightning around DDP": renamed("model.module."),
    "only the tower compiled": lambda state: {
        name.replace("visual.", "visual._orig_mod."): one for name, one in state.items()
    },
    "another name": renamed("clip_model."),
    "a bare tower": bare,
    "a bare tower, compiled": lambda state: renamed("_orig_mod.")(bare(state)),
    "a bare tower in Lightning": lambda state: renamed("model.encoder.")(bare(state)),
    "a tower beside other things": lambda state: {**bare(state), "queue": torch.zeros(3)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_checkpoint_is_read_whatever_it_was_wrapped_in(tmp_path, layout, ending):
    state = write(tmp_path, VIT).state_dict()
    expected = load_encoder(f"local-dir:{tmp_path}").info.fingerprint
    (tmp_path / "open_clip_model.safetensors").unlink()
    made = LAYOUTS[layout](state)
    if ending == ".pt":
        torch.save(made, tmp_path / "open_clip_pytorch_model.bin")
    else:
        save_file(made.get("state_dict", made), tmp_path / "open_clip_model.safetensors")
    assert load_encoder(f"local-dir:{tmp_path}").info.fingerprint == expected


@pytest.mark.parametrize(
    "names",
    [
        ["vision_model.embeddings.class_embedding", "vision_model.encoder.layers.0.mlp.fc1.weight"],
        ["clip.vision_model.encoder.layers.0.mlp.fc1.weight"],
        ["vit.encoder.layer.0.attention.attention.query.weight"],
    ],
)
def test_a_model_of_transformers_is_called_that(tmp_path, names):
    write(tmp_path, VIT)
    tensors = {name: torch.zeros(2, 2) for name in names}
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="a model of transformers") as caught:
        load_encoder(f"local-dir:{tmp_path}")
    assert "onnx:FILE" in caught.value.hint


@pytest.mark.parametrize("element", [torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_weights_that_were_packed_or_rounded_are_refused(tmp_path, element):
    state = write(tmp_path, VIT).state_dict()
    packed = {name: one.to(element) if one.ndim == 2 else one for name, one in state.items()}
    (tmp_path / "open_clip_model.safetensors").unlink()
    torch.save(packed, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(EncoderError, match=f"of {str(element).removeprefix('torch.')}"):
        load_encoder(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("element", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_read(tmp_path, element):
    state = write(tmp_path, VIT).state_dict()
    other = {name: one.to(element) for name, one in state.items()}
    save_file(other, tmp_path / "open_clip_model.safetensors")
    assert load_encoder(f"local-dir:{tmp_path}").info.dim == 16


@pytest.mark.parametrize(
    "said",
    [
        {"mean": [123.675, 116.28, 103.53]},
        {"mean": IMAGENET["std"], "std": IMAGENET["mean"]},
        {"std": [1e-45] * 3},
        {"mean": ["a", "b", "c"]},
        {"mean": None},
        {"size": 100_000},
        {"size": [100_000, 100_000]},
        {"size": 1e30},
        {"size": "big"},
        {"size": None},
        {"size": []},
    ],
)
def test_a_folder_that_says_what_cannot_be_is_refused(tmp_path, said):
    write(tmp_path, VIT)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"].update(said)
    path.write_text(json.dumps(config))
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"local-dir:{tmp_path}", EncoderOptions(backend="torch"))
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_configuration_of_a_giant_is_refused_before_it_is_built(tmp_path):
    write(tmp_path, VIT)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 10**6
    path.write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="1e\\+06 pixels"):
        load_encoder(f"local-dir:{tmp_path}")
