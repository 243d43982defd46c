"""Small encoders of pictures and captions, in every form that clipaudit reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipaudit.encoders.base import EncoderOptions
from tests.made.encoders import INPUT, SIDE, Touch, describe, seeded

VISION = {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}


@dataclass(frozen=True)
class MadePair:
    """An encoder's files, and what the library that wrote them computes.

    Attributes:
        spec: Its name.
        encode_text: Captions → embeddings, as the library itself makes them.
        encode_image: Normalised views → embeddings.
        logits: The embeddings of both → what the loss saw.
        loss: The kind of that loss.
    """

    spec: str
    encode_text: Callable[[list[str]], Tensor]
    encode_image: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor, Tensor], Tensor]
    loss: str = "softmax"
    options: EncoderOptions = EncoderOptions(backend="torch")


def open_clip_folder(folder: Path, touch: Touch, kind: str = "CLIP", **settings: Any) -> MadePair:
    """A folder as open_clip saves it.

    Args:
        folder: Where; made if need be.
        touch: Changes the model before it is saved.
        kind: Class of open_clip's.
        settings: More of the model's configuration.
    """
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model_config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT, **settings}
    model = seeded(lambda: getattr(open_clip, kind)(**model_config), touch)
    written = {**model_config, "custom_text": kind != "CLIP"}
    preprocessing = {"mean": INPUT.mean, "std": INPUT.std, "interpolation": INPUT.interpolation}
    document = {"model_cfg": written, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return of_open_clip(
        f"local-dir:{folder}", model, open_clip.get_tokenizer(f"local-dir:{folder}")
    )


def of_open_clip(spec: str, model: Any, tokenizer: Callable[[list[str]], Tensor]) -> MadePair:
    """What a model of open_clip computes."""

    def logits(pictures: Tensor, captions: Tensor) -> Tensor:
        unit = nn.functional.normalize(pictures) @ nn.functional.normalize(captions).T
        found: Tensor = model.logit_scale.exp() * unit
        return found if model.logit_bias is None else found + model.logit_bias

    def encode_text(texts: list[str]) -> Tensor:
        found: Tensor = model.encode_text(tokenizer(texts), normalize=False)
        return found

    return MadePair(
        spec,
        encode_text,
        lambda views: model.encode_image(views, normalize=False),
        logits,
        "softmax" if model.logit_bias is None else "sigmoid",
    )


def from_folder(folder: Path, touch: Touch) -> MadePair:
    return open_clip_folder(folder, touch, quick_gelu=True)


def from_folder_of_parts(folder: Path, touch: Touch) -> MadePair:
    """With the text tower as a part of its own, which pools as SigLIP's does."""
    text = {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    return open_clip_folder(
        folder, touch, "CustomTextCLIP", text_cfg=text, init_logit_bias=-10.0, init_logit_scale=2.3
    )


def from_folder_of_coca(folder: Path, touch: Touch) -> MadePair:
    """A model that writes captions too; it pools at a token of its own."""
    small = {"vocab_size": 64, "width": 64, "heads": 2, "layers": 1, "context_length": 8}
    return open_clip_folder(
        folder,
        touch,
        "CoCa",
        text_cfg={**TEXT, "embed_cls": True, "output_tokens": True},
        vision_cfg={**VISION, "attentional_pool": True, "attn_pooler_heads": 4}
        | {"output_tokens": True},
        multimodal_cfg=small,
    )


def from_checkpoint(folder: Path, touch: Touch) -> MadePair:
    """A checkpoint of open_clip's own training, of an architecture that it has built in."""
    import open_clip

    model = seeded(
        lambda: open_clip.create_model("ViT-S-32-alt", load_weights=False, pretrained_text=False),
        touch,
    )
    path = folder / "epoch_1.pt"
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 1, "name": "test", "state_dict": state}, path)
    describe(path, input_size=224)
    return of_open_clip(f"ViT-S-32-alt/{path}", model, open_clip.get_tokenizer("ViT-S-32-alt"))
