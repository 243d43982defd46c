"""Hugging Face's transformers: CLIP and SigLIP models and their fine-tunes, from hub or folder.

The library builds one half of the model from its config.json; the weights are read by our own
reader, and no code that a repository brings along is ever run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from clipaudit.encoders import hub, sidecar, transformers_files, weights
from clipaudit.encoders.base import LARGEST_PX, Encoder, EncoderOptions, InputSpec, Output
from clipaudit.encoders.loaded_text import LONGEST_CONTEXT, PairHead, TextModule, Tokenizer
from clipaudit.encoders.loaded_text import ready as ready_text
from clipaudit.encoders.model_files import look_at, read_description
from clipaudit.encoders.third_party import one_line, quiet
from clipaudit.encoders.towers import Tower, no_trunk, ready, refuse_overrides
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from clipaudit.encoders.text import TextTower
    from clipaudit.pictures.base import Interpolation

Kind = Literal["clip", "siglip"]

_CONFIG, _PREPROCESSOR, _PROCESSOR = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SPLIT = "model.safetensors.index.json"
_HEAD = ("logit_scale", "logit_bias")
_BY_PATH = "pass a folder with all of its files as transformers:FOLDER"
_RESAMPLING: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which the library writes."""


@dataclass(frozen=True, slots=True)
class _Files:
    """A model of transformers.

    Attributes:
        spec: The name that it was asked for by.
        kind: Its architecture.
        config: The document of its config.json.
        folder: Where its files are.
        checkpoint: Its weights.
        repository: Its name on the hub; empty for a folder of the user's.
    """

    spec: str
    kind: Kind
    config: dict[str, Any]
    folder: Path
    checkpoint: Path
    repository: str


def find_weights(name: str, options: EncoderOptions) -> Path:
    """The file with the weights of a model.

    Raises:
        EncoderError: It cannot be had.
    """
    return _find(name, options).checkpoint


def load(name: str, options: EncoderOptions) -> Encoder:
    """`transformers:ORGANISATION/NAME` or `transformers:FOLDER`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    files = _find(name, options)
    spec_in = _input(files, options)
    refuse_overrides(options, spec_in, files.spec)
    output: Output = options.output or "embedding"
    if output == "trunk" and files.kind == "siglip":
        raise no_trunk(files.spec)
    module = _ImageHalf(_build(files, "vision_config", output), output)
    _fill(module.model, files, "vision_model.", "visual_projection.")
    return ready(Tower(files.spec, module, spec_in, output), options)


def load_text(name: str, options: EncoderOptions) -> TextTower:
    """The text tower of what `load` takes.

    Raises:
        EncoderError: See `load_text_tower`.
    """
    files = _find(name, options)
    context_length = _number(files, "text_config", "max_position_embeddings", LONGEST_CONTEXT)
    module = _TextHalf(_build(files, "text_config", "embedding"))
    tokenizer = _tokenizer(files, context_length, options)
    tensors = _fill(module.model, files, "text_model.", "text_projection.")
    if "logit_scale" not in tensors:
        raise EncoderError(
            f"{files.checkpoint} holds no logit_scale, the factor that its loss put on the cosine",
            "Save the whole model, with both of its halves.",
        )
    config = module.model.config
    tower = TextModule(
        spec=files.spec,
        module=module,
        tokenizer=tokenizer,
        n_tokens=int(config.vocab_size),
        head=PairHead.of(tensors["logit_scale"], tensors.get("logit_bias"), files.checkpoint),
        settings={"kind": files.kind, "eos_id": config.eos_token_id},
    )
    return ready_text(tower, options)


class _ImageHalf(nn.Module):
    """Normalised views → what is asked for of all that the library gives."""

    def __init__(self, model: Any, output: Output) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def forward(self, views: Tensor) -> Tensor:
        found = self.model(pixel_values=views)
        answer: Tensor = found.image_embeds if "image_embeds" in found else found.pooler_output
        return answer


class _TextHalf(nn.Module):
    """Tokens → embeddings, without a mask: CLIP looks back alone, SigLIP was trained without."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        found = self.model(input_ids=tokens)
        answer: Tensor = found.text_embeds if "text_embeds" in found else found.pooler_output
        return answer


