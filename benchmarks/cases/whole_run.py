"""A whole run: from files to scores without the store; the encoder is loaded anew in each."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.cases.pictures import N_VIEWS, make_jpegs, random_weights
from benchmarks.cases.views import one_by_one
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.features.views import ENCODERMI, draw
from clipaudit.pictures.reading import content_id
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score

_AT_ONCE = 4
"""Pictures a forward pass, as `clipaudit score` takes them on a CPU."""


def _prepare(size: int, place: Workplace) -> Contest:
    paths = make_jpegs(place.folder / "jpegs", size, 1600, 1200)
    spec = random_weights(place.folder)
    encoder = load_encoder(spec, EncoderOptions(backend="onnx", device="cpu", offline=True))
    plain = load_encoder(spec, EncoderOptions(backend="torch", device="cpu", offline=True))
    config = ScoreConfig(
        encoder=spec,
        inferrers=("cifar10-t",),
        recipe=ENCODERMI.id,
        backend="onnx",
        device="cpu",
        offline=True,
        use_store=False,
    )

    def product() -> dict[str, float]:
        audit = score([place.folder / "jpegs"], config)
        return {row.path: row.findings[0].score for row in audit.scored}

    side = encoder.info.input.size_px
    views = torch.rand(size * (N_VIEWS + 1), 3, side, side)

    def forward() -> None:
        for part in views.split(_AT_ONCE * (N_VIEWS + 1)):
            encoder.embed(part)

    return Contest(
        (
            Way("product", "`clipaudit.score`, loading of the encoder included", product),
            Way("naive", "torch, torchvision view by view", lambda: _one_by_one(plain, paths)),
            Way("floor", "the forward passes alone", forward),
        ),
        _require_same,
    )


def _one_by_one(encoder: Encoder, paths: list[Path]) -> dict[str, float]:
    """T as one would write it first: the mean cosine of ten views, picture by picture."""
    scores = {}
    side = encoder.info.input.size_px
    for path in paths:
        data = path.read_bytes()
        picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        parameters = draw([content_id(data)], ENCODERMI, N_VIEWS, side, seed=0)
        views = torch.cat([one_by_one(image, parameters)[0], image])
        vectors = encoder.embed(views)[:-1].double()
        cosines = [
            torch.nn.functional.cosine_similarity(vectors[a], vectors[b], dim=0).item()
            for a, b in combinations(range(N_VIEWS), 2)
        ]
        scores[str(path)] = float(np.mean(cosines))
    return scores


def _require_same(product: Any, naive: Any) -> None:
    assert isinstance(product, dict)
    assert isinstance(naive, dict)
    assert product.keys() == naive.keys()
    np.testing.assert_allclose([*product.values()], [naive[path] for path in product], atol=1e-3)


CASE = Case("JPEGs of 1600 × 1200 to scores", "pictures", (2, 8, 24), (2,), _prepare)
