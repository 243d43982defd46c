"""The text half of open_clip's models.

Built by open_clip itself, with a visual tower of one layer, and filled from the checkpoint like
the image half. The tokenizer is the one that the model's own configuration names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import transformers_files, weights
from clipaudit.encoders.backends.open_clip import names
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.checkpoints import find_prefix
from clipaudit.encoders.loaded_text import (
    LONGEST_CONTEXT,
    PairHead,
    TextModule,
    Tokenizer,
    ready,
)
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clipaudit.encoders.text import TextTower

_NO_PICTURES: dict[str, Any] = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
_NO_ANSWER: dict[str, Any] = {"context_length": 1, "vocab_size": 1, "width": 64, "layers": 1}
_HEAD = ("logit_scale", "logit_bias")
_CONTEXT_LENGTH = 77
"""open_clip's own, where a model does not say."""

_NO_WEIGHTS = ("attn_mask", "position_ids")
"""Ends of the names of constants, which older checkpoints hold among their weights."""

_SETTINGS = ("pool_type", "pad_id", "eos_id", "use_pad_mask", "correct_cls_mask")


def load(name: str, options: EncoderOptions) -> TextTower:
    """`MODEL/TAG`, or `MODEL/PATH` of a checkpoint file.

    Raises:
        EncoderError: See `load_text_tower`.
    """
    return ready(_tower(names.find_by_name(name, options), options), options)


def load_from_hub(name: str, options: EncoderOptions) -> TextTower:
    """`hf-hub:ORGANISATION/NAME`: a repository with an open_clip_config.json and weights.

    Raises:
        EncoderError: See `load_text_tower`.
    """
    return ready(_tower(names.find_in_hub(name, options), options), options)


def load_from_folder(name: str, options: EncoderOptions) -> TextTower:
    """`local-dir:FOLDER`: a folder with an open_clip_config.json and weights.

    Raises:
        EncoderError: See `load_text_tower`.
    """
    return ready(_tower(names.find_in_folder(name), options), options)


def _tower(found: names.Weights, options: EncoderOptions) -> TextModule:
    settings = names.model_config(found)
    text_config = dict(settings["text_cfg"])
    where = str(found.config or found.model)
    context_length = text_config.get("context_length", _CONTEXT_LENGTH)
    if not isinstance(context_length, int) or not 1 < context_length <= LONGEST_CONTEXT:
        raise EncoderError(
            f"{where} asks for captions of {context_length!r:.40} tokens",
            f"Write the context_length that it was trained with, at most {LONGEST_CONTEXT:,}.",
        )
    tokenizer = _tokenizer(found, text_config, context_length, options)
    built = _build(found, text_config, captions="multimodal_cfg" in settings, options=options)
    text, tensors = built.text, _read(built.text, found)
    scale, bias = (tensors.pop(name, None) for name in _HEAD)
    weights.fit(text, tensors, found.checkpoint, f"the text tower of {found.spec}")
    if scale is None:
        raise EncoderError(
            f"{found.checkpoint} holds no logit_scale, the factor that its loss put on the cosine",
            "Save the whole model, as open_clip's training does.",
        )
    if bias is None and built.logit_bias is not None:
        bias = scale.new_zeros(())  # as open_clip itself fills it in
    return TextModule(
        spec=found.spec,
        module=text,
        tokenizer=tokenizer,
        n_tokens=int(text.vocab_size),
        head=PairHead.of(scale, bias, found.checkpoint),
        settings=_settings(text),
    )


