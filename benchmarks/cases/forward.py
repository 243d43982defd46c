"""Forward passes: ViT-B/32 of its true shape, from views to embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases.pictures import SIDE, random_weights
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.onnx_export import TOLERANCE
from clipaudit.encoders.spec import load_encoder

_TOKENS, _WIDTH, _LAYERS = 50, 768, 12


def _prepare(size: int, place: Workplace) -> Contest:
    spec = random_weights(place.folder)
    encoder = load_encoder(spec, EncoderOptions(backend="onnx", device="cpu", offline=True))
    plain = load_encoder(spec, EncoderOptions(backend="torch", device="cpu", offline=True))
    views = torch.rand(size, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    tokens = torch.rand(size * _TOKENS, _WIDTH)
    square, wide = torch.rand(_WIDTH, 4 * _WIDTH), torch.rand(4 * _WIDTH, _WIDTH)

    def products() -> Tensor:
        """A block multiplies by four squares (three of attention, one after it), and by these."""
        result = tokens
        for _ in range(_LAYERS):
            _ = tokens @ square  # as many products as the four squares
            result = (tokens @ square) @ wide
        return result

    return Contest(
        (
            Way("product", "onnxruntime, as `--backend onnx`", lambda: encoder.embed(views)),
            Way(
                "naive",
                "torch, view by view",
                lambda: torch.cat([plain.embed(view) for view in views.split(1)]),
            ),
            Way("floor", "the matrix products of its blocks alone", products),
        ),
        _require_same,
    )


def _require_same(product: Any, naive: Any) -> None:
    found, expected = np.asarray(product), np.asarray(naive)
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max() <= TOLERANCE, f"embeddings differ by {off.max():.1e} of their length"


CASE = Case("ViT-B/32 with random weights", "views", (1, 11, 44), (4,), _prepare)
