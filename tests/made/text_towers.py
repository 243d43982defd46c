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


def transformers_folder(folder: Path, touch: Touch, kind: str = "clip") -> MadePair:
    """A CLIP or a SigLIP as the transformers library saves it.

    CLIP comes with its own tokenizer, SigLIP with a small one that ends captions, and fills them
    up, with the same token, as its own does.
    """
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    half = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    half |= {"num_attention_heads": 2}
    tokenizer = clip_tokenizer() if kind == "clip" else words_tokenizer()
    text = {**half, "max_position_embeddings": 12, "vocab_size": len(tokenizer)}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text |= {"pad_token_id": tokenizer.pad_token_id}
    vision = {**half, "image_size": SIDE, "patch_size": 8}
    name = {"clip": "CLIP", "siglip": "Siglip"}[kind]
    more = {"projection_dim": 16} if kind == "clip" else {}
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=vision, **more)
    model = seeded(lambda: getattr(transformers, f"{name}Model")(config), touch)
    if kind == "siglip":
        with torch.no_grad():
            model.logit_scale.fill_(2.3)
            model.logit_bias.fill_(-10.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    said: dict[str, object] = {"size": {"height": SIDE, "width": SIDE}, "image_mean": INPUT.mean}
    said |= {"image_std": INPUT.std, "resample": 3, "do_rescale": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))

    def encode_text(texts: list[str]) -> Tensor:
        rows = tokenizer(
            texts, padding="max_length", truncation=True, max_length=12, return_tensors="pt"
        )
        mask = {} if kind == "siglip" else {"attention_mask": rows.attention_mask}
        found: Tensor = model.get_text_features(input_ids=rows.input_ids, **mask).pooler_output
        return found

    def logits(pictures: Tensor, captions: Tensor) -> Tensor:
        unit = nn.functional.normalize(pictures) @ nn.functional.normalize(captions).T
        found: Tensor = model.logit_scale.exp() * unit
        return found + model.logit_bias if kind == "siglip" else found

    return MadePair(
        f"transformers:{folder}",
        encode_text,
        lambda views: model.get_image_features(pixel_values=views).pooler_output,
        logits,
        "sigmoid" if kind == "siglip" else "softmax",
    )


def clip_tokenizer() -> Any:
    """CLIP's tokenizer of the transformers library, from the pieces that open_clip ships."""
    import open_clip
    from transformers import CLIPTokenizer

    own = open_clip.SimpleTokenizer()
    vocabulary = dict(own.encoder)
    start, end = own.all_special_ids
    words = {"<|startoftext|>": start, "<|endoftext|>": end}
    vocabulary = {word: n for word, n in vocabulary.items() if n not in words.values()} | words
    return CLIPTokenizer(vocab=vocabulary, merges=list(own.bpe_ranks))


def words_tokenizer() -> Any:
    """A tokenizer of whole words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>", "a", "photo", "of", "cat", "caption", "that", "does", "not", "end"]
    plain = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>")
    )
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )


def from_transformers(folder: Path, touch: Touch) -> MadePair:
    return transformers_folder(folder, touch)


def from_transformers_of_siglip(folder: Path, touch: Touch) -> MadePair:
    return transformers_folder(folder, touch, "siglip")
