"""Comparisons of two sets → sentences to quote, which claim no more than the data do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipaudit.statistics.two_sets import Comparison


def comparison_sentence(comparison: Comparison) -> str:
    """The result in one sentence, which claims no more than the data do."""
    suspects = _pictures(comparison.n_suspects, "suspect")
    control = _pictures(comparison.n_control, "control")
    if comparison.effect is None or comparison.outcome == "too few":
        return _too_few(comparison, suspects, control)
    test = "Wilcoxon signed-rank" if comparison.paired else "Mann-Whitney"
    how = f"{comparison.n_resamples:,} permutations" if comparison.n_resamples else "exact"
    found = (
        f"in {_percent(comparison.effect.value)} of all pairs of a suspect and "
        f"{'its own' if comparison.paired else 'a'} control picture the suspect scored higher, "
        f"ties counting half (95 % interval {_percent(comparison.effect.low)} to "
        f"{_percent(comparison.effect.high)}; 50 % is no difference), and chance alone would rank "
        f"the suspects as high or higher with {_probability(comparison.p)} "
        f"(one-sided {test} test, {how}, level {_level(comparison.alpha)})"
    )
    if comparison.outcome == "higher":
        return (
            f"As a set, the {suspects} got higher membership scores than the {control}: "
            f"{found}, which is evidence that pictures of this set were used to train the "
            "encoder, provided that the control differs from it in nothing else, and no proof "
            "that any one picture was."
        )
    sight = ""
    if comparison.detectable is not None:
        sight = (
            f" (sets of these sizes would find a true share of {_percent(comparison.detectable)} "
            "in four of five comparisons, and a smaller one less often)"
        )
    return (
        f"As a set, the {suspects} were not shown to get higher membership scores than the "
        f"{control}: {found}, which is no evidence that pictures of this set were used to "
        f"train the encoder, nor that they were not{sight}, and tells nothing of any one "
        "picture."
    )


def _too_few(comparison: Comparison, suspects: str, control: str) -> str:
    limit = ""
    if comparison.smallest_p > comparison.alpha:
        best = "the suspects had all the highest of these scores"
        if comparison.paired:
            best = "no suspect scored below its own control picture"
        p = _probability(comparison.smallest_p)
        limit = f": even if {best}, chance alone would do as much with {p}"
    enough = f"{comparison.n_minimum} {'pairs' if comparison.paired else 'pictures in each set'}"
    if min(comparison.n_suspects, comparison.n_control) >= comparison.n_minimum:
        enough += ", and scores that are less often equal"
    return (
        f"No statement is possible from the membership scores of {suspects} and {control}, "
        f"neither on the set nor on any one picture{limit}; one at the level of "
        f"{_level(comparison.alpha)} takes at least {enough}."
    )


def _pictures(n: int, kind: str) -> str:
    return f"{n:,} {kind} {'picture' if n == 1 else 'pictures'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _level(alpha: float) -> str:
    return f"{100 * alpha:g} %"


def _probability(p: float) -> str:
    """A p-value of three digits, rounded up: never stronger than it is."""
    if p < 1e-6:
        return "p < 0.000001"
    n_decimals = 2 - math.floor(math.log10(p))
    rounded = math.ceil(p * 10**n_decimals - 1e-6) / 10**n_decimals
    return f"p = {rounded:.{n_decimals}f}".rstrip("0").rstrip(".")
