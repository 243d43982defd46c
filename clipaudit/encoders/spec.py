"""Names of encoders: a spec such as `ViT-B-32/openai` or `onnx:encoder.onnx` → an encoder."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from clipaudit.encoders import devices
from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.nearest import did_you_mean
from clipaudit.errors import EncoderError

Loader = Callable[[str, EncoderOptions], Encoder]
"""What a scheme resolves to: the text after `scheme:` and the options → an encoder."""

SCHEMES = {
    "open_clip": "clipaudit.encoders.backends.open_clip:load",
    "hf-hub": "clipaudit.encoders.backends.open_clip:load_from_hub",
    "local-dir": "clipaudit.encoders.backends.open_clip:load_from_folder",
    "timm": "clipaudit.encoders.backends.timm:load",
    "torchvision": "clipaudit.encoders.backends.torchvision:load",
    "torchscript": "clipaudit.encoders.backends.torch_programs:load",
    "torch-export": "clipaudit.encoders.torch_export:load",
    "onnx": "clipaudit.encoders.backends.onnx:load",
    "state-dict": "clipaudit.encoders.backends.state_dict:load",
    "shadow": "clipaudit.shadow.encoder:load",
}
"""Other packages add theirs by entry points of the group `clipaudit.encoders`."""

DEFAULT_SCHEME = "open_clip"

_BY_ENDING = {".onnx": "onnx", ".pt2": "torch-export", ".torchscript": "torchscript"}
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def load_encoder(spec: str, options: EncoderOptions = EncoderOptions()) -> Encoder:
    """An encoder that is ready to embed.

    Args:
        spec: `MODEL/TAG` or `MODEL/CHECKPOINT_FILE` of open_clip, or `SCHEME:NAME` with a scheme
            of `SCHEMES`; a path that ends in .onnx, .pt2 or .torchscript needs no scheme.
        options: Output, device, backend, and what a file may need beside it.

    Raises:
        EncoderError: No such encoder, weights that cannot be had or do not fit, a file with code
            without `allow_code`, an output or a device that there is not; says what to do.
    """
    scheme, name = parse(spec)
    load = _loader(scheme)
    devices.resolve(options.device)  # before a download of gigabytes, not after
    return load(name, options)


def parse(spec: str) -> tuple[str, str]:
    """The scheme of a spec, and what stands after it.

    >>> parse("ViT-B-32/openai")
    ('open_clip', 'ViT-B-32/openai')
    >>> parse("timm:resnet10t.c3_in1k")
    ('timm', 'resnet10t.c3_in1k')
    >>> parse("models/encoder.onnx")
    ('onnx', 'models/encoder.onnx')

    Raises:
        EncoderError: No scheme has this name, or nothing stands after it.
    """
    head, colon, rest = spec.strip().partition(":")
    ending = Path(spec).suffix.lower()
    # A word of one letter is a Windows drive, one with a separator is part of a path.
    if colon and len(head) > 1 and not {"/", "\\"} & set(head):
        scheme, name = head, rest
    elif ending in _BY_ENDING:
        scheme, name = _BY_ENDING[ending], spec.strip()
    else:
        scheme, name = DEFAULT_SCHEME, spec.strip()
        if ending in _WEIGHTS and Path(name).expanduser().is_file():
            raise EncoderError(
                f"{name} is a file of weights, which alone does not say what model it belongs to",
                f"Write MODEL/{name} for an open_clip model, state-dict:{name} with "
                f"--architecture, or torchscript:{name} with --allow-code.",
            )
    if scheme not in SCHEMES and scheme not in _entry_points():
        known = [*SCHEMES, *_entry_points()]
        raise EncoderError(
            f"no encoder scheme is called {scheme!r}",
            did_you_mean(scheme, known, otherwise=f"Schemes: {', '.join(known)}."),
        )
    if not name:
        raise EncoderError(
            f"{spec!r} names no encoder",
            "Write one such as ViT-B-32/openai; `clipaudit encoders` lists them.",
        )
    return scheme, name


def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="clipaudit.encoders")}


def _loader(scheme: str) -> Loader:
    others = _entry_points()
    if scheme in SCHEMES and scheme in others:
        raise EncoderError(
            f"another package, {others[scheme]}, claims the encoder scheme {scheme!r} too",
            "Uninstall it, or ask its authors for another name.",
        )
    module, _, function = (SCHEMES.get(scheme) or others[scheme]).partition(":")
    return cast("Loader", getattr(import_module(module), function))