def _build(
    found: names.Weights, text_config: dict[str, Any], *, captions: bool, options: EncoderOptions
) -> Any:
    """A model of open_clip with random weights, whose visual tower is next to nothing."""
    import open_clip

    if text_config.get("hf_model_name"):
        folder = transformers_files.find_config(
            str(text_config["hf_model_name"]), f"The text tower of {found.spec}", options
        )
        text_config = text_config | {"hf_model_name": str(folder), "hf_model_pretrained": False}
    more = {"multimodal_cfg": _NO_ANSWER} if captions else {}
    try:
        with quiet():
            built = open_clip.create_model(
                found.model,
                load_weights=False,
                pretrained_text=False,
                precision="fp32",
                force_quick_gelu=found.needs_quick_gelu,
                force_custom_text=True,
                vision_cfg=_NO_PICTURES,
                text_cfg=text_config,
                **more,
            )
    except Exception as error:
        raise EncoderError(
            f"open_clip cannot build the text tower of {found.spec}: {first_line(error)}",
            f"Check the text_cfg of {found.config}."
            if found.config
            else "Update open_clip: pip install -U open-clip-torch.",
        ) from error
    if getattr(built.text, "output_tokens", False):
        built.text.output_tokens = False  # CoCa's tokens for its decoder, beside the embedding
    return built


def _read(text: nn.Module, found: names.Weights) -> dict[str, Tensor]:
    """The tensors of a text tower and its head, by their own names."""
    wanted = set(text.state_dict())
    return weights.read(found.checkpoint, partial(_text_names, wanted, found.checkpoint))


def _text_names(wanted: set[str], checkpoint: Path, stored: Sequence[str]) -> dict[str, str]:
    """The names of a text tower and its head → those in the checkpoint.

    The tower is a part called `text` of the whole model or, in the older form, spread over it.

    Raises:
        EncoderError: There is none.
    """
    others = [name for name in stored if ".visual." not in f".{name}"]
    prefix = find_prefix(others, wanted, checkpoint)
    if prefix is None:
        raise EncoderError(
            f"{checkpoint} holds no text tower that fits, so captions cannot be embedded",
            "Give the whole model, as open_clip's training saves it, by the name of its "
            "architecture; or leave out --captions.",
        )
    parts = {name.partition(".")[0] for name in wanted}
    own = {name.removeprefix(prefix): name for name in others if name.startswith(prefix)}
    chosen = {
        name: full
        for name, full in own.items()
        if name in wanted
        or (
            (prefix.endswith("text.") or name.partition(".")[0] in parts)
            and not name.endswith(_NO_WEIGHTS)
        )
    }
    outer = prefix.removesuffix("text.")
    return chosen | {name: outer + name for name in _HEAD if outer + name in stored}


def _tokenizer(
    found: names.Weights, text_config: dict[str, Any], context_length: int, options: EncoderOptions
) -> Tokenizer:
    """The tokenizer that a model's configuration names: CLIP's own, or one of transformers."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    library_name = text_config.get("hf_tokenizer_name")
    more = text_config.get("tokenizer_kwargs") or {}
    folder = None
    if library_name:
        own = found.config.parent if found.config and found.is_local else None
        by_path = (
            f"put it into {own}"
            if own
            else "pass a folder with the encoder and its tokenizer as local-dir:FOLDER"
        )
        folder = transformers_files.find_tokenizer(
            str(library_name), own, found.spec, by_path, options
        )
    try:
        with quiet():
            if folder is None:
                simple = SimpleTokenizer(context_length=context_length, **more)
                return Tokenizer(simple, simple.encoder, context_length)
            mode = text_config.get("tokenizer_mode")
            library = HFTokenizer(
                str(folder),
                context_length=context_length,
                tokenizer_mode=mode,
                **{**more, "trust_remote_code": False, "local_files_only": True},
            )
            return Tokenizer(library, library.tokenizer.get_vocab(), context_length)
    except Exception as error:
        raise transformers_files.cannot_load(
            found.spec, folder or found.checkpoint.parent, error
        ) from error


def _settings(text: Any) -> dict[str, object]:
    """What changes a text tower's results and leaves no trace in its tensors or layers."""
    settings: dict[str, object] = {
        name: getattr(text, name) for name in _SETTINGS if hasattr(text, name)
    }
    settings["is_causal"] = getattr(text, "attn_mask", None) is not None
    if hasattr(text, "pooler"):  # a model of transformers
        settings["pooler"] = type(text.pooler).__name__
        settings["pad_id"] = text.config.pad_token_id
    return settings
