"""What a name of open_clip means: which model is built, and which file holds its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from clipaudit.encoders import hub
from clipaudit.encoders.base import EncoderOptions, Output
from clipaudit.encoders.model_files import look_at, read_description
from clipaudit.errors import EncoderError, did_you_mean, nearest

CONFIG = "open_clip_config.json"

_SAFE, _PICKLE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
_IN_FOLDER = (_SAFE, "open_clip_pytorch_model.safetensors", "model.safetensors", _PICKLE)
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True, slots=True)
class Weights:
    """A model of open_clip and the file of its weights.

    Attributes:
        spec: The name that it was asked for by, as it is written in results.
        model: What open_clip builds: one of its architectures, or `local-dir:FOLDER`.
        checkpoint: The file with its weights.
        tag: The published weights that these are; None where they are in a file or a folder.
        config: The folder's open_clip_config.json; None where the architecture is open_clip's.
        is_local: Whether that folder is the user's own, not the hub's cache.
    """

    spec: str
    model: str
    checkpoint: Path
    tag: str | None = None
    config: Path | None = None
    is_local: bool = False

    @property
    def needs_quick_gelu(self) -> bool:
        """Whether the activation has to be QuickGELU, and the architecture's own is another."""
        return self.tag is not None and needs_quick_gelu(self.model, self.tag)


def find_by_name(name: str, options: EncoderOptions) -> Weights:
    """`MODEL/TAG`, which may be downloaded, or `MODEL/PATH` of a checkpoint file.

    Raises:
        EncoderError: open_clip knows no such model or weights, or they cannot be had.
    """
    import open_clip

    model, _, tag = name.partition("/")
    require_model(model, name)
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tag:
        listed = ", ".join(f"{model}/{known}" for known in tags)
        raise EncoderError(
            f"{model} is an architecture; which weights?",
            f"Write one of {listed}, or {model}/PATH of a checkpoint."
            if tags
            else f"Nobody published weights of it; write {model}/PATH of a checkpoint.",
        )
    # open_clip itself writes laion2b-s34b-b79k and LAION2B_S34B_B79K as laion2b_s34b_b79k.
    clean = tag.lower().replace("-", "_")
    if clean not in tags:
        path = Path(tag).expanduser()
        if path.is_file() or path.suffix in (".pt", ".pth", ".bin", ".safetensors"):
            return Weights(name, model, path)
        listed = ", ".join(tags) if tags else "none are published"
        raise EncoderError(
            f"{model} has no weights called {tag!r}",
            did_you_mean(clean, tags, f"Weights of {model}: {listed}; or a path to a checkpoint."),
        )
    if wrong_gelu(model, clean):
        # open_clip merely warns, and the embeddings would be only somewhat off.
        raise EncoderError(
            f"the weights {clean} were trained with QuickGELU, and {model} has GELU",
            f"Use {model}-quickgelu/{clean}.",
        )
    return Weights(f"{model}/{clean}", model, _download(model, clean, options), clean)


def find_in_hub(name: str, options: EncoderOptions) -> Weights:
    """`ORGANISATION/NAME`: a repository with an open_clip_config.json and weights.

    Raises:
        EncoderError: They cannot be had.
    """
    by_path = "pass a folder with it and its weights as local-dir:FOLDER"
    config = hub.download(name, [CONFIG], by_path, offline=options.offline)
    checkpoint = hub.download(name, [_SAFE, _PICKLE], by_path, offline=options.offline)
    return Weights(f"hf-hub:{name}", f"local-dir:{config.parent}", checkpoint, config=config)


def find_weights(name: str, options: EncoderOptions) -> Path:
    """The file with the weights of `MODEL/TAG` or `MODEL/PATH`; see `find_by_name`."""
    return find_by_name(name, options).checkpoint


def find_hub_weights(name: str, options: EncoderOptions) -> Path:
    """The file with the weights of `ORGANISATION/NAME`; see `find_in_hub`."""
    return find_in_hub(name, options).checkpoint


