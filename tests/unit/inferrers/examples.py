"""Features and cards to test inferrers with."""

from __future__ import annotations

import numpy as np

from clipaudit.inferrers import Card, Features, Inferrer, Kind, Reads, ShadowFacts
from clipaudit.metrics import Estimate, Evidence
from clipaudit.similarity import n_pairs

READS = Reads(similarity="cosine", n_views=6, recipe="encodermi@1", output="embedding")

SHADOW = ShadowFacts(
    data="cifar10",
    n_members=1000,
    n_nonmembers=900,
    architecture="resnet-small",
    algorithm="simclr",
    epochs=1000,
    size_px=32,
    encoder="e" * 64,
)

EVIDENCE = Evidence(
    accuracy=Estimate(0.925, 0.8946, 0.9488, 400),
    tpr=Estimate(0.935, 0.8914, 0.965, 200),
    fpr=Estimate(0.085, 0.0503, 0.1326, 200),
    auc=Estimate(0.975, 0.9619, 0.9881, 400),
)


def features(seed, n_members, n_others, gap, reads=READS):
    """Similarities just below 1, members closer to it by `gap`, and who is a member."""
    numbers = np.random.default_rng(seed)
    is_member = numbers.permutation(np.arange(n_members + n_others) < n_members)
    of_image = numbers.normal(size=(len(is_member), 1)) - gap * is_member[:, None]
    of_pair = numbers.normal(size=(len(is_member), n_pairs(reads.n_views)))
    values = 1 - 0.05 * np.exp(0.5 * of_image + 0.5 * of_pair)
    ids = tuple(f"{seed:032x}{number:032x}" for number in range(len(is_member)))
    return Features(ids, values.astype(np.float32), reads), is_member


def card(kind: Kind, **changes) -> Card:
    told = {
        "name": f"cifar10-{kind.lower()}",
        "kind": kind,
        "reads": READS,
        "threshold": 0.0,
        "shadow": SHADOW,
        "evidence": EVIDENCE,
        "n_fitted": 1520,
        "seed": 0,
        "command": "clipaudit train cifar10 -o runs/cifar10",
        "created": "2025-11-24",
        "clipaudit_version": "0.1.0",
    }
    return Card(**{**told, **changes})


def trained(rules, kind, seed=0, gap=3.0) -> Inferrer:
    given, is_member = features(seed, 90, 60, gap)
    rule = rules[kind].train(given.values, is_member, seed)
    return Inferrer(card(kind, threshold=rule.threshold(given.values, is_member)), rule)
