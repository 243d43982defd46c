"""Names of encoders: a spec such as `ViT-B-32/openai` or `onnx:encoder.onnx` → an encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from clipaudit.encoders import devices
from clipaudit.encoders.base import BadInputError, Encoder, EncoderInfo, EncoderOptions
from clipaudit.encoders.checked import CheckedEncoder
from clipaudit.encoders.joint import JointEncoder
from clipaudit.encoders.third_party import first_line
from clipaudit.errors import ClipAuditError, EncoderError, did_you_mean

if TYPE_CHECKING:
    from clipaudit.encoders.towers import Tower


@dataclass(frozen=True, slots=True)
class Scheme:
    """All that is known of the encoders with one scheme.

    Functions stand as `package.module:function`, and are imported when they are called.

    Attributes:
        load: The text after `scheme:` and the options → an encoder.
        takes: What stands after `scheme:`, for the help of `clipaudit encoders`, where it is a
            file, a folder or a repository; empty where the names are listed.
        ending: Ending of the files that need no scheme, in lower case with its dot.
        published: () → the names that can be downloaded, each with its default output.
        weights: As `load`, → where the weights are, downloaded where that may be; empty where
            they are the file or folder that is named.
        training_facts: The text after `scheme:` → what is known of the training data.
        text: As `load`, → the encoder's text tower; empty where the encoders have none.
        tower: A spec, an architecture, a state dict's path and the options → a `Tower`.
    """

    load: str
    takes: str = ""
    ending: str = ""
    published: str = ""
    weights: str = ""
    training_facts: str = ""
    text: str = ""
    tower: str = ""


_BACKENDS = "clipaudit.encoders.backends"
_FACTS = "clipaudit.encoders.training_data"

SCHEMES = {
    "open_clip": Scheme(
        f"{_BACKENDS}.open_clip.image:load",
        published=f"{_BACKENDS}.open_clip.names:published",
        weights=f"{_BACKENDS}.open_clip.names:find_weights",
        training_facts=f"{_FACTS}:facts_of_open_clip",
        text=f"{_BACKENDS}.open_clip.text:load",
        tower=f"{_BACKENDS}.open_clip.image:from_checkpoint",
    ),
    "hf-hub": Scheme(
        f"{_BACKENDS}.open_clip.image:load_from_hub",
        takes="ORG/NAME",
        weights=f"{_BACKENDS}.open_clip.names:find_hub_weights",
        training_facts=f"{_FACTS}:facts_of",
        text=f"{_BACKENDS}.open_clip.text:load_from_hub",
    ),
    "local-dir": Scheme(
        f"{_BACKENDS}.open_clip.image:load_from_folder",
        takes="FOLDER",
        text=f"{_BACKENDS}.open_clip.text:load_from_folder",
    ),
    "transformers": Scheme(
        f"{_BACKENDS}.hf_transformers:load",
        takes="ORG/NAME",
        weights=f"{_BACKENDS}.hf_transformers:find_weights",
        training_facts=f"{_FACTS}:facts_of_transformers",
        text=f"{_BACKENDS}.hf_transformers:load_text",
    ),
    "timm": Scheme(
        f"{_BACKENDS}.timm:load",
        published=f"{_BACKENDS}.timm:published",
        weights=f"{_BACKENDS}.timm:find_weights",
        training_facts=f"{_FACTS}:facts_of_timm",
        tower=f"{_BACKENDS}.timm:from_checkpoint",
    ),
    "torchvision": Scheme(
        f"{_BACKENDS}.torchvision:load",
        published=f"{_BACKENDS}.torchvision:published",
        weights=f"{_BACKENDS}.torchvision:find_weights",
        training_facts=f"{_FACTS}:facts_of_torchvision",
        tower=f"{_BACKENDS}.torchvision:from_checkpoint",
    ),
    "torchscript": Scheme(
        f"{_BACKENDS}.torch_programs:load_script", takes="FILE", ending=".torchscript"
    ),
    "torch-export": Scheme(f"{_BACKENDS}.torch_programs:load_export", takes="FILE", ending=".pt2"),
    "onnx": Scheme(f"{_BACKENDS}.onnx:load", takes="FILE", ending=".onnx"),
    "state-dict": Scheme(f"{_BACKENDS}.state_dict:load", takes="FILE"),
    "shadow": Scheme("clipaudit.shadow.encoder:load", takes="FOLDER"),
}
"""Other packages add a `load` each by entry points of the group `clipaudit.encoders`."""

DEFAULT_SCHEME = "open_clip"

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
    row = find_scheme(scheme)
    places = devices.share_work(options.device)  # before a download of gigabytes, not after
    if options.precision == "float16" and devices.resolve(places[0]).type != "cuda":
        raise EncoderError(
            f"--precision float16 needs a GPU with CUDA, and {spec} would run on "
            f"{devices.resolve(places[0])}",
            "Use --precision bfloat16, or leave it out.",
        )
    encoders = [_load(scheme, row, name, spec, replace(options, device=place)) for place in places]
    return CheckedEncoder(encoders[0] if len(encoders) == 1 else JointEncoder(encoders), options)


def _load(scheme: str, row: Scheme, name: str, spec: str, options: EncoderOptions) -> Encoder:
    """The encoder on one device; see `load_encoder`."""
    try:
        encoder: Encoder = resolve_name(row.load)(name, options)
    except BadInputError as error:
        raise EncoderError(f"{spec}: {error}", error.hint) from error
    except ClipAuditError:
        raise
    except Exception as error:
        if scheme in SCHEMES:
            raise
        raise EncoderError(
            f"{row.load}, of another package, cannot load {spec}: {type(error).__name__}: "
            f"{first_line(error)}",
            "Update that package, or ask its authors.",
        ) from error
    if not hasattr(encoder, "embed") or not isinstance(getattr(encoder, "info", None), EncoderInfo):
        raise EncoderError(
            f"{row.load} gives a {type(encoder).__name__}, not an encoder",
            "It must have what clipaudit.encoders.base.Encoder has.",
        )
    if options.precision != "float32" and encoder.info.backend != options.torch_backend:
        raise EncoderError(
            f"{spec} does not run in {options.precision}",
            "Leave out --precision: a file that is a whole program computes as it was saved.",
        )
    return encoder


def build_tower(spec: str, checkpoint: Path, options: EncoderOptions) -> Tower:
    """The tower of `options.architecture`, with the weights of a state dict.

    Args:
        spec: The name that it was asked for by.
        checkpoint: The state dict.
        options: As for `load_encoder`.

    Raises:
        EncoderError: Nobody builds such an architecture, or the weights do not fit it.
    """
    builders = {scheme: row.tower for scheme, row in SCHEMES.items() if row.tower}
    others = " or ".join(f"{scheme}:NAME" for scheme in builders if scheme != DEFAULT_SCHEME)
    architecture = options.architecture
    if not architecture:
        raise EncoderError(
            f"{checkpoint} is a state dict, which does not say what model it belongs to",
            f"Pass --architecture: an open_clip model such as ViT-B-32, {others}.",
        )
    scheme, colon, name = architecture.partition(":")
    if not colon:
        scheme, name = DEFAULT_SCHEME, architecture
    if scheme not in builders:
        raise EncoderError(
            f"--architecture {architecture} names no library that has architectures",
            f"Write an open_clip model such as ViT-B-32, {others}.",
        )
    tower: Tower = resolve_name(builders[scheme])(spec, name, checkpoint, options)
    return tower


def is_on_this_machine(spec: str) -> bool:
    """Whether an encoder's weights are here, so that it needs no network; it is not loaded.

    Raises:
        EncoderError: No scheme has this name.
    """
    scheme, name = parse(spec)
    row = find_scheme(scheme)
    if not row.weights:
        return Path(name).expanduser().exists()
    try:
        path: Path = resolve_name(row.weights)(name, EncoderOptions(offline=True))
    except EncoderError:
        return False
    return path.is_file()


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
    if "\0" in spec or any("\ud800" <= letter <= "\udfff" for letter in spec):
        raise EncoderError(
            f"{spec!a} holds a character that no name of an encoder may have",
            "Rename the file so that its name is text.",
        )
    head, colon, rest = spec.strip().partition(":")
    ending = Path(spec).suffix.lower()
    by_ending = {row.ending: known for known, row in SCHEMES.items() if row.ending}
    # A word of one letter is a Windows drive, one with a separator is part of a path.
    if colon and len(head) > 1 and not {"/", "\\"} & set(head):
        scheme, name = head, rest
    elif ending in by_ending:
        scheme, name = by_ending[ending], spec.strip()
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


def find_scheme(scheme: str) -> Scheme:
    """The row of a scheme that `parse` gave.

    Raises:
        EncoderError: Another package claims it too.
    """
    others = _entry_points()
    if scheme in SCHEMES and scheme in others:
        raise EncoderError(
            f"another package, {others[scheme]}, claims the encoder scheme {scheme!r} too",
            "Uninstall it, or ask its authors for another name.",
        )
    return SCHEMES[scheme] if scheme in SCHEMES else Scheme(others[scheme])
