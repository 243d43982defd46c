"""Files of small encoders, in every form that clipaudit reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipaudit.encoders.base import EncoderOptions, InputSpec, Output
from tests.made.present import present

SIDE = 32
INPUT = InputSpec(SIDE, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic")
COMMIT = "0123456789abcdef0123456789abcdef01234567"

Touch = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Made:
    """An encoder's files, and what it ought to compute."""

    spec: str
    options: EncoderOptions
    reference: nn.Module
    input: InputSpec = INPUT
    output: str = "embedding"


def untouched(module: nn.Module) -> None:
    """Leave a model as it is."""


def nudge(module: nn.Module) -> None:
    """Change one weight of many."""
    first = next(iter(module.parameters()))
    with torch.no_grad():
        first.view(-1)[0] += 0.1


def grow_old(folder: Path) -> None:
    """Let all files in a folder look as if nobody had changed them for an hour."""
    for path in folder.rglob("*"):
        then_ns = path.stat().st_mtime_ns - 3600 * 10**9
        os.utime(path, ns=(then_ns, then_ns))


def seeded(build: Callable[[], nn.Module], touch: Touch) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().eval()
        for layer in model.modules():
            # Else the statistics of a batch norm hide that it runs at all.
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.uniform_(present(layer.running_mean), -0.1, 0.1)
                nn.init.uniform_(present(layer.running_var), 0.5, 1.5)
    touch(model)
    return model.requires_grad_(requires_grad=False)


def conv_net(touch: Touch) -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 16),
        ),
        touch,
    )


def describe(path: Path, **more: str | int) -> None:
    """Write the JSON beside a model file."""
    said: dict[str, object] = {
        "input_size": INPUT.size_px,
        "mean": INPUT.mean,
        "std": INPUT.std,
        "interpolation": INPUT.interpolation,
    }
    path.with_suffix(".json").write_text(json.dumps(said | more))


