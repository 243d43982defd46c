"""Audits to render: hand-made, and as real ones look."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

from clipaudit._version import __version__
from clipaudit.blind.baseline import BlindCheck
from clipaudit.encoders.base import EncoderInfo, InputSpec
from clipaudit.results.audit import Audit, InferrerFacts, Run
from clipaudit.results.rows import Finding, ReferenceSignals, Row
from clipaudit.statistics.calibration import Calibration, KnownScores
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts.by_calibration import fits, judge, scored_by
from clipaudit.verdicts.by_control import against_control
from clipaudit.verdicts.calibration_files import CalibrationFile, known_set
from clipaudit.verdicts.shared_pictures import scored_paths, split

INFERRERS = (
    InferrerFacts(
        name="cifar10-v",
        kind="V",
        threshold=0.5,
        trained_on="cifar10 (5,000 members), resnet18, moco-v2, 1,600 epochs",
        evidence="on held-out shadow data: accuracy 88.1 % (86.9 to 89.2, n = 4,000), "
        "false-positive rate 11.0 %",
        sha256="a" * 64,
    ),
    InferrerFacts(
        name="cifar10-s",
        kind="S",
        threshold=0.0,
        trained_on="cifar10 (5,000 members), resnet18, moco-v2, 1,600 epochs",
        evidence="on held-out shadow data: accuracy 87.3 % (86.0 to 88.4, n = 4,000), "
        "false-positive rate 12.4 %",
        sha256="b" * 64,
    ),
    InferrerFacts(
        name="cifar10-t",
        kind="T",
        threshold=0.82,
        trained_on="cifar10 (5,000 members), resnet18, moco-v2, 1,600 epochs",
        evidence="on held-out shadow data: accuracy 85.0 % (83.7 to 86.3, n = 4,000), "
        "false-positive rate 15.8 %",
        sha256="c" * 64,
    ),
)

ENCODER = EncoderInfo(
    spec="ViT-B-32/openai",
    output="embedding",
    input=InputSpec(
        size_px=224,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        interpolation="bicubic",
    ),
    dim=512,
    fingerprint="3fa9c1d2" * 8,
    backend="onnx",
    device="cpu",
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def run(inferrers=INFERRERS, **changes):
    facts = {
        "command": "clipaudit score images",
        "config": {"encoder": "ViT-B-32/openai", "n_views": 10, "inferrers": []},
        "versions": {"clipaudit": __version__, "python": "3.11.7", "torch": "2.15.0"},
        "encoder": ENCODER,
        "recipe": "paper/1",
        "n_views": 10,
        "similarity": "cosine",
        "seed": 0,
        "inferrers": inferrers,
        "started_at": "2026-11-24T02:00:00+00:00",
        "seconds": 72.4,
        "n_from_store": 120,
    }
    return Run(**{**facts, **changes})


def scored(path, inferrers=INFERRERS, notes=()):
    rng = random.Random(sha256(path))
    mean = rng.uniform(0.7, 0.95)
    scores = {"V": rng.gauss(0, 2), "S": rng.gauss(0, 3), "T": mean}
    findings = tuple(
        Finding(
            facts.name,
            scores[facts.kind],
            "member" if scores[facts.kind] >= facts.threshold else "non-member",
        )
        for facts in inferrers
    )
    return Row(path, sha256(path), "ok", None, mean, findings, notes)


def skipped(path, error="not_an_image: none of the formats that are read"):
    return Row(path, sha256(path), "skipped", error)


def audit_of(rows, inferrers=INFERRERS, **changes):
    return Audit(run(inferrers, **changes), tuple(rows))


def with_reference():
    """Two scored files and a skipped one, beside two reference encoders."""
    references = tuple(replace(ENCODER, spec=f"ViT-B-32/{tag}") for tag in ("other", "another"))
    rows = [
        replace(scored(name), reference=ReferenceSignals(0.61, norm))
        for name, norm in (("a.png", 9.5), ("b.png", 11.25))
    ]
    return audit_of([*rows, skipped("c.png")], references=references)


def realistic(n=500, inferrers=INFERRERS):
    rng = random.Random(0)
    kinds = ("landscape", "portrait of an otter", "IMG_2041", "final_FINAL_v3", "日本の風景画")
    rows = [
        scored(
            f"/home/ana/pictures/{rng.choice(('2021', '2022/commissions for clients', '2023'))}/"
            f"{rng.choice(kinds)} {i:03d}.{rng.choice(('jpg', 'png', 'webp'))}",
            inferrers,
        )
        for i in range(n)
    ]
    rows[5:5] = [
        skipped("/home/ana/pictures/2021/broken.jpg", "truncated: the file ends in mid-image"),
        skipped("/home/ana/pictures/2021/notes.txt.png"),
        skipped("/home/ana/pictures/2023/also broken.jpg", "truncated: the file ends in mid-image"),
    ]
    return audit_of(rows, inferrers)


def kept(run, inferrer, nulls, members=(), **changes):
    """A calibration for one inferrer of a run, from scores."""
    null = known_scores("null", nulls)
    found = known_scores("member", members) if members else None
    facts = {
        "calibration": Calibration(scored_by(run, inferrer), 0, null, found),
        "encoder": run.encoder.spec,
        "nonmembers": known_set("/home/ana/unseen", null.image_ids),
        "members": known_set("/home/ana/seen", found.image_ids) if found else None,
        "hashes": {},
        "looks": {},
        "created": "2026-11-24",
        "clipaudit_version": __version__,
    }
    return CalibrationFile(**{**facts, **changes})


def known_scores(kind, scores):
    """Scores of made-up pictures, which are called by their kind and number."""
    return KnownScores(
        tuple(sha256(f"{kind} {number}") for number in range(len(scores))),
        tuple(map(float, scores)),
    )


def calibrated(audit, n_null=150, n_members=40, levels=Levels()):  # noqa: B008 -- frozen
    """The audit with verdicts by its first two inferrers, the first one with known members."""
    rng = random.Random(1)
    nulls = [rng.gauss(-1, 1.5) for _ in range(n_null)]
    members = [rng.gauss(1, 2) for _ in range(n_members)]
    first, second, *_ = audit.run.inferrers
    some = [kept(audit.run, first, nulls, members), kept(audit.run, second, nulls)]
    return judge(audit, fits(audit.run, some), levels, hashes={})


def controlled(audit, control=None, outcome="alike", hashes=None, captions=None):
    """The audit with a verdict on it as a set, against a control that is much the same."""
    control = control or audit_of([scored(f"/home/ana/control/{i}.png") for i in range(30)])
    blind = BlindCheck(outcome, "AUC 0.520 (0.440 to 0.600, n = 530)")
    named = (["/home/ana/pictures"], ["/home/ana/control"])
    pair = split(scored_paths(audit), scored_paths(control), hashes or {})
    comparison = against_control([audit], [control], pair, blind, named, captions=captions)
    return replace(audit, comparison=comparison)
