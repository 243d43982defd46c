"""Features and scores of pictures that never change, from the hash of a picture to its scores.

`numbers.json` holds them. It is written by nobody but a person who has understood why they move:

    python -m tests.golden.numbers > tests/golden/numbers.json

A change of it moves every score that was ever given, so it belongs into CHANGELOG.md, Numbers.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import numpy as np

from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import SIMILARITIES, Float32Array, measure, n_pairs
from clipaudit.features.views import ENCODERMI, draw, make_views
from clipaudit.inferrers import find_rule
from clipaudit.inferrers.base import Kind

SIZE, N_IMAGES, N_VIEWS, SEED, DIM = 24, 3, 4, 7, 6

LAYERS: dict[Kind, dict[str, tuple[int, ...]]] = {
    "V": {"layers": (n_pairs(N_VIEWS), 5, 4, 1)},
    "S": {"element": (1, 5, 4), "pooled": (4, 3, 1)},
    "T": {},
}


def pictures():
    """Waves in three colours, shape (n, 3, size, size), uint8, and their ids."""
    y, x = np.mgrid[:SIZE, :SIZE]
    images = np.empty((N_IMAGES, 3, SIZE, SIZE), dtype=np.uint8)
    for image in range(N_IMAGES):
        for channel in range(3):
            wave = np.sin(x * (image + 1) / 5 + channel) * np.cos(y * (channel + 1) / 7 + image)
            images[image, channel] = np.rint(127.5 + 100 * wave)
    return images, tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images)


def numbers_for(name, shape):
    """Weights of a layer or an encoder: waves too, so that no generator decides them."""
    offset = sum(map(ord, name))
    return np.sin(np.arange(np.prod(shape)) * 1.7 + offset).reshape(shape).astype(np.float32)


def encode(views):
    """An encoder of one layer: means of a 4 × 4 grid, a fixed matrix, a bend."""
    cells = views.reshape(len(views), 3, 4, SIZE // 4, 4, SIZE // 4).mean(axis=(3, 5))
    flat = cells.reshape(len(views), -1).astype(np.float64)
    return np.tanh(flat @ numbers_for("encoder", (48, DIM)) / 4).astype(np.float32)


def rule_of(kind):
    arrays: dict[str, Float32Array] = {}
    if LAYERS[kind]:
        arrays = {"centre": np.array([0.9], "f4"), "spread": np.array([0.1], "f4")}
    for part, widths in LAYERS[kind].items():
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            name = f"{part}.{layer}"
            arrays[f"{name}.weight"] = numbers_for(f"{name}.weight", (n_out, n_in))
            arrays[f"{name}.bias"] = numbers_for(f"{name}.bias", (n_out,))
    return find_rule(kind).from_arrays(arrays)


def compute() -> dict[str, Any]:
    import torch

    images, ids = pictures()
    parameters = draw(ids, ENCODERMI, N_VIEWS, SIZE, SEED)
    views = make_views(torch.from_numpy(images), parameters).numpy()
    embedded = encode(views.reshape(-1, 3, SIZE, SIZE)).reshape(N_IMAGES, N_VIEWS, DIM)
    signals = measure(Embeddings(ids, embedded, encode(images / 255)))
    return {
        "ids": list(ids),
        "boxes": parameters.box.tolist(),
        "factors": parameters.factors.tolist(),
        "views": views.mean(axis=(3, 4)).tolist(),
        **{kind: signals.pairs(kind).tolist() for kind in SIMILARITIES},
        "norms": signals.norms.tolist(),
        "plain_norm": signals.plain_norm.tolist(),
        "scores": {kind: rule_of(kind).score(signals.cosine).tolist() for kind in LAYERS},
    }


if __name__ == "__main__":
    print(json.dumps(compute(), indent=1))
