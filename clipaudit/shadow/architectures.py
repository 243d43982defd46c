"""Shadow encoders: a trunk, and the projection head whose output the loss sees."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from clipaudit.seeding import lent_to_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

Architecture = Literal["resnet18", "resnet-small", "resnet-tiny", "vgg11", "vgg-small", "vgg-tiny"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
PairArchitecture = Literal["clip-vit-tiny", "clip-resnet-tiny"]
"""Picture and text towers of encoders that are trained with captions; see `image_text.py`."""

PAIR_ARCHITECTURES: tuple[PairArchitecture, ...] = get_args(PairArchitecture)
Head = Literal["mlp", "linear", "mlp-bn"]
HEADS: tuple[Head, ...] = get_args(Head)

PROJECTION_DIM = 128


def build(architecture: Architecture, size_px: int, seed: int, head: Head = "mlp") -> nn.Module:
    """A trunk and its projection head, with random weights that depend on the seed alone.

    Args:
        architecture: `resnet18`: torchvision's, with a 3 × 3 stem that keeps the resolution of
            images up to 64 pixels (as is usual for CIFAR). `resnet-small`: four of its basic
            blocks with 32 to 256 channels behind a stem of stride 2; twenty times cheaper.
            `resnet-tiny`: the same with half the channels. `vgg11`: torchvision's VGG-11 with
            batch norm. `vgg-small`: its eight convolutions with 16 to 128 channels, behind a
            stem of stride 2. `vgg-tiny`: the same with half the channels.
        size_px: Side of the images.
        seed: Seed of the weights.
        head: `mlp`: two layers, the hidden one as wide as the trunk (SimCLR, MoCo v2).
            `linear`: one layer (MoCo v1). `mlp-bn`: two, with batch norm (BYOL).

    Returns:
        A module with the parts `trunk`, (n, 3, size_px, size_px) → (n, width), and `head`,
        → (n, 128), one after the other.
    """
    from torch import nn

    with lent_to_torch(seed):
        trunk, width = _TRUNKS[architecture](size_px)
        return nn.Sequential(OrderedDict(trunk=trunk, head=_head(head, width)))


def _head(kind: Head, width: int) -> nn.Module:
    from torch import nn

    from clipaudit.shadow.contrastive import TwoLayers

    if kind == "linear":
        return nn.Linear(width, PROJECTION_DIM)
    return TwoLayers(width, width, PROJECTION_DIM, has_batch_norm=kind == "mlp-bn")


def _resnet18(size_px: int) -> tuple[nn.Module, int]:
    from torch import nn
    from torchvision.models import resnet18

    trunk = resnet18(weights=None)
    if size_px <= 64:
        trunk.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        trunk.maxpool = nn.Identity()
    trunk.fc = nn.Identity()
    return trunk, 512


def _resnet_small(size_px: int, stem_width: int = 32) -> tuple[nn.Module, int]:
    from torch import nn
    from torchvision.models.resnet import BasicBlock

    widths = [stem_width * 2**stage for stage in range(4)]
    stem_stride = 2 if size_px <= 64 else 4
    layers: list[nn.Module] = [
        nn.Conv2d(3, widths[0], kernel_size=3, stride=stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
    ]
    before = widths[0]
    for width in widths:
        shortcut = None
        if width != before:
            shortcut = nn.Sequential(
                nn.Conv2d(before, width, kernel_size=1, stride=2, bias=False),
                nn.BatchNorm2d(width),
            )
        layers.append(BasicBlock(before, width, 1 if width == before else 2, shortcut))
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), before


def _vgg11(size_px: int) -> tuple[nn.Module, int]:
    from torch import nn
    from torchvision.models import vgg11_bn

    layers = vgg11_bn(weights=None).features
    if size_px < 32:
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True  # five of them would leave nothing
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512


def _vgg_small(size_px: int, stem_width: int = 16) -> tuple[nn.Module, int]:
    from torch import nn

    layers: list[nn.Module] = []
    before = 3
    for times in (1, 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8):
        if isinstance(times, str):
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            continue
        stride = 1 if layers else (2 if size_px <= 64 else 4)
        width = times * stem_width
        layers += [
            nn.Conv2d(before, width, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), before


_TRUNKS: dict[Architecture, Callable[[int], tuple[nn.Module, int]]] = {
    "resnet18": _resnet18,
    "resnet-small": _resnet_small,
    "resnet-tiny": partial(_resnet_small, stem_width=16),
    "vgg11": _vgg11,
    "vgg-small": _vgg_small,
    "vgg-tiny": partial(_vgg_small, stem_width=8),
}