def find_in_folder(name: str) -> Weights:
    """A folder with an open_clip_config.json and weights.

    Raises:
        EncoderError: It lacks one of them.
    """
    folder = Path(name).expanduser()
    config = folder / CONFIG
    if not look_at(config):
        raise EncoderError(
            f"there is no {config}",
            "local-dir: takes a folder as open_clip saves it: that file beside the weights.",
        )
    found = [folder / name for name in _IN_FOLDER if look_at(folder / name)]
    if not found:
        look_at(folder)
        found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise EncoderError(
            f"{folder} holds no weights", f"Put {' or '.join(_IN_FOLDER[:2])} beside {CONFIG}."
        )
    return Weights(
        f"local-dir:{name}", f"local-dir:{folder}", found[0], config=config, is_local=True
    )


def model_config(found: Weights) -> dict[str, Any]:
    """What is built: open_clip's own settings of an architecture, or those of a folder.

    Raises:
        EncoderError: The folder's are not open_clip's.
    """
    import open_clip

    if found.config is None:
        settings: object = open_clip.get_model_config(found.model)
    else:
        document = read_description(found.config)
        settings = document.get("model_cfg") if is_object(document) else None
    if not is_object(settings) or not is_object(settings.get("text_cfg")):
        raise EncoderError(
            f"{found.config or found.model} does not say what its text tower is",
            'It must be open_clip\'s own, with a "text_cfg" in its "model_cfg".',
        )
    return settings


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value of JSON is an object."""
    return isinstance(value, dict)


def published() -> Iterator[tuple[str, Output]]:
    """Every MODEL/TAG but those that join weights with a wrong activation, and its output."""
    import open_clip

    for model, tag in open_clip.list_pretrained():
        if not wrong_gelu(model, tag):
            yield f"{model}/{tag}", "embedding"


def require_model(model: str, name: str | None = None) -> None:
    """Raise an EncoderError unless open_clip has this architecture.

    Args:
        model: The architecture.
        name: What it was named in, for a hint.
    """
    import open_clip

    models = _models()
    if model in models:
        return
    specs = [f"{known}/{tag}" for known, tag in open_clip.list_pretrained()]
    near = nearest(name, specs) if name and "/" in name else []
    hint = (
        "`clipaudit encoders --search WORD` looks for one; "
        "other libraries need a scheme, such as timm:NAME."
    )
    raise EncoderError(
        f"open_clip has no model called {model!r}",
        f"Did you mean {' or '.join(near)}?" if near else did_you_mean(model, models, hint),
    )


def wrong_gelu(model: str, tag: str) -> bool:
    """Whether weights were trained with QuickGELU, and the model of this name has GELU.

    OpenAI's weights always mean QuickGELU, as open_clip documents, so they never are.
    """
    alias = f"{model}-quickgelu"
    return tag != "openai" and needs_quick_gelu(model, tag) and alias in _models()


def needs_quick_gelu(model: str, tag: str) -> bool:
    """Whether published weights need QuickGELU, and the model of this name has another."""
    import open_clip

    has = bool(open_clip.get_model_config(model).get("quick_gelu"))
    needs = bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu"))
    return needs and not has


def _models() -> list[str]:
    import open_clip

    models: list[str] = open_clip.list_models()
    return models


def preprocessing_of(model: str, tag: str) -> tuple[tuple[str, Any], ...]:
    """How published weights want their pictures prepared, as pairs of a setting and its value."""
    import open_clip

    config = open_clip.get_pretrained_cfg(model, tag)
    return tuple((key, config[key]) for key in _PREPROCESSING if key in config)


def _download(model: str, tag: str, options: EncoderOptions) -> Path:
    import open_clip

    config = open_clip.get_pretrained_cfg(model, tag)
    # A file does not say that it wants QuickGELU; the name of its architecture has to.
    architecture = f"{model}-quickgelu" if needs_quick_gelu(model, tag) else model
    by_path = f"pass it as --encoder {architecture}/PATH"
    repository, url = config.get("hf_hub", ""), config.get("url", "")
    if repository:
        repository, _, file = repository.rpartition("/")
        names = [f"{Path(file).stem}.safetensors", file] if file else [_SAFE, _PICKLE]
        return hub.download(
            repository, list(dict.fromkeys(names)), by_path, offline=options.offline
        )
    return hub.download_url(url, by_path, offline=options.offline, sha256_prefix=None)
