"""Signals of images that are not there, and a key to store them under."""

from __future__ import annotations

import numpy as np

from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import measure
from clipaudit.features.stored_signals import FeatureKey

KEY = FeatureKey("f" * 64, "paper/1", n_views=4, seed=0, encoder_name="ViT-B-32/openai")
FIELDS = ("cosine", "pearson", "euclidean", "norms", "plain_norm")


def signals_of(image_ids, n_views=4, salt=0):
    """Signals of random embeddings; the same for the same ids and salt."""
    rng = np.random.default_rng([salt, *map(ord, "".join(image_ids))])
    n = len(image_ids)
    views = rng.normal(size=(n, n_views, 8)).astype(np.float32)
    return measure(Embeddings(tuple(image_ids), views, views[:, 0]))
