"""Features and cards to test inferrers with."""

from __future__ import annotations

import numpy as np

from clipaudit import inferrers
from clipaudit.features.signals import n_pairs
from clipaudit.inferrers import RULES, find_rule, forms
from clipaudit.inferrers.base import Card, Features, Inferrer, Kind, Reads, ShadowFacts
from clipaudit.statistics.metrics import BoolArray, Estimate, Evidence

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


FORMS = tuple((kind, with_one) for kind in RULES for with_one in forms(kind, has_reference=True))
"""Every kind of inferrer, without a reference and with one."""


def form_id(form):
    return form[0] + ("-reference" if form[1] else "")


def reads_of(kind, has_reference=False):
    """What an inferrer of a kind reads where `READS` is what there is."""
    return inferrers.reads_of(
        kind,
        READS.similarity,
        READS.n_views,
        READS.recipe,
        READS.output,
        has_reference=has_reference,
    )


def features(seed, n_members, n_others, gap, *, reads=READS) -> tuple[Features, BoolArray]:
    """Similarities just below 1, members closer to it by `gap`, and who is a member.

    Of the other signals likewise: members' embeddings are longer. A reference finds of each image
    what the target would if it were no member, but for the noise of each.
    """
    numbers = np.random.default_rng(seed)
    is_member = numbers.permutation(np.arange(n_members + n_others) < n_members)
    of_image = numbers.normal(size=(len(is_member), 1))
    target = _seen(numbers, of_image - gap * is_member[:, None], reads)
    values = (
        target
        if not reads.has_reference
        else np.stack([target, _seen(numbers, of_image, reads)], axis=1)
    )
    ids = tuple(f"{seed:032x}{number:032x}" for number in range(len(is_member)))
    return Features(ids, values.astype(np.float32), reads), is_member


def _seen(numbers, of_image, reads):
    """What one encoder makes of images, the better known ones lower in `of_image`."""
    if reads.what == "norm":
        return 2 - 0.3 * of_image + 0.05 * numbers.normal(size=of_image.shape)
    if reads.what == "caption-loss":
        return -np.exp(0.5 * of_image + 0.1 * numbers.normal(size=of_image.shape))
    if reads.what == "caption":
        signs = np.array([-0.1, 0.3, 0.2, -0.05, -0.3])
        return 1 + signs * of_image + 0.05 * numbers.normal(size=(len(of_image), len(signs)))
    noise = numbers.normal(size=(len(of_image), n_pairs(reads.n_views)))
    pairs = 1 - 0.05 * np.exp(0.5 * of_image + 0.5 * noise)
    if reads.what == "similarities":
        return pairs
    lengths = 2 - 0.3 * of_image + 0.05 * numbers.normal(size=(len(of_image), 2))
    return np.column_stack([pairs.mean(axis=1), lengths])


def card(kind: Kind, **changes) -> Card:
    told = {
        "name": f"cifar10-{kind.lower()}",
        "kind": kind,
        "reads": reads_of(kind, kind in ("difference", "adjusted")),
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


def trained(kind, seed=0, gap=3.0, has_reference=False) -> Inferrer:
    reads = reads_of(kind, has_reference)
    given, is_member = features(seed, 90, 60, gap, reads=reads)
    rule = find_rule(kind).train(given.values, is_member, seed)
    threshold = rule.threshold(given.values, is_member)
    return Inferrer(card(kind, reads=reads, threshold=threshold), rule)


def toy_card(name, kind, reads, threshold, *, n=20, size_px=16):
    """The card of an inferrer that was fitted to made-up features."""
    figure = Estimate(0.5, 0.4, 0.6, 100)
    return Card(
        name=name,
        kind=kind,
        reads=reads,
        threshold=threshold,
        shadow=ShadowFacts("toy", n, n, "linear", "none", 1, size_px, "f" * 64),
        evidence=Evidence(figure, figure, figure, figure),
        n_fitted=2 * n,
        seed=0,
        command="by hand",
        created="2026-01-01",
        clipaudit_version="0.1.0",
    )