def open_clip_folder(folder: Path, touch: Touch) -> tuple[Path, nn.Module]:
    """A CLIP of two layers in the form that open_clip saves, and its visual tower."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    text = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 8}
    config: dict[str, Any] = {
        "model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True},
        "preprocess_cfg": {
            "mean": INPUT.mean,
            "std": INPUT.std,
            "interpolation": INPUT.interpolation,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))

    model = seeded(lambda: open_clip.CLIP(**config["model_cfg"]), lambda _: None)
    touch(model.visual)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder, model.visual


def from_folder(folder: Path, touch: Touch) -> Made:
    path, visual = open_clip_folder(folder, touch)
    return Made(f"local-dir:{path}", EncoderOptions(backend="torch"), visual)


def from_folder_by_onnx(folder: Path, touch: Touch) -> Made:
    made = from_folder(folder, touch)
    return replace(made, options=EncoderOptions(backend="onnx"))


def from_folder_trunk(folder: Path, touch: Touch) -> Made:
    made = from_folder(folder, touch)
    made.reference.register_parameter("proj", None)
    return replace(made, options=EncoderOptions(backend="torch", output="trunk"), output="trunk")


def from_checkpoint(folder: Path, touch: Touch) -> Made:
    import open_clip

    model = seeded(
        lambda: open_clip.create_model("ViT-S-32-alt", load_weights=False, pretrained_text=False),
        lambda _: None,
    )
    touch(model.visual)
    path = folder / "epoch_1.pt"
    state = {f"module.{name}": one for name, one in model.state_dict().items()}
    torch.save({"epoch": 1, "name": "test", "state_dict": state}, path)
    input_spec = replace(INPUT, size_px=224)
    describe(path, input_size=224)
    return Made(f"ViT-S-32-alt/{path}", EncoderOptions(backend="torch"), model.visual, input_spec)


def from_torchscript(folder: Path, touch: Touch) -> Made:
    net = conv_net(touch)
    path = folder / "encoder.pt"
    torch.jit.trace(net, torch.zeros(1, 3, SIDE, SIDE)).save(path)
    describe(path)
    return Made(f"torchscript:{path}", EncoderOptions(allow_code=True), net)


def from_torch_export(folder: Path, touch: Touch, *, fixed: int | None = None) -> Made:
    net = conv_net(touch)
    path = folder / "encoder.pt2"
    shapes = None if fixed else ({0: torch.export.Dim("n")},)
    example = torch.zeros(fixed or 3, 3, SIDE, SIDE)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=shapes), path)
    describe(path, output="trunk")
    return Made(str(path), EncoderOptions(allow_code=True), net, output="trunk")


def from_torch_export_of_four(folder: Path, touch: Touch) -> Made:
    return from_torch_export(folder, touch, fixed=4)


def from_onnx(folder: Path, touch: Touch, *, fixed: int | None = None) -> Made:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    net = conv_net(touch)
    arrays = {name: one.numpy() for name, one in net.state_dict().items()}
    # AdaptiveAvgPool2d(2) over 15 × 15: windows of 8 that overlap in one row.
    nodes = [
        helper.make_node("Conv", ["views", "0.weight", "0.bias"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("AveragePool", ["b"], ["c"], kernel_shape=[8, 8], strides=[7, 7]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "4.weight", "4.bias"], ["embeddings"], transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("views", onnx.TensorProto.FLOAT, [fixed or "n", 3, SIDE, SIDE])],
        [value("embeddings", onnx.TensorProto.FLOAT, [fixed or "n", 16])],
        [numpy_helper.from_array(np.ascontiguousarray(one), name) for name, one in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "encoder.onnx"
    onnx.save(model, path, save_as_external_data=True, location="encoder.data", size_threshold=64)
    describe(path)
    return Made(str(path), EncoderOptions(), net)


def from_onnx_of_one(folder: Path, touch: Touch) -> Made:
    return from_onnx(folder, touch, fixed=1)


def from_state_dict(folder: Path, touch: Touch) -> Made:
    """A supervised ResNet, as torchvision saves it."""
    from torchvision.models import resnet18

    net = seeded(resnet18, touch)
    path = folder / "resnet.pth"
    torch.save(net.state_dict(), path)
    describe(path)
    net.fc = nn.Identity()
    options = EncoderOptions(architecture="torchvision:resnet18")
    return Made(f"state-dict:{path}", options, net, output="trunk")


def from_moco(folder: Path, touch: Touch) -> Made:
    """A ResNet with its projection head and the momentum encoder beside it, as MoCo saves it."""
    import timm

    net = seeded(lambda: timm.create_model("resnet10t", num_classes=0), touch)
    head = seeded(
        lambda: nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 16)), lambda _: None
    )
    state = {"module.queue": torch.zeros(16, 4)}
    for encoder, factor in (("encoder_q", 1.0), ("encoder_k", 2.0)):
        for name, one in [*net.state_dict().items()]:
            state[f"module.{encoder}.{name}"] = one * factor if one.is_floating_point() else one
        for name, one in head.state_dict().items():
            state[f"module.{encoder}.fc.{name}"] = one * factor
    path = folder / "moco.pth"
    torch.save({"arch": "resnet10t", "epoch": 200, "state_dict": state}, path)
    describe(path)
    options = EncoderOptions(architecture="timm:resnet10t")
    return Made(f"state-dict:{path}", options, nn.Sequential(net, head))


class _Halves(nn.Module):
    """The image half of a model of transformers, as its library runs it."""

    def __init__(self, model: Any, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        half = self.model.vision_model if self.output == "trunk" else self.model.get_image_features
        pooled: torch.Tensor = half(pixel_values=views).pooler_output
        return pooled


def transformers_vision_folder(
    folder: Path, touch: Touch, kind: str = "CLIP", output: Output = "embedding"
) -> Made:
    """A model of pictures and captions, without tokenizer, as the transformers library saves it."""
    import transformers

    half = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    half |= {"num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        text_config={**half, "vocab_size": 64, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**half, "image_size": SIDE, "patch_size": 8},
    )
    config.projection_dim = 16
    model = seeded(lambda: getattr(transformers, f"{kind}Model")(config), lambda _: None)
    touch(model.vision_model)
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    said = {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": SIDE, "resample": 3}
    said |= {"image_mean": INPUT.mean, "image_std": INPUT.std}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    options = EncoderOptions(backend="torch", output=output)
    return Made(f"transformers:{folder}", options, _Halves(model, output), output=output)


def from_transformers(folder: Path, touch: Touch) -> Made:
    return transformers_vision_folder(folder, touch)


def from_transformers_trunk(folder: Path, touch: Touch) -> Made:
    return transformers_vision_folder(folder, touch, output="trunk")


def from_transformers_of_siglip(folder: Path, touch: Touch) -> Made:
    return transformers_vision_folder(folder, touch, "Siglip")


def from_timm(folder: Path, touch: Touch) -> Made:
    """A pretrained model from the cache of the hub."""
    import timm
    from safetensors.torch import save_file

    net = seeded(lambda: timm.create_model("resnet10t"), touch)
    repository = folder / "hub" / "models--timm--resnet10t.c3_in1k"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    save_file(net.state_dict(), snapshot / "model.safetensors")
    net.reset_classifier(0)
    imagenet = InputSpec(176, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
    options = EncoderOptions(offline=True)
    return Made("timm:resnet10t.c3_in1k", options, net, imagenet, "trunk")


def from_torchvision(folder: Path, touch: Touch) -> Made:
    """A pretrained model from the cache of torch.hub."""
    from torchvision.models import squeezenet1_1

    net = seeded(squeezenet1_1, touch)
    cache = folder / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(net.state_dict(), cache / "squeezenet1_1-b8a52dc0.pth")
    net.classifier[1] = nn.Identity()
    imagenet = InputSpec(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    spec = "torchvision:squeezenet1_1/IMAGENET1K_V1"
    return Made(spec, EncoderOptions(offline=True), net, imagenet, "trunk")


def from_shadow(folder: Path, touch: Touch) -> Made:
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    net = build("resnet-small", SIDE, seed=0).eval().requires_grad_(requires_grad=False)
    touch(net)
    save(net, folder / "shadow", "resnet-small", INPUT)
    return Made(f"shadow:{folder / 'shadow'}", EncoderOptions(), net)


def from_shadow_of_byol(folder: Path, touch: Touch) -> Made:
    """Another trunk, and a head with batch norm."""
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    net = seeded(lambda: build("vgg-tiny", SIDE, seed=0, head="mlp-bn").eval(), touch)
    save(net, folder / "shadow", "vgg-tiny", INPUT, head="mlp-bn")
    return Made(f"shadow:{folder / 'shadow'}", EncoderOptions(), net)
