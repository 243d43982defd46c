"""Captions: the loss of pictures and captions against a bank, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.features.caption_signals import Bank, CaptionEmbeddings, measure_captions
from clipaudit.features.embeddings import Embeddings

_DIM, _N_BANK, _SCALE = 512, 1000, 100.0


def _prepare(size: int, place: Workplace) -> Contest:
    generator = np.random.default_rng(0)

    def vectors(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return generator.normal(size=(n, _DIM)).astype(np.float32)

    ids = tuple(f"{number:064x}" for number in range(size))
    pictures, captions = vectors(size), vectors(size)
    bank = Bank(
        "0" * 64,
        "drawn here",
        tuple(f"p{number}" for number in range(_N_BANK)),
        vectors(_N_BANK),
        tuple(f"c{number}" for number in range(_N_BANK)),
        vectors(_N_BANK),
    )
    embeddings = Embeddings(ids, np.empty((size, 0, _DIM), dtype=np.float32), pictures)
    own = CaptionEmbeddings(tuple((one,) for one in ids), dict(zip(ids, captions, strict=True)))

    def product() -> list[tuple[float, float]]:
        signals = measure_captions(embeddings, own, bank, "softmax", _SCALE)
        return [*zip(signals.loss.tolist(), signals.gradient.tolist(), strict=True)]

    def naive() -> list[tuple[float, float]]:
        others = [
            functional.normalize(torch.from_numpy(of_bank).double(), dim=1)
            for of_bank in (bank.pictures, bank.captions)
        ]
        pairs = zip(
            *(torch.from_numpy(half).double() for half in (pictures, captions)), strict=True
        )
        return [_by_autograd(picture, caption, *others) for picture, caption in pairs]

    wide = [values.astype(np.float64) for values in (pictures, captions)]
    banks = [values.astype(np.float64) for values in (bank.captions, bank.pictures)]
    return Contest(
        (
            Way("product", "gradients in closed form", product),
            Way("naive", "torch's autograd, pair by pair", naive),
            Way(
                "floor",
                "the cosines with the bank alone",
                lambda: [values @ other.T for values, other in zip(wide, banks, strict=True)],
            ),
        ),
        _require_same,
    )


def _by_autograd(
    picture: torch.Tensor,
    caption: torch.Tensor,
    bank_pictures: torch.Tensor,
    bank_captions: torch.Tensor,
) -> tuple[float, float]:
    """InfoNCE of a pair, and the length of its gradient along the sphere."""
    ends = [functional.normalize(end, dim=0).requires_grad_() for end in (picture, caption)]
    target = torch.zeros((), dtype=torch.int64)
    to_captions = torch.cat([ends[1][None], bank_captions]) @ ends[0] * _SCALE
    to_pictures = torch.cat([ends[0][None], bank_pictures]) @ ends[1] * _SCALE
    losses = [functional.cross_entropy(logits, target) for logits in (to_captions, to_pictures)]
    loss = (losses[0] + losses[1]) / 2
    gradients = torch.autograd.grad(loss, ends)
    along = [slope - (slope @ end) * end for slope, end in zip(gradients, ends, strict=True)]
    return loss.item(), torch.cat(along).norm().item()


def _require_same(product: Any, naive: Any) -> None:
    np.testing.assert_allclose(product, naive, rtol=1e-5)


CASE = Case(
    "loss and gradient against a bank of 1,000", "pictures", (100, 400, 1600), (50,), _prepare
)
