"""A trunk and a checkpoint of tensors → a tower.

How its pictures were prepared is no part of a state dict: the JSON beside it or the options say
so. The projection head is kept where the checkpoint is known to have one: MoCo v2
writes a linear layer, a ReLU and a linear layer in place of the classifier.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders import sidecar, weights
from clipaudit.encoders.base import EncoderOptions, Output
from clipaudit.encoders.towers import Tower
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.", "head_dist.")
_TRANSFORMERS = ("vision_model.encoder.layers.", ".attention.attention.query.")
"""Parts of names that only the models of Hugging Face's transformers have: CLIP, SigLIP, ViT."""

_MOMENTUM = ("encoder_k", "momentum", "teacher", "target", "ema")
"""Parts of the names of a second encoder that trails behind the one that is trained."""


def fill_trunk(spec: str, trunk: nn.Module, path: Path, options: EncoderOptions) -> Tower:
    """The tower of a model without classifier, with the weights of a state dict.

    Args:
        spec: The name that it was asked for by.
        trunk: With any weights; it is the tower's from here on.
        path: The state dict.
        options: With the architecture, for messages.

    Raises:
        EncoderError: The weights do not fit, nobody says how pictures are prepared, or the
            embedding is asked for and there is no head.
    """
    side = sidecar.read(path, options)
    rest = _fill(trunk, path, options.architecture or type(trunk).__name__)
    module, output = _with_head(trunk, rest, side.output, path)
    return Tower(spec, module, side.input, output)


def _fill(model: nn.Module, path: Path, architecture: str) -> dict[str, Tensor]:
    """Load the trunk's tensors, wherever in the checkpoint they are; the rest beside them."""
    tensors = weights.read(path)
    wanted = set(model.state_dict())
    prefix = find_prefix(tensors, wanted, path) or ""
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    rest = {name: tensor for name, tensor in own.items() if name.startswith(_CLASSIFIERS)}
    trunk = {
        name: tensor
        for name, tensor in own.items()
        # Beside a trunk without prefix stand other parts of the training, which are not its own.
        if name in wanted or (name not in rest and prefix)
    }
    weights.fit(model, trunk, path, architecture)
    return {name: tensor for name, tensor in rest.items() if name not in wanted}


def find_prefix(names: Collection[str], wanted: set[str], path: Path) -> str | None:
    """The prefix of an encoder's own names, such as `encoder_q.` or `backbone.`.

    Args:
        names: Those of the tensors of a checkpoint.
        wanted: Those of the encoder's tensors.
        path: The checkpoint.

    Returns:
        The prefix, empty where the names are the encoder's own; None where they are of no such
        encoder.

    Raises:
        EncoderError: The checkpoint holds several encoders, and no name says which is meant; or
            it is of a model of transformers, which names all of its tensors otherwise.
    """
    longest = max(wanted, key=len)
    found = {name[: -len(longest)] for name in names if name.endswith(longest)}
    there = set(names)
    full = {
        prefix
        for prefix in found
        if sum(prefix + name in there for name in wanted) > len(wanted) / 2
    }
    if not full and any(sign in name for name in names for sign in _TRANSFORMERS):
        raise EncoderError(
            f"{path} holds a model of transformers, whose tensors have other names",
            "Use transformers:FOLDER for CLIP and SigLIP, with the folder that save_pretrained "
            "wrote; export another to ONNX and use onnx:FILE.",
        )
    trained = {prefix for prefix in full if not any(word in prefix for word in _MOMENTUM)} or full
    if len(trained) > 1:
        raise EncoderError(
            f"{path} holds several encoders: {', '.join(sorted(trained))}",
            "Save the state dict of the one that you mean.",
        )
    return trained.pop() if trained else None


def _with_head(
    model: nn.Module, rest: Mapping[str, Tensor], asked: Output | None, path: Path
) -> tuple[nn.Module, Output]:
    """The trunk, with the checkpoint's projection head where it has one and none else is asked.

    Raises:
        EncoderError: The embedding is asked for, and there is no head.
    """
    from torch import nn

    linear = {
        name.removeprefix("fc."): tensor for name, tensor in rest.items() if name.startswith("fc.")
    }
    mlp = {"0.weight", "2.weight"} <= linear.keys()
    if asked == "trunk" or (asked is None and not mlp):
        return model, "trunk"
    if mlp:
        hidden, wide = _size_of(linear["0.weight"], "fc.0.weight", path)
        dim, _ = _size_of(linear["2.weight"], "fc.2.weight", path)
        head: nn.Module = nn.Sequential(
            nn.Linear(wide, hidden, bias="0.bias" in linear),
            nn.ReLU(),
            nn.Linear(hidden, dim, bias="2.bias" in linear),
        )
    elif "weight" in linear:
        dim, wide = _size_of(linear["weight"], "fc.weight", path)
        head = nn.Linear(wide, dim, bias="bias" in linear)
    else:
        raise EncoderError(
            f"{path} holds no projection head, only the trunk below it",
            "Use --output trunk, or save the head with the trunk.",
        )
    weights.fit(head, linear, path, "fc")
    return nn.Sequential(model, head), "embedding"


def _size_of(tensor: Tensor, name: str, path: Path) -> tuple[int, int]:
    """Outputs and inputs of a linear layer.

    Raises:
        EncoderError: A tensor of that shape belongs to none.
    """
    if tensor.ndim != 2 or not tensor.numel():
        raise EncoderError(
            f"{path} has a projection head that is no linear layer: {name} has the shape "
            f"{tuple(tensor.shape)}",
            "Use --output trunk, or save the head that the encoder was trained with.",
        )
    return tensor.shape[0], tensor.shape[1]
