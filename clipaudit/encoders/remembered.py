"""Encoders of which all is remembered but their weights, which are read at the first use.

What an encoder is takes seconds to find out: its library is imported, its weights are read and
hashed. A run whose every signal is in the store needs that alone, and no forward pass. So it is
remembered by all that it depends on: the name and the options, the folders of the libraries that
download weights, the versions of all that computes, and size, times and inode of every file that
was looked at. Where anything differs the encoder is loaded, as if nothing were known.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol, TypeVar

from clipaudit._version import __version__
from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions
from clipaudit.encoders.model_files import Looks, recorded_looks, stamp_of
from clipaudit.encoders.spec import SCHEMES, find_scheme, load_encoder, parse
from clipaudit.encoders.text import TextInfo, TextTower
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.errors import EncoderError
from clipaudit.files import as_type, load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, device

    from clipaudit.encoders.text import TextEmbeddings

_FORMAT = 1

_LIBRARIES = (
    *("torch", "torchvision", "timm", "open_clip_torch", "transformers", "tokenizers"),
    *("sentencepiece", "safetensors", "huggingface_hub", "onnx", "onnxruntime", "onnxruntime-gpu"),
)
"""Packages by which an encoder is built, read or run."""

_VARIABLES = (
    *("HOME", "USERPROFILE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
    *("HF_ENDPOINT", "TORCH_HOME", "CUDA_VISIBLE_DEVICES"),
)
"""Variables that say where weights lie, and which devices there are."""

_YOUNG_NS = 2 * 10**9
"""File systems count time in steps of up to so much: a file that was changed as lately as that
when it was looked at may change again and keep its times. It is not remembered yet."""

Loaded = TypeVar("Loaded", Encoder, TextTower)


class Memory(Protocol):
    """Where it is remembered what encoders are, as text by key."""

    def get_encoder(self, key: str) -> str | None:
        """What was remembered; None where nothing was."""

    def put_encoder(self, key: str, facts: str) -> None:
        """Remember it in the place of what was."""


@dataclass(frozen=True, slots=True)
class _EncoderFacts:
    """What is remembered of an encoder: what it is, and the files that say so."""

    info: EncoderInfo
    files: Looks


@dataclass(frozen=True, slots=True)
class _TextFacts:
    """The same of a text tower."""

    info: TextInfo
    files: Looks


Facts = TypeVar("Facts", _EncoderFacts, _TextFacts)


def open_encoder(spec: str, options: EncoderOptions, memory: Memory) -> Encoder:
    """An encoder; where it is remembered what it is, it is loaded at the first use.

    Args:
        spec: As `load_encoder` takes it.
        options: Likewise.
        memory: Where that is looked up, and put where it is not there.

    Raises:
        EncoderError: As `load_encoder`; at the first use where it is remembered.
    """
    key = _key("image", spec, options)
    load = partial(_load, lambda: load_encoder(spec, options), spec, key, memory)
    facts = _recall(key, memory, _EncoderFacts)
    return RememberedEncoder(facts.info, load) if facts else load("")


def open_text_tower(spec: str, options: EncoderOptions, memory: Memory) -> TextTower:
    """The text tower of an encoder; see `open_encoder`.

    Raises:
        EncoderError: As `load_text_tower`; at the first use where it is remembered.
    """
    key = _key("text", spec, options)
    load = partial(_load, lambda: load_text_tower(spec, options), spec, key, memory)
    facts = _recall(key, memory, _TextFacts)
    return RememberedTextTower(facts.info, load) if facts else load("")


class RememberedEncoder:
    """An `Encoder` that is loaded at the first use.

    Args:
        info: What was remembered of it.
        load: Its fingerprint → the encoder.
    """

    def __init__(self, info: EncoderInfo, load: Callable[[str], Encoder]) -> None:
        self._info = info
        self._load = load
        self._encoder: Encoder | None = None

    @property
    def info(self) -> EncoderInfo:
        """See `Encoder.info`; once it is loaded, it may have another backend."""
        return self._encoder.info if self._encoder else self._info

    @property
    def device(self) -> device:
        """See `Encoder.device`; loads it."""
        return self._loaded().device

    def embed(self, views: Tensor) -> Tensor:
        """See `Encoder.embed`; loads it."""
        return self._loaded().embed(views)

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._load(self._info.fingerprint)
        return self._encoder


class RememberedTextTower:
    """A `TextTower` that is loaded at the first use.

    Args:
        info: What was remembered of it.
        load: Its fingerprint → the text tower.
    """

    def __init__(self, info: TextInfo, load: Callable[[str], TextTower]) -> None:
        self.info = info
        self._load = load
        self._tower: TextTower | None = None

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """See `TextTower.embed_texts`; loads it."""
        if self._tower is None:
            self._tower = self._load(self.info.fingerprint)
        return self._tower.embed_texts(texts)


def _recall(key: str | None, memory: Memory, kind: type[Facts]) -> Facts | None:
    """What is remembered; None where that is nothing, or a file is not as it was."""
    text = memory.get_encoder(key) if key else None
    if text is None:
        return None
    try:
        facts = as_type(load_json(text), kind)
    except ValueError:
        return None
    is_same = all(stamp_of(path) == stamp for path, stamp in facts.files.items())
    return facts if is_same else None


def _load(
    load: Callable[[], Loaded], spec: str, key: str | None, memory: Memory, expected: str
) -> Loaded:
    """What `load` gives; it is remembered what that is.

    Args:
        load: What loads an encoder or a text tower.
        spec: The name that it was asked for by.
        key: Its key; None where it is not remembered, as is one that looks at no files.
        memory: Where it is remembered.
        expected: The fingerprint that was remembered; empty where none was.

    Raises:
        EncoderError: It has another one; and whatever `load` raises.
    """
    young_ns = time.time_ns() - _YOUNG_NS
    with recorded_looks() as files:
        loaded = load()
    is_settled = all(stamp is None or stamp.changed_ns < young_ns for stamp in files.values())
    if key and files and is_settled and files == {path: stamp_of(path) for path in files}:
        facts = {"info": asdict(loaded.info), "files": files}
        memory.put_encoder(key, json.dumps(facts))
    if expected and loaded.info.fingerprint != expected:
        raise EncoderError(
            f"{spec} is no longer the encoder that it was when this run began",
            "Run it again: what it is now is known from here on.",
        )
    return loaded


def _key(kind: str, spec: str, options: EncoderOptions) -> str | None:
    """What an encoder depends on beside files, as a hash.

    None for those of other packages: nobody knows which files they read.

    Raises:
        EncoderError: No encoder can have this name.
    """
    scheme, _ = parse(spec)
    find_scheme(scheme)
    try:
        folder = os.getcwd()  # noqa: PTH109 - as text
    except OSError:
        return None
    if scheme not in SCHEMES:
        return None
    plain = asdict(replace(options, n_views_ahead=None, batch_timeout_s=0.0))
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    versions = {name: _version(name) for name in _LIBRARIES}
    facts = [_FORMAT, __version__, kind, spec, folder, plain, variables, versions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