def _find(name: str, options: EncoderOptions) -> _Files:
    """The files of a model, of which some may be downloaded.

    Raises:
        EncoderError: The library is missing, or one of them, or it is of another kind.
    """
    spec = f"transformers:{name}"
    transformers_files.load_library(spec)
    folder = Path(name).expanduser()
    if folder.is_dir():
        repository = ""
        if not look_at(folder / _CONFIG):
            raise EncoderError(
                f"there is no {folder / _CONFIG}",
                "transformers: takes a folder as save_pretrained writes it: that file, "
                f"{_PREPROCESSOR} and {_WEIGHTS[0]}.",
            )
        found = [folder / file for file in _WEIGHTS if look_at(folder / file)]
        if not found:
            is_split = (folder / _SPLIT).is_file()
            raise EncoderError(
                f"{folder} holds its weights in several files"
                if is_split
                else f"{folder} holds no weights",
                "Save them in one: model.save_pretrained(FOLDER, max_shard_size='100GB')."
                if is_split
                else f"Put {' or '.join(_WEIGHTS)} beside {_CONFIG}.",
            )
        config, checkpoint = folder / _CONFIG, found[0]
    else:
        repository = name
        look_at(folder)
        config = hub.download(name, [_CONFIG], _BY_PATH, offline=options.offline)
        checkpoint = hub.download(name, _WEIGHTS, _BY_PATH, offline=options.offline)
    document = read_description(config)
    kind = document.get("model_type") if isinstance(document, dict) else None
    for known in ("clip", "siglip"):
        if kind == known:
            return _Files(spec, known, document, config.parent, checkpoint, repository)
    raise EncoderError(
        f"{config} is of the model type {kind!r:.60}, and transformers: reads clip and siglip",
        "Export the encoder to ONNX and use onnx:FILE, or take one that was made from CLIP or "
        "SigLIP.",
    )


