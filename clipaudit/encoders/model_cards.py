"""What the files beside a model say of where it comes from: the base of a fine-tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipaudit.encoders.model_files import read_description
from clipaudit.encoders.spec import parse
from clipaudit.errors import EncoderError

_LARGEST_CARD = 1 << 20
_CARD = "README.md"
_ADAPTER, _CONFIG = "adapter_config.json", "config.json"
_IN_JSON = {_ADAPTER: "base_model_name_or_path", _CONFIG: "_name_or_path"}


def named_base(spec: str) -> tuple[str, str] | None:
    """The model that an encoder was fine-tuned from, by its own files, and the file that says so.

    Only files on this machine are read: a folder's, or those of a repository in the hub's cache.

    Args:
        spec: An encoder: `local-dir:FOLDER`, `hf-hub:ORG/NAME`, `transformers:FOLDER` and others.

    Returns:
        The name, as the file gives it, and the name of that file; None where nothing says.
    """
    own = parse(spec)[1]
    for name in (_CARD, _ADAPTER, _CONFIG):
        path = _find(spec, name)
        base = _of_card(path) if name == _CARD else _of_json(path, _IN_JSON[name])
        if base and base not in (own, ".", "./"):
            return base, name
    return None


def _find(spec: str, name: str) -> Path | None:
    """A file beside the weights, where it is on this machine."""
    scheme, own = parse(spec)
    if scheme in ("local-dir", "transformers", "shadow") and Path(own).expanduser().is_dir():
        path = Path(own).expanduser() / name
        return path if path.is_file() else None
    if scheme in ("hf-hub", "transformers") and own.count("/") == 1:
        from huggingface_hub import errors, try_to_load_from_cache

        try:
            found = try_to_load_from_cache(own, name)
        except errors.HFValidationError:  # no name of a repository
            return None
        return Path(found) if isinstance(found, str) else None
    return None


def _of_card(path: Path | None) -> str | None:
    """`base_model` in the YAML at the head of a model card."""
    if path is None or path.stat().st_size > _LARGEST_CARD:
        return None
    from huggingface_hub import metadata_load

    try:
        values: Any = metadata_load(path)
    except Exception:  # noqa: BLE001 -- whatever YAML's reader raises for a stranger's file
        return None
    return _first(values.get("base_model")) if isinstance(values, dict) else None


def _of_json(path: Path | None, key: str) -> str | None:
    if path is None:
        return None
    try:
        values = read_description(path)
    except (EncoderError, OSError):
        return None
    return _first(values.get(key)) if isinstance(values, dict) else None


def _first(value: object) -> str | None:
    """A name, or the first of several; without what no name holds."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, str):
        return None
    name = value.strip()
    return name if 0 < len(name) <= 300 and name.isprintable() else None
