"""Results as a small lab could have had them, with counts that are easy to add up."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from clipaudit.lab.results import Downstream, EncoderFacts, Outcome, Results
from clipaudit.lab.tables import tables

FACTS = EncoderFacts(
    key="0" * 16,
    data="cifar10",
    role="target",
    seed=0,
    n_members=50,
    architecture="resnet-tiny",
    algorithm="simclr",
    recipe="encodermi@1",
    epochs=10,
    seconds=3600.0,
    seconds_outside=900.0,
    loss=0.5,
)


def outcome(found, accused, *, n=50, seed=0, auc=0.75, at_1_percent=None, **where):
    """One of n members and n non-members; `where`: experiment, setting, output, method."""
    return Outcome(
        experiment=where.get("experiment", "views-cifar10"),
        setting=where.get("setting", "10"),
        output=where.get("output", "embedding"),
        method=where.get("method", "V"),
        seed=seed,
        found=found,
        missed=n - found,
        accused=accused,
        spared=n - accused,
        auc=auc,
        found_at_1_percent=at_1_percent,
    )


KINDS = {
    "views": ("10", "2"),
    "background": ("nothing", "architecture", "data + architecture + algorithm"),
    "algorithms": ("simclr", "byol"),
    "similarity": ("cosine", "pearson", "euclidean"),
    "target-size": ("50", "100"),
    "shadow-size": ("50", "100"),
    "augmentations": ("blur", "blur+gray"),
    "epochs": ("50", "1200"),
    "baselines": ("everything",),
    "reference": ("1", "10"),
}
"""Every kind of experiment, with settings in the order of a matrix; some have the same ones."""

WITH_DOWNSTREAM = ("augmentations", "epochs", "baselines")


def results(**changes):
    """Every kind of experiment on both outputs, three repetitions, no two figures alike."""
    return replace(_results(), **changes)


@cache
def _results():
    outcomes, downstream = [], []
    for row, (kind, settings) in enumerate(KINDS.items()):
        methods = ("V", "S", "T", "image alone") if kind == "baselines" else ("V", "S", "T")
        for column, setting in enumerate(settings):
            for seed in range(3):
                for place, method in enumerate(methods):
                    for output in ("embedding", "trunk"):
                        found = 27 + 2 * row + 3 * column - place + seed
                        where = {"experiment": f"{kind}-cifar10", "setting": setting}
                        outcomes.append(
                            outcome(
                                found,
                                5 * place + seed + (output == "trunk"),
                                seed=seed,
                                auc=found / 60,
                                at_1_percent=found - 24,
                                output=output,
                                method=method,
                                **where,
                            )
                        )
                if kind in WITH_DOWNSTREAM:
                    downstream.append(
                        Downstream(f"{kind}-cifar10", setting, seed, 20 + column + seed, 40)
                    )
    return Results(
        matrix="small",
        scale="cpu",
        about="for tests",
        experiments={
            f"{kind}-cifar10": {"kind": kind, "data": "cifar10", "unknown_data": "other"}
            for kind in KINDS
        },
        n_cells=60,
        outcomes=tuple(outcomes),
        downstream=tuple(downstream),
        encoders=(FACTS, replace(FACTS, key="1" * 16, algorithm="byol", seconds_outside=0.0)),
        device="cpu",
        clipaudit_version="0.1.0",
    )


@cache
def tables_of(quantity="accuracy"):
    """All tables of `results()`; an interval takes a millisecond."""
    return tuple(tables(results(), quantity))
