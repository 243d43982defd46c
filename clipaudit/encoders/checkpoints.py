"""A trunk and a checkpoint of tensors → a tower.

How its pictures were prepared is no part of a state dict: the JSON beside it or the options say
so. The projection head is kept where the checkpoint is known to have one: MoCo v2
writes a linear layer, a ReLU and a linear layer in place of the classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders import sidecar, weights
from clipaudit.encoders.base import EncoderOptions, Output
from clipaudit.encoders.towers import Tower
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.", "head_dist.")
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
    prefix = _prefix(tensors, wanted, path)
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


def _prefix(tensors: Mapping[str, Tensor], wanted: set[str], path: Path) -> str:
    """The prefix of the trunk's own names, such as `encoder_q.` or `backbone.`.

    Raises:
        EncoderError: The checkpoint holds several encoders, and no name says which is meant.
    """
    longest = max(wanted, key=len)
    found = {name[: -len(longest)] for name in tensors if name.endswith(longest)}
    full = {
        prefix
        for prefix in found
        if sum(prefix + name in tensors for name in wanted) > len(wanted) / 2
    }
    trained = {prefix for prefix in full if not any(word in prefix for word in _MOMENTUM)} or full
    if len(trained) > 1:
        raise EncoderError(
            f"{path} holds several encoders: {', '.join(sorted(trained))}",
            "Save the state dict of the one that you mean.",
        )
    return trained.pop() if trained else ""


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
        hidden, wide = linear["0.weight"].shape
        dim = len(linear["2.weight"])
        head: nn.Module = nn.Sequential(
            nn.Linear(wide, hidden, bias="0.bias" in linear),
            nn.ReLU(),
            nn.Linear(hidden, dim, bias="2.bias" in linear),
        )
    elif "weight" in linear:
        dim, wide = linear["weight"].shape
        head = nn.Linear(wide, dim, bias="bias" in linear)
    else:
        raise EncoderError(
            f"{path} holds no projection head, only the trunk below it",
            "Use --output trunk, or save the head with the trunk.",
        )
    weights.fit(head, linear, path, "fc")
    return nn.Sequential(model, head), "embedding"
