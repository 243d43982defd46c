"""What an encoder computes, in 64 hex digits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders.base import InputSpec, Output

if TYPE_CHECKING:
    from torch import nn

_FORMAT = "clipaudit-encoder-1"

_IDLE = ("Dropout", "DropPath", "Identity", "PatchDropout")
"""Modules that change nothing at inference."""

_SETTINGS = ("stride", "padding", "dilation", "groups", "eps", "num_heads", "negative_slope")
"""Attributes that change what a module computes, and leave no trace in its tensors."""


def of_module(module: nn.Module, spec: InputSpec, output: Output) -> str:
    """SHA-256 over every tensor that inference reads, the kinds of the layers, input and output.

    The kinds of layers count because tensors alone do not tell GELU from QuickGELU, which give
    different embeddings from the same weights.
    """
    digest = hashlib.sha256()
    _add_layers(digest, module)
    digest.update(_rest(spec, output))
    return digest.hexdigest()


def of_text_module(module: nn.Module, facts: Mapping[str, object]) -> str:
    """SHA-256 over the tensors and layers of a text tower, and what else makes its results."""
    digest = hashlib.sha256()
    _add_layers(digest, module)
    document = {"format": "clipaudit-text-1", **facts}
    digest.update(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    return digest.hexdigest()


def _add_layers(digest: hashlib._Hash, module: nn.Module) -> None:
    import torch

    tensors = module.state_dict()
    for name in sorted(tensors):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    for name, layer in sorted(module.named_modules()):
        kind = type(layer).__name__
        if kind in _IDLE:
            continue
        settings = {key: str(getattr(layer, key)) for key in _SETTINGS if hasattr(layer, key)}
        if settings or not any(True for _ in layer.children()):
            digest.update(f"{name} {kind} {sorted(settings.items())}\n".encode())


def of_files(paths: Sequence[Path], spec: InputSpec, output: Output) -> str:
    """SHA-256 over files that are a whole encoder, in the given order, with input and output."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"file {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    digest.update(_rest(spec, output))
    return digest.hexdigest()


def _rest(spec: InputSpec, output: Output) -> bytes:
    rest = {"format": _FORMAT, "input": asdict(spec), "output": output}
    return json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
