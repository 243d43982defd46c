"""Shadow encoders that are trained as CLIP is: on pictures with their captions.

Model, tokenizer and loss are open_clip's own, and a trained encoder lies in a folder as open_clip
writes it, so that `local-dir:FOLDER` loads its picture and text towers like anybody's.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit.encoders import weights
from clipaudit.encoders.base import InputSpec
from clipaudit.encoders.model_files import read_description
from clipaudit.encoders.third_party import quiet
from clipaudit.errors import EncoderError
from clipaudit.files import make_folder, replace_file
from clipaudit.seeding import lent_to_torch
from clipaudit.shadow.checkpoints import Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from clipaudit.shadow.architectures import PairArchitecture
    from clipaudit.shadow.config import PairConfig
    from clipaudit.shadow.pretrain import IntArray

CONFIG = "open_clip_config.json"
_WEIGHTS = "open_clip_model.safetensors"

CONTEXT_LENGTH = 14
"""Tokens of a caption. Those of file names are short, and each token costs."""

_DIM = 128
_WARM_UP = 0.05
_MOST_LOG_SCALE = math.log(100)
_TOWERS: dict[PairArchitecture, dict[str, Any]] = {
    "clip-vit-tiny": {"layers": 3, "width": 96, "head_width": 32, "patch_size": 8},
    "clip-resnet-tiny": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
}


def _model_config(architecture: PairArchitecture, size_px: int) -> dict[str, Any]:
    """The model as open_clip's own configuration describes one."""
    return {
        "embed_dim": _DIM,
        "vision_cfg": {"image_size": size_px, **_TOWERS[architecture]},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": 49408,
            "width": 128,
            "heads": 4,
            "layers": 1,
        },
    }


def build(architecture: PairArchitecture, size_px: int, seed: int) -> nn.Module:
    """Picture and text towers with random weights that depend on the seed alone."""
    from open_clip.model import CLIP

    with lent_to_torch(seed), quiet():
        model: nn.Module = CLIP(**_model_config(architecture, size_px))
    return model


def tokenize(captions: Sequence[str]) -> Tensor:
    """Tokens of captions, shape (n, CONTEXT_LENGTH); what is longer is cut."""
    from open_clip import SimpleTokenizer

    tokens: Tensor = SimpleTokenizer(context_length=CONTEXT_LENGTH)(list(captions))
    return tokens


def save(
    net: nn.Module, folder: Path, architecture: PairArchitecture, input_spec: InputSpec
) -> None:
    """Write an encoder as open_clip does, for `local-dir:FOLDER`.

    Raises:
        ClipAuditError: The folder cannot be written to.
    """
    from safetensors.torch import save as to_bytes

    make_folder(folder)
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    replace_file(folder / _WEIGHTS, to_bytes(tensors))
    config = {
        "model_cfg": _model_config(architecture, input_spec.size_px),
        "preprocess_cfg": {
            "size": input_spec.size_px,
            "mode": "RGB",
            "mean": input_spec.mean,
            "std": input_spec.std,
            "interpolation": input_spec.interpolation,
            "resize_mode": "squash",
        },
    }
    replace_file(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())


def read_base(folder: Path, net: nn.Module) -> InputSpec:
    """Fill a net with the weights of an encoder that `save` wrote, and return its input.

    Raises:
        EncoderError: It cannot be read, or is another model.
    """
    try:
        how = read_description(folder / CONFIG)["preprocess_cfg"]
        input_spec = InputSpec(
            how["size"], tuple(how["mean"]), tuple(how["std"]), how["interpolation"]
        )
        weights.fit(net, weights.read(folder / _WEIGHTS), folder / _WEIGHTS, "its own model")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{folder} holds no encoder to be fine-tuned: {error!r}",
            f"It must have {CONFIG} and {_WEIGHTS}, as `clipaudit train --algorithm clip` writes "
            "them.",
        ) from error
    return input_spec


class PairLearner:
    """Learns which caption belongs to which picture; see `Learner`.

    Args:
        net: Made by `build`, on its device.
        captions: Captions of each member; one of them is drawn whenever it comes up.
        config: How to train.
    """

    n_views = 1

    def __init__(
        self, net: nn.Module, captions: Sequence[Sequence[str]], config: PairConfig
    ) -> None:
        import torch
        from open_clip import ClipLoss

        decayed = [parameter for parameter in net.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in net.parameters() if parameter.ndim < 2]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            eps=1e-6,
            fused=True,
        )
        self.trainer = Trainer(net.train(), None, None, optimizer, ClipLoss())
        self._config = config
        self._counts = np.array([len(texts) for texts in captions])
        self._starts = np.cumsum(self._counts) - self._counts
        self._tokens = tokenize([text for texts in captions for text in texts])

    def learning_rate(self, step: int, n_steps: int) -> float:
        """See `Learner.learning_rate`."""
        highest = self._config.learning_rate
        if self._config.base is not None:
            return highest
        n_rising = max(1, round(_WARM_UP * n_steps))
        if step < n_rising:
            return highest * (step + 1) / n_rising
        return highest * (1 + math.cos(math.pi * (step - n_rising) / (n_steps - n_rising))) / 2

    def step(self, pictures: IntArray, views: Tensor, generator: np.random.Generator) -> float:
        """See `Learner.step`."""
        import torch

        shares = generator.random(len(pictures))
        chosen = self._starts[pictures] + (shares * self._counts[pictures]).astype(np.int64)
        tokens = self._tokens[torch.from_numpy(chosen)].to(views.device)
        net: Any = self.trainer.net
        embedded = net.encode_image(views[:, 0], normalize=True)
        texts = net.encode_text(tokens, normalize=True)
        loss = self.trainer.loss(embedded, texts, net.logit_scale.exp())
        self.trainer.optimizer.zero_grad()
        loss.backward()
        self.trainer.optimizer.step()
        with torch.no_grad():
            net.logit_scale.clamp_(0, _MOST_LOG_SCALE)
        return float(loss.detach())
