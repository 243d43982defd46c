"""The image half of open_clip's models.

Models are built by open_clip itself, with a text tower of one token, because only the visual
one is used here; its weights are then read alone from the checkpoint. That needs half of the
memory, works for towers whose text half needs further packages, and never runs open_clip's own
loader, which falls back to plain unpickling.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from reprlib import repr as repr_of
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import sidecar, weights
from clipaudit.encoders.backends.open_clip import names
from clipaudit.encoders.base import LARGEST_PX, Encoder, EncoderOptions, InputSpec, Output
from clipaudit.encoders.checkpoints import find_prefix
from clipaudit.encoders.model_files import check_is_file, look_at, read_description
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.encoders.towers import Tower, no_trunk, ready, refuse_overrides
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import nn

_NO_TEXT: dict[str, Any] = {
    "context_length": 1,
    "vocab_size": 1,
    "width": 64,
    "heads": 1,
    "layers": 1,
}


def load(name: str, options: EncoderOptions) -> Encoder:
    """`MODEL/TAG`, or `MODEL/PATH` of a checkpoint file.

    Raises:
        EncoderError: See `load_encoder`.
    """
    return ready(_from_name(names.find_by_name(name, options), options), options)


def load_from_hub(name: str, options: EncoderOptions) -> Encoder:
    """`hf-hub:ORGANISATION/NAME`: a repository with an open_clip_config.json and weights.

    Raises:
        EncoderError: See `load_encoder`.
    """
    return ready(_from_folder(names.find_in_hub(name, options), options), options)


def load_from_folder(name: str, options: EncoderOptions) -> Encoder:
    """`local-dir:FOLDER`: a folder with an open_clip_config.json and weights.

    Raises:
        EncoderError: See `load_encoder`.
    """
    return ready(_from_folder(names.find_in_folder(name), options), options)


def from_checkpoint(spec: str, model: str, checkpoint: Path, options: EncoderOptions) -> Tower:
    """A tower of a built-in architecture with the weights of a local file.

    Its preprocessing is what the JSON beside the file or the options say; where they say
    nothing, what every published checkpoint of that architecture uses. Where those differ among
    themselves it has to be said, since a wrong guess would show only in the scores.

    Raises:
        EncoderError: The weights do not fit, or nobody says how pictures are prepared.
    """
    import open_clip

    names.require_model(model)
    check_is_file(checkpoint)
    tags = open_clip.list_pretrained_tags_by_model(model)
    known = {names.preprocessing_of(model, tag) for tag in tags} or {()}
    has_preprocessing = look_at(checkpoint.with_suffix(".json")) or options.input.mean is not None
    if len(known) == 1 and not has_preprocessing:
        visual = _build(model, dict(next(iter(known))))
        spec_in = _input(visual, spec)
        refuse_overrides(options, spec_in, spec)
    else:
        visual = _build(model, {})
        spec_in = sidecar.read(checkpoint, options).input
        if spec_in.size_px != _size(visual.preprocess_cfg, spec):
            raise EncoderError(
                f"{model} takes pictures of {_size(visual.preprocess_cfg, spec)} pixels, "
                f"not of {spec_in.size_px}",
                "Name the model of that size, or mend input_size.",
            )
    visual, output = _cut(_fill(visual, checkpoint, model), options.output, spec)
    return Tower(spec, visual, spec_in, output, auto_onnx=True)


def _from_name(found: names.Weights, options: EncoderOptions) -> Tower:
    if found.tag is None:
        return from_checkpoint(found.spec, found.model, found.checkpoint, options)
    visual = _build(
        found.model,
        dict(names.preprocessing_of(found.model, found.tag)),
        force_quick_gelu=found.needs_quick_gelu,
    )
    return _tower(found, visual, options)


def _tower(found: names.Weights, visual: Any, options: EncoderOptions) -> Tower:
    """The tower of a visual half that says itself how its pictures are prepared."""
    spec_in = _input(visual, found.spec)
    refuse_overrides(options, spec_in, found.spec)
    architecture = found.model if found.config is None else found.spec
    visual, output = _cut(_fill(visual, found.checkpoint, architecture), options.output, found.spec)
    return Tower(found.spec, visual, spec_in, output, auto_onnx=True)


def _build(model: str, preprocessing: dict[str, Any], **settings: bool) -> Any:
    """The visual tower of a model, with random weights and its own preprocessing."""
    import open_clip

    text: dict[str, Any] = {"text_cfg": _NO_TEXT}
    if "multimodal_cfg" in open_clip.get_model_config(model):  # CoCa's captions, equally unused
        text["multimodal_cfg"] = _NO_TEXT
    with quiet():
        built, _, _ = open_clip.create_model_and_transforms(
            model,
            load_weights=False,
            pretrained_text=False,
            precision="fp32",
            **{f"image_{key}": value for key, value in preprocessing.items()},
            **settings,
            **text,
        )
    return built.visual


def _from_folder(found: names.Weights, options: EncoderOptions) -> Tower:
    config = found.config
    assert config is not None
    try:
        document = read_description(config)
        preprocessing = document["preprocess_cfg"]
        complete = "model_cfg" in document and preprocessing.keys() >= {"mean", "std"}
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"cannot use {config}: {error!r}", "It must be open_clip's own."
        ) from error
    if not complete:
        raise EncoderError(
            f"{config} does not say how pictures are prepared",
            'Add "preprocess_cfg": {"size": 224, "mean": […], "std": […], '
            '"interpolation": "bicubic"} with the values of the training.',
        )
    for name in ("mean", "std"):  # open_clip takes a null for its own default
        sidecar.three_numbers(preprocessing[name], name, config)
    if "size" in preprocessing:
        _size(preprocessing, str(config))
    _refuse_giant(document, config)
    try:
        visual = _build(found.model, {})
    except Exception as error:
        raise EncoderError(
            f"open_clip cannot build the model of {config}: {first_line(error)}",
            "Check its model_cfg.",
        ) from error
    return _tower(found, visual, options)


def _refuse_giant(document: dict[str, Any], config: Path) -> None:
    """Raise an EncoderError where building the model would take all memory for its positions."""
    vision = (
        document["model_cfg"].get("vision_cfg") if names.is_object(document["model_cfg"]) else None
    )
    sizes = [
        document["preprocess_cfg"].get("size")
        if names.is_object(document["preprocess_cfg"])
        else None,
        vision.get("image_size") if names.is_object(vision) else None,
    ]
    for size in sizes:
        for side in size if isinstance(size, list) else [size]:
            if isinstance(side, int | float) and side > LARGEST_PX:
                raise EncoderError(
                    f"{config} asks for pictures of {side:.6g} pixels, and at most {LARGEST_PX} "
                    "are possible",
                    "Write the size that the model was trained with.",
                )


def _fill(visual: Any, checkpoint: Path, model: str) -> Any:
    wanted = set(visual.state_dict())
    tensors = weights.read(checkpoint, partial(_visual_names, wanted, checkpoint))
    weights.fit(visual, tensors, checkpoint, model)
    return visual


def _visual_names(wanted: set[str], checkpoint: Path, stored: Sequence[str]) -> dict[str, str]:
    """The visual tower's own names → those in the checkpoint.

    The tower is a part called `visual` of the whole model, whatever holds that, or all there is.

    Raises:
        EncoderError: There is none.
    """
    within = [name for name in stored if ".visual." in f".{name}"]
    prefix = find_prefix(within or stored, wanted, checkpoint)
    if prefix is None and not within:
        raise EncoderError(
            f"{checkpoint} holds no tensors of open_clip's visual tower",
            f"Use state-dict:{checkpoint} with --architecture for another library's weights.",
        )
    if prefix is None:  # of another architecture, as the error of `fit` will say
        prefix = within[0][: f".{within[0]}".index(".visual.") + len("visual.")]
    return {
        name.removeprefix(prefix): name
        for name in stored
        if name.startswith(prefix) and (prefix or name in wanted)
    }


def _input(visual: Any, name: str) -> InputSpec:
    config = visual.preprocess_cfg
    return InputSpec(
        size_px=_size(config, name),
        mean=sidecar.three_numbers(config["mean"], "mean", name),
        std=sidecar.three_numbers(config["std"], "std", name),
        interpolation=sidecar.interpolation(config["interpolation"], name),
    )


def _size(config: dict[str, Any], name: str) -> int:
    size = config["size"]
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise EncoderError(
            f"{name} asks for pictures of the size {repr_of(size)}",
            "Write one number of pixels, such as 224.",
        )
    if len(set(sides)) != 1:
        raise EncoderError(
            f"{name} takes pictures of {sides[1]} × {sides[0]}, and only square ones are made",
            "Use an encoder with a square input.",
        )
    return int(sides[0])


def _cut(visual: Any, output: Output | None, name: str) -> tuple[nn.Module, Output]:
    """A visual tower that gives the output that was asked for.

    The embedding is what the contrastive loss saw. The trunk is the pooled vector below its
    projection: for a vision transformer what it projects, for OpenAI's ResNets, whose attention
    pooling is a projection too, the mean of the last feature map.

    Raises:
        EncoderError: The tower has no projection, so that both would be the same.
    """
    from torch import nn

    if getattr(visual, "output_tokens", False):
        visual.output_tokens = False  # CoCa's tokens for captions, beside the embedding
    if output != "trunk":
        return visual, "embedding"
    if hasattr(visual, "attnpool"):
        visual.attnpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return visual, "trunk"
    if hasattr(visual, "trunk"):
        return _cut_timm(visual, name), "trunk"
    if getattr(visual, "proj", None) is not None:
        visual.proj = None
        return visual, "trunk"
    raise no_trunk(name)


def _cut_timm(visual: Any, name: str) -> nn.Module:
    """The trunk of a tower whose image half is a timm model."""
    from torch import nn

    trunk: nn.Module = visual.trunk
    if hasattr(visual.head, "pool"):  # attention pooling that projects, over a feature map
        return nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if any(True for _ in visual.head.parameters()):
        return trunk
    if not isinstance(visual.trunk.get_classifier(), nn.Identity):  # timm's own head projects
        visual.trunk.reset_classifier(0)
        return trunk
    raise no_trunk(name)
