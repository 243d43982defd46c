"""timm: every model with published weights.

A supervised or self-supervised checkpoint gives its pooled features, which lie below any head
that a loss saw: a trunk. The image half of a CLIP model keeps its projection as timm's
classifier, and gives the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders import hub, sidecar, weights
from clipaudit.encoders.base import Encoder, EncoderOptions, InputSpec, Output
from clipaudit.encoders.checkpoints import fill_trunk
from clipaudit.encoders.third_party import quiet
from clipaudit.encoders.towers import Tower, choose, ready, refuse_overrides
from clipaudit.errors import EncoderError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

_CONTRASTIVE = ("clip", "siglip", "_mci", "pe_core")
"""Parts of names that mark the image half of a model of images and text."""

_IMAGENET_CLASSES = 1000


def load(name: str, options: EncoderOptions) -> Encoder:
    """`timm:NAME` or `timm:NAME.TAG`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    import timm

    config, full = _checked_config(name)
    kinds = outputs(full, config.num_classes)
    output = choose(options.output, kinds, f"timm:{full}")
    path = _download(full, config, options)
    tensors = weights.read(path)
    try:
        with quiet():
            # Strict, with its own head: cut off afterwards, so that a tensor that does not fit
            # is an error and never a random one.
            model: Any = timm.create_model(
                full, pretrained=True, pretrained_cfg_overlay={"state_dict": tensors}
            )
    except (RuntimeError, KeyError, ValueError) as error:
        raise EncoderError(
            f"{path} does not fit timm's {full}: {str(error)[:300]}",
            "Update timm, or fetch it again.",
        ) from error
    spec = _input(model, full)
    refuse_overrides(options, spec, f"timm:{full}")
    if output == "trunk" and config.num_classes:
        model.reset_classifier(0)
    return ready(Tower(f"timm:{full}", model, spec, output), options)


def outputs(name: str, n_outputs: int) -> tuple[Output, ...]:
    """Which outputs a pretrained timm model gives, the default first.

    >>> outputs("vit_base_patch32_clip_quickgelu_224.openai", 512)
    ('embedding', 'trunk')
    >>> outputs("vit_base_patch32_clip_224.laion2b_ft_in1k", 1000)
    ('trunk',)
    """
    architecture, _, tag = name.partition(".")
    contrastive = any(part in name for part in _CONTRASTIVE) and "_ft_in" not in f"_{tag}"
    if contrastive and n_outputs not in (0, _IMAGENET_CLASSES):
        return ("embedding", "trunk")
    if "siglip" in architecture and "_gap_" not in architecture and contrastive and not n_outputs:
        return ("embedding",)
    return ("trunk",)


def published() -> Iterator[tuple[str, Output]]:
    """Every NAME.TAG that `load` takes, and its default output."""
    import timm

    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        if config is not None and _right_name(name, config) == name and not _is_foreign(config):
            yield name, outputs(name, config.num_classes or 0)[0]


def from_checkpoint(
    spec: str, architecture: str, checkpoint: Path, options: EncoderOptions
) -> Tower:
    """A tower of a timm model with the weights of a state dict.

    Raises:
        EncoderError: timm has no such architecture, or see `fill_trunk`.
    """
    import timm

    if not timm.is_model(architecture):
        raise EncoderError(
            f"timm has no architecture called {architecture!r}",
            did_you_mean(
                architecture, timm.list_models(), f"Name the architecture of {checkpoint.name}."
            ),
        )
    with quiet():
        model: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0)
    return fill_trunk(spec, model, checkpoint, options)


def _config(name: str) -> Any:
    import timm

    architecture = name.partition(".")[0]
    known = timm.list_pretrained()
    tags = [full for full in known if full.partition(".")[0] == architecture]
    if name not in known and not (name == architecture and tags):
        if timm.is_model(name):
            raise EncoderError(
                f"nobody published weights of timm's {name}",
                f"Use state-dict:FILE with --architecture timm:{name}.",
            )
        raise EncoderError(
            f"timm has no pretrained model called {name!r}",
            did_you_mean(
                name,
                tags if tags and name != architecture else known,
                "`clipaudit encoders --search WORD` looks for one.",
            ),
        )
    return _of(name)


def _of(name: str) -> Any:
    import timm

    return timm.get_pretrained_cfg(name)


def _right_name(name: str, config: Any) -> str:
    """The name under which weights meet the activation that they were trained with.

    timm publishes weights that want QuickGELU under a name that has GELU too.
    """
    import timm

    if any("natively QuickGELU" in note for note in config.notes or ()) and "quickgelu" not in name:
        for other in timm.list_pretrained("*quickgelu*"):
            if _of(other).hf_hub_id == config.hf_hub_id:
                return str(other)
    return name


def find_weights(name: str, options: EncoderOptions) -> Path:
    """The file with the weights of `NAME` or `NAME.TAG`.

    Raises:
        EncoderError: There are none, or they cannot be had.
    """
    config, full = _checked_config(name)
    return _download(full, config, options)


def _checked_config(name: str) -> tuple[Any, str]:
    """What timm knows of the weights, and their whole name.

    Raises:
        EncoderError: There are none, or they join a wrong activation.
    """
    config = _config(name)
    full = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    right = _right_name(full, config)
    if right != full:
        raise EncoderError(
            f"the weights of timm:{full} were trained with QuickGELU, and this model has GELU",
            f"Use timm:{right}.",
        )
    return config, full


def _is_foreign(config: Any) -> bool:
    """Whether weights come in another library's format, which only timm's own loader reads."""
    return bool(config.custom_load) and not config.hf_hub_id


def _download(name: str, config: Any, options: EncoderOptions) -> Path:
    by_path = f"pass it as state-dict:PATH with --architecture timm:{config.architecture}"
    if _is_foreign(config):
        raise EncoderError(
            f"the weights of timm:{name} are published in a format of their own",
            "Use another tag of that model: `clipaudit encoders --search` lists them.",
        )
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else []
        names += ["model.safetensors", "pytorch_model.bin"]
        return hub.download(config.hf_hub_id, names, by_path, offline=options.offline)
    return hub.download_url(config.url, by_path, offline=options.offline, sha256_prefix=None)


def _input(model: Any, name: str) -> InputSpec:
    import timm.data

    resolve: Any = timm.data.resolve_model_data_config  # type: ignore[attr-defined]  # no __all__
    config = resolve(model)
    channels, height, width = config["input_size"]
    if height != width or channels != 3:
        raise EncoderError(
            f"timm:{name} takes {width} × {height} pixels in {channels} channels, and views are "
            "square with 3",
            "Use another encoder.",
        )
    mean, std = config["mean"], config["std"]
    return InputSpec(
        size_px=int(height),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        interpolation=sidecar.interpolation(config["interpolation"], f"timm:{name}"),
    )
