"""Evaluations to render: made-up scores, and a blind report that says what a test wants."""

from __future__ import annotations

import numpy as np

from clipaudit.blind.adjust import adjusted_auc
from clipaudit.blind.baseline import BlindReport, Telling
from clipaudit.results.evaluation import Evaluation, Histogram, SharedPicture, method_figures
from clipaudit.statistics.metrics import Estimate
from clipaudit.verdicts.calibration_files import known_set
from tests.made.audits import INFERRERS, run, sha256


def scores_of(n_members, n_others, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(1, 1, n_members), rng.normal(0, 1, n_others)])


def blind_report(n_members, n_others, *, is_confounded, basis="pictures"):
    rng = np.random.default_rng(7)
    blind = rng.uniform(0.2, 0.8, n_members + n_others)
    found = (
        Estimate(0.84, 0.79, 0.89, len(blind)) if is_confounded else Estimate(0.52, 0.45, 0.59, 9)
    )
    telling = Telling("mean_red", "how red it is", 0.8, is_higher_in_members=True)
    return BlindReport(
        overall=found,
        by_classifier={"linear": found},
        telling=(telling,) if is_confounded else (),
        scores=blind,
        between=("members", "non-members"),
        n=(n_members, n_others),
        basis=basis,
    )


def evaluation(
    n_members=60, n_others=300, inferrers=INFERRERS, *, blind=True, is_confounded=False, **changes
):
    """One with all that there can be, unless changes say otherwise."""
    is_member = np.arange(n_members + n_others) < n_members
    report = blind_report(n_members, n_others, is_confounded=is_confounded) if blind else None
    methods = []
    for number, facts in enumerate(inferrers):
        scores = scores_of(n_members, n_others, number)
        method = method_figures(facts, "cifar10", scores, is_member, seed=0)
        if report is not None:
            adjusted = adjusted_auc(scores, report.scores, is_member)
            method = type(method)(
                method.inferrer, method.shadow_data, method.figures, method.curve, adjusted
            )
        methods.append(method)
    facts = {
        "run": run(inferrers, command="clipaudit evaluate set"),
        "folder": "set",
        "members": known_set("set/members", map(sha256, map(str, range(n_members)))),
        "nonmembers": known_set("set/nonmembers", map(sha256, map(str, range(-n_others, 0)))),
        "label": "member",
        "n_same": 3,
        "skipped": {"truncated": 2},
        "shared": (SharedPicture("set/members/a.png", "set/nonmembers/b.png", "near-duplicate"),),
        "methods": tuple(methods),
        "similarity": Histogram.of(scores_of(n_members, n_others, 99), is_member),
        "blind": report,
        "blind_missing": "",
    }
    return Evaluation(**{**facts, **changes})
