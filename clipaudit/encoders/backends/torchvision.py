"""torchvision: every classification model and weight, as its pooled features.

All of them were trained on labels, so none has an embedding that a contrastive loss saw.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import hub, weights
from clipaudit.encoders.base import Encoder, EncoderOptions, InputSpec, Output
from clipaudit.encoders.checkpoints import fill_trunk
from clipaudit.encoders.sidecar import interpolation
from clipaudit.encoders.third_party import quiet
from clipaudit.encoders.towers import Tower, choose, ready, refuse_overrides
from clipaudit.errors import EncoderError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


def load(name: str, options: EncoderOptions) -> Encoder:
    """`torchvision:MODEL/WEIGHTS`, such as `torchvision:resnet50/IMAGENET1K_V2`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    model, _, tag = name.partition("/")
    entry = _weights(model, tag)
    spec_name = f"torchvision:{model}/{entry.name}"
    output = choose(options.output, ("trunk",), spec_name)
    built = _build(model, entry, find_weights(name, options))
    spec = _input(entry, spec_name)
    refuse_overrides(options, spec, spec_name)
    return ready(Tower(spec_name, without_classifier(built), spec, output), options)


def find_weights(name: str, options: EncoderOptions) -> Path:
    """The file with the weights of `MODEL/WEIGHTS`.

    Raises:
        EncoderError: There are none, or they cannot be had.
    """
    model, _, tag = name.partition("/")
    url = _weights(model, tag).url
    return hub.download_url(
        url,
        f"pass it as state-dict:PATH with --architecture torchvision:{model}",
        offline=options.offline,
        sha256_prefix=url.rpartition("-")[2].partition(".")[0],
    )


def published() -> Iterator[tuple[str, Output]]:
    """Every MODEL/WEIGHTS, and its output."""
    import torchvision

    for model in torchvision.models.list_models(module=torchvision.models):
        for entry in torchvision.models.get_model_weights(model):
            yield f"{model}/{entry.name}", "trunk"


def from_checkpoint(
    spec: str, architecture: str, checkpoint: Path, options: EncoderOptions
) -> Tower:
    """A tower of a torchvision model with the weights of a state dict.

    Raises:
        EncoderError: torchvision has no such architecture, or see `fill_trunk`.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        raise EncoderError(
            f"torchvision has no architecture called {architecture!r}",
            did_you_mean(architecture, known, f"Name the architecture of {checkpoint.name}."),
        )
    with quiet():
        model = torchvision.models.get_model(architecture, weights=None)
    return fill_trunk(spec, without_classifier(model), checkpoint, options)


def without_classifier(model: nn.Module) -> nn.Module:
    """The model with its last layer, the one that gives classes, left out."""
    from torch import nn

    last = [
        name
        for name, layer in model.named_modules()
        # Inception and GoogLeNet have a second classifier, which only training uses.
        if isinstance(layer, nn.Linear | nn.Conv2d) and not name.lower().startswith("aux")
    ][-1]
    parent, _, child = last.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    for auxiliary in ("AuxLogits", "aux1", "aux2"):
        if hasattr(model, auxiliary):
            setattr(model, auxiliary, None)
    return model


def _weights(model: str, tag: str) -> Any:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise EncoderError(
            f"torchvision has no image model called {model!r}",
            did_you_mean(model, known, "`clipaudit encoders --search WORD` looks for one."),
        )
    entries = {entry.name: entry for entry in torchvision.models.get_model_weights(model)}
    if tag in entries:
        return entries[tag]
    specs = ", ".join(f"torchvision:{model}/{entry}" for entry in entries)
    raise EncoderError(
        f"torchvision:{model} has no weights called {tag!r}"
        if tag
        else f"torchvision:{model} is an architecture; which weights?",
        f"Write one of {specs}.",
    )


def _build(model: str, entry: Any, path: Path) -> nn.Module:
    """Torchvision's own model with its own loader, which knows each checkpoint's peculiarities.

    That loader unpickles without restriction, so it runs only on a file in its cache that holds
    nothing but tensors.
    """
    import torchvision

    weights.read(path)
    if zipfile.is_zipfile(path) and len(zipfile.ZipFile(path).infolist()) == 1:
        # torch.hub would unpack such a file, of the format before torch 1.6, and load what is in.
        raise EncoderError(f"{path} is an archive within an archive", "Fetch it again.")
    try:
        with quiet():
            built: nn.Module = torchvision.models.get_model(model, weights=entry, progress=False)
    except (RuntimeError, KeyError, ValueError) as error:
        raise EncoderError(
            f"{path} does not fit torchvision's {model}: {str(error)[:300]}",
            "Delete it and run again, or update torchvision.",
        ) from error
    return built


def _input(entry: Any, name: str) -> InputSpec:
    config = entry.transforms()
    mean, std = config.mean, config.std
    size = config.crop_size
    return InputSpec(
        size_px=int(size[0] if isinstance(size, list | tuple) else size),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        interpolation=interpolation(config.interpolation.value, name),
    )
