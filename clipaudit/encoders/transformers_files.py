"""Files of Hugging Face's transformers library: tokenizers and configurations, as folders.

The library downloads by itself, so it is only ever given folders: what they lack is fetched by
`hub`, which keeps our promises. Code that such a folder may bring along is never run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from clipaudit.encoders import hub
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.model_files import read_description
from clipaudit.errors import EncoderError

INSTALL = "In the checkout, run `pip install '.[transformers]'`."

_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_BESIDE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "config.json",
)


def require_library(what: str) -> None:
    """Raise an EncoderError where the transformers library is not installed.

    Args:
        what: What needs it, for the message.
    """
    if find_spec("transformers") is None:
        raise EncoderError(f"{what} needs the package transformers, which is missing", INSTALL)


def find_tokenizer(
    repository: str, folder: Path | None, spec: str, options: EncoderOptions
) -> Path:
    """The folder of a tokenizer.

    Args:
        repository: Where it is published.
        folder: The encoder's own, which may hold it.
        spec: The encoder.
        options: With `offline`.

    Raises:
        EncoderError: The library is missing, or the tokenizer cannot be had.
    """
    require_library(f"the tokenizer of {spec}")
    if folder is not None and has_tokenizer(folder):
        return folder
    by_path = (
        f"put it into {folder}"
        if folder
        else "pass a folder with the encoder and its tokenizer as local-dir:FOLDER"
    )
    found = hub.download(repository, _VOCABULARIES, by_path, offline=options.offline)
    hub.download_all(repository, (*_VOCABULARIES, *_BESIDE), by_path, offline=options.offline)
    return found.parent


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a vocabulary."""
    return any((folder / name).is_file() for name in _VOCABULARIES)


def find_config(repository: str, what: str, options: EncoderOptions) -> Path:
    """The folder of a model's configuration.

    Args:
        repository: Where it is published.
        what: What needs it, for messages.
        options: With `offline`.

    Raises:
        EncoderError: The library is missing, the file cannot be had, or needs code of its own.
    """
    require_library(what)
    by_path = "run it where that file is in the cache"
    path = hub.download(repository, ["config.json"], by_path, offline=options.offline)
    refuse_code(path)
    return path.parent


def refuse_code(config: Path) -> None:
    """Raise an EncoderError where a configuration wants code of its own to be run."""
    document = read_description(config)
    if isinstance(document, dict) and "auto_map" in document:
        raise EncoderError(
            f"{config} asks for code that comes with it, and none is run",
            "Use an encoder that the transformers library knows itself.",
        )