def _build(files: _Files, part: str, output: Output) -> Any:
    """One half of a model, with random weights.

    Raises:
        EncoderError: The library cannot build what config.json asks for.
    """
    import transformers

    names = {
        ("clip", "vision_config", "embedding"): "CLIPVisionModelWithProjection",
        ("clip", "vision_config", "trunk"): "CLIPVisionModel",
        ("clip", "text_config", "embedding"): "CLIPTextModelWithProjection",
        ("siglip", "vision_config", "embedding"): "SiglipVisionModel",
        ("siglip", "text_config", "embedding"): "SiglipTextModel",
    }
    if part == "vision_config":
        _number(files, part, "image_size", LARGEST_PX)
    config_class = {"clip": "CLIPConfig", "siglip": "SiglipConfig"}[files.kind]
    try:
        with quiet():
            whole = getattr(transformers, config_class).from_dict(_plain(files.config))
            config = getattr(whole, part)
            if files.kind == "clip":
                config.projection_dim = files.config.get("projection_dim", config.projection_dim)
            model = getattr(transformers, names[files.kind, part, output])(config)
            return model.float()
    except Exception as error:
        raise EncoderError(
            f"transformers cannot build the model of {files.folder / _CONFIG}: {one_line(error)}",
            "Check it, or update the library: pip install -U transformers.",
        ) from error


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says how to compute, and could load kernels to do so."""
    return {
        name: _plain(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if "attn_implementation" not in name and name != "auto_map"
    }


def _fill(model: nn.Module, files: _Files, trunk: str, projection: str) -> dict[str, Tensor]:
    """Fill one half of a model; the two numbers of its loss come back.

    Args:
        model: Whose names may lack the part that the whole model gives them.
        files: With the checkpoint.
        trunk: That part, such as `vision_model.`.
        projection: The name of the layer behind it, in the same form.

    Raises:
        EncoderError: The weights do not fit.
    """
    wanted = model.state_dict()
    is_whole = any(name.startswith(trunk) for name in wanted)
    parts = (trunk, projection) if any(name.startswith(projection) for name in wanted) else (trunk,)

    def choose(stored: Sequence[str]) -> dict[str, str]:
        own = {
            name if is_whole else name.removeprefix(trunk): name
            for name in stored
            if name.startswith(parts) and not name.endswith("position_ids")
        }
        if not own:
            raise EncoderError(
                f"{files.checkpoint} holds no tensors of a {trunk.removesuffix('.')}",
                "Save the whole model, with both of its halves.",
            )
        return own | {name: name for name in _HEAD if name in stored}

    tensors = weights.read(files.checkpoint, choose)
    head = {name: tensors.pop(name) for name in _HEAD if name in tensors}
    weights.fit(model, tensors, files.checkpoint, f"the {files.kind} of {_CONFIG}")
    return head


def _tokenizer(files: _Files, context_length: int, options: EncoderOptions) -> Tokenizer:
    own = None if files.repository else files.folder
    folder = transformers_files.find_tokenizer(files.repository, own, files.spec, _BY_PATH, options)
    library, vocabulary = transformers_files.load_tokenizer(folder, files.spec)

    def encode(texts: list[str], length: int) -> Tensor:
        tokens: Tensor = library(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return tokens

    return Tokenizer(encode, vocabulary, context_length)


def _input(files: _Files, options: EncoderOptions) -> InputSpec:
    """What the preprocessing that is saved with a model feeds it.

    Raises:
        EncoderError: Nothing is saved, or what the model cannot have been fed.
    """
    path, document = _preprocessing(files, options)
    size = _number(files, "vision_config", "image_size", LARGEST_PX)
    does_crop = document.get("do_center_crop", "crop_size" in document)
    given = document.get("crop_size" if does_crop else "size", size)
    sides = [*given.values()] if isinstance(given, dict) else [given]
    if any(side != size for side in sides):
        raise EncoderError(
            f"{path} prepares pictures of {given!r:.80}, and the model takes {size} × {size}",
            "Take the one that the model was saved with.",
        )
    if document.get("do_rescale", True) is False:
        raise EncoderError(
            f"{path} leaves pixels in 0 to 255, and views are in 0 to 1",
            "Divide its image_mean and image_std by 255, and set do_rescale to true.",
        )
    is_plain = document.get("do_normalize", True) is False
    mean, std = ([0, 0, 0], [1, 1, 1]) if is_plain else _mean_and_std(document, path)
    resample = document.get("resample", 3)  # the library's own, for both kinds
    by_number = _RESAMPLING.get(resample) if isinstance(resample, int) else None
    return InputSpec(
        size_px=size,
        mean=sidecar.three_numbers(mean, "image_mean", path),
        std=sidecar.three_numbers(std, "image_std", path),
        interpolation=by_number or sidecar.interpolation(resample, str(path)),
    )


def _mean_and_std(document: Mapping[str, object], path: Path) -> tuple[object, object]:
    if not {"image_mean", "image_std"} <= document.keys():
        raise EncoderError(
            f"{path} does not say how pictures are prepared",
            "Write image_mean and image_std as they were in the training.",
        )
    return document["image_mean"], document["image_std"]


def _preprocessing(files: _Files, options: EncoderOptions) -> tuple[Path, dict[str, Any]]:
    """What is saved of the preprocessing, in the form of this or the older versions, and where.

    Raises:
        EncoderError: Nothing is.
    """
    if files.repository:
        names = [_PREPROCESSOR, _PROCESSOR]
        path = hub.download(files.repository, names, _BY_PATH, offline=options.offline)
    else:
        path = files.folder / _PREPROCESSOR
        path = path if look_at(path) else files.folder / _PROCESSOR
    try:
        document = read_description(path)
    except FileNotFoundError as error:
        raise EncoderError(
            f"{files.folder} does not say how pictures are prepared",
            f"Put {_PREPROCESSOR} there; for a fine-tuned model, that of the model before it.",
        ) from error
    if isinstance(document, dict) and isinstance(document.get("image_processor"), dict):
        document = document["image_processor"]
    if not isinstance(document, dict):
        raise EncoderError(f"{path} is no JSON object", "It must be transformers' own.")
    return path, document


def _number(files: _Files, part: str, name: str, largest: int) -> int:
    """A size out of config.json.

    Raises:
        EncoderError: It is no number, or none that a model can have.
    """
    found = files.config.get(part)
    defaults = {"image_size": 224, "max_position_embeddings": 77 if files.kind == "clip" else 64}
    value = found.get(name, defaults[name]) if isinstance(found, dict) else defaults[name]
    if not isinstance(value, int) or not 1 < value <= largest:
        raise EncoderError(
            f"{files.folder / _CONFIG} says {part}.{name} = {value!r:.40}",
            f"It must be a number of at most {largest:,}, the one of the training.",
        )
    return value
