"""Files of Hugging Face's transformers library: tokenizers and configurations, as folders.

The library downloads by itself, so it is only ever given folders: what they lack is fetched by
`hub`, which keeps our promises. Code that such a folder may bring along is never run.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clipaudit.encoders import hub
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.model_files import look_at, read_description
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import ClipAuditError, EncoderError, MissingExtraError, extra_imports

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


def load_library(purpose: str) -> None:
    """Import the transformers library, before what it says while it works is silenced.

    Args:
        purpose: What needs it, as the beginning of a sentence.

    Raises:
        MissingExtraError: It is not installed.
        EncoderError: It does not load.
    """
    try:
        with extra_imports(purpose):
            importlib.import_module("transformers")
    except (ImportError, RuntimeError) as error:
        raise EncoderError(
            f"{purpose} needs transformers, which does not load: {first_line(error)}",
            "Install it again: pip install --force-reinstall transformers.",
        ) from error


def find_tokenizer(
    repository: str, folder: Path | None, spec: str, by_path: str, options: EncoderOptions
) -> Path:
    """The folder of a tokenizer.

    Args:
        repository: Where it is published; empty where nothing says so.
        folder: The encoder's own, which may hold it.
        spec: The encoder.
        by_path: How the user passes a tokenizer that is there already; ends a hint.
        options: With `offline`.

    Raises:
        EncoderError: The library is missing, or the tokenizer cannot be had.
    """
    load_library(f"The tokenizer of {spec}")
    has_one = folder is not None and any((folder / name).is_file() for name in _VOCABULARIES)
    if folder is not None and not has_one and not repository:
        raise EncoderError(
            f"{folder} holds no tokenizer, so captions cannot be read",
            f"Put {_VOCABULARIES[0]} and {_BESIDE[0]} there; for a fine-tuned model, those of "
            "the model before it.",
        )
    names = (*_VOCABULARIES, *_BESIDE)
    if folder is None or not has_one:
        folder = hub.download(repository, _VOCABULARIES, by_path, offline=options.offline).parent
        hub.download_all(repository, names, by_path, offline=options.offline)
    for name in names:
        look_at(folder / name)
    return folder


def load_tokenizer(folder: Path, spec: str) -> tuple[Any, dict[str, int]]:
    """The library's tokenizer in a folder, and its tokens with their numbers.

    Raises:
        EncoderError: It does not load.
    """
    import transformers

    refuse_code(folder / "tokenizer_config.json")
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            return tokenizer, tokenizer.get_vocab()
    except Exception as error:
        raise cannot_load(spec, folder, error) from error


def cannot_load(spec: str, folder: Path, error: Exception) -> ClipAuditError:
    """The error of a tokenizer that does not load."""
    if "sentencepiece" in str(error).lower() and find_spec("sentencepiece") is None:
        return MissingExtraError(
            f"The tokenizer of {spec} needs sentencepiece, which is not installed",
            "pip install '.[transformers]' in the checkout adds it.",
        )
    return EncoderError(
        f"cannot load the tokenizer of {spec}: {first_line(error)}", f"Check {folder}."
    )


def find_config(repository: str, purpose: str, options: EncoderOptions) -> Path:
    """The folder of a model's configuration.

    Args:
        repository: Where it is published.
        purpose: What needs it, as the beginning of a sentence.
        options: With `offline`.

    Raises:
        EncoderError: The library is missing, the file cannot be had, or needs code of its own.
    """
    load_library(purpose)
    by_path = "run it where that file is in the cache"
    path = hub.download(repository, ["config.json"], by_path, offline=options.offline)
    refuse_code(path)
    return path.parent


def refuse_code(config: Path) -> None:
    """Raise an EncoderError where a configuration wants code of its own to be run."""
    try:
        document = read_description(config)
    except FileNotFoundError:
        return
    if isinstance(document, dict) and "auto_map" in document:
        raise EncoderError(
            f"{config} asks for code that comes with it, and none is run",
            "Use an encoder that the transformers library knows itself.",
        )
