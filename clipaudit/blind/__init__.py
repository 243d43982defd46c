"""The blind baseline: can members be told from non-members without the encoder?

If they can, a set of pictures is confounded, and what an inferrer makes of it proves nothing by
itself. `features` and `embedding` turn a picture into numbers that no encoder had a part in,
`baseline` lets classifiers try, and `adjust` says how much of an inferrer's AUC is left among
pictures that look equally like members.
"""

from __future__ import annotations

from clipaudit.blind.adjust import AdjustedAuc, adjusted_auc
from clipaudit.blind.baseline import MIN_OF_EACH, BlindReport, Telling, blind_baseline
from clipaudit.blind.embedding import random_embedding
from clipaudit.blind.features import STATISTICS, Statistic, image_statistics

__all__ = [
    "MIN_OF_EACH",
    "STATISTICS",
    "AdjustedAuc",
    "BlindReport",
    "Statistic",
    "Telling",
    "adjusted_auc",
    "blind_baseline",
    "image_statistics",
    "random_embedding",
]
