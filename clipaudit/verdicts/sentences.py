"""Comparisons of two sets → sentences to quote, which claim no more than the data do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.blind.baseline import BlindCheck
    from clipaudit.results.audit import Run
    from clipaudit.results.evidence import Grade, NegativeControl
    from clipaudit.statistics.two_sets import Comparison


@dataclass(frozen=True, slots=True)
class Basis:
    """What a verdict on a set rests on, beside its numbers.

    Attributes:
        run: Facts of the run that scored the suspects.
        inferrer: Name of the inferrer whose scores were compared.
        seeds: Seeds of the views.
        blind: Whether the two sets differ in what no encoder is needed to see.
        negative: Whether reference encoders tell them apart; None without one.
        n_looks: How often these suspects were compared in different ways; None where nobody counts.
        captions: Whether captions alone tell the two sets apart; None where none were read.
    """

    run: Run
    inferrer: str
    seeds: tuple[int, ...]
    blind: BlindCheck
    negative: NegativeControl | None = None
    n_looks: int | None = None
    captions: BlindCheck | None = None


def verdict_sentence(comparison: Comparison, grade: Grade, basis: Basis) -> str:
    """The verdict on a set, to quote whole: the result, and what it rests on."""
    encoder = shown(basis.run.encoder.spec)
    if comparison.outcome == "too few":
        return comparison_sentence(comparison, encoder)
    if grade == "no conclusion":
        finding = _no_conclusion(comparison, basis, encoder)
    else:
        weakness = _weakness(basis) if grade == "weak evidence" else ""
        finding = comparison_sentence(comparison, encoder, weakness)
    return " ".join((finding, *_rests_on(comparison, grade, basis)))


def comparison_sentence(
    comparison: Comparison, encoder: str = "the encoder", weakness: str = ""
) -> str:
    """The result in one sentence, which claims no more than the data do.

    Args:
        comparison: The test.
        encoder: What to call the encoder.
        weakness: Why evidence would be weak, in a clause; empty where it would not be.
    """
    suspects = _pictures(comparison.n_suspects, "suspect")
    control = _pictures(comparison.n_control, "control")
    if comparison.effect is None or comparison.outcome == "too few":
        return _too_few(comparison, suspects, control)
    test = "Wilcoxon signed-rank test" if comparison.paired else "test of the largest rank sum"
    how = f"{comparison.n_resamples:,} permutations" if comparison.n_resamples else "exact"
    if comparison.n_series is not None:
        how += f" of whole series, {' and '.join(f'{n:,}' for n in comparison.n_series)} of them"
    found = (
        f"in {_percent(comparison.effect.value)} of all pairs of a suspect and "
        f"{'its own' if comparison.paired else 'a'} control picture the suspect scored higher, "
        f"ties counting half (95 % interval {_percent(comparison.effect.low)} to "
        f"{_percent(comparison.effect.high)}; 50 % is no difference), and chance alone would rank "
        f"the suspects, or the highest of them, as high or higher with "
        f"{_probability(comparison.p)} (one-sided {test}, {how}, level {_level(comparison.alpha)})"
    )
    if comparison.outcome == "higher":
        weak, why = ("weak ", f"; weak, because {weakness}") if weakness else ("", "")
        return (
            f"As a set, the {suspects} got higher membership scores than the {control}: "
            f"{found}, which is {weak}evidence that pictures of this set were used to train "
            f"{encoder}, provided that the control differs from it in nothing else, and no proof "
            f"that any one picture was{why}."
        )
    sight = ""
    if comparison.detectable is not None and comparison.n_series is None:
        sight = (
            f" (sets of these sizes would find a true share of {_percent(comparison.detectable)} "
            "in four of five comparisons, and a smaller one less often)"
        )
    return (
        f"As a set, the {suspects} were not shown to get higher membership scores than the "
        f"{control}: {found}, which is no evidence that pictures of this set were used to "
        f"train {encoder}, nor that they were not{sight}, and tells nothing of any one "
        "picture."
    )


def _weakness(basis: Basis) -> str:
    if basis.negative is None:
        return (
            "no reference encoder took part, and only one that saw neither tells whether the two "
            "differ in what they show"
        )
    return (
        f"the two also differ in what needs no encoder ({basis.blind.text}), though a reference "
        "encoder that saw neither does not see it"
    )


def _no_conclusion(comparison: Comparison, basis: Basis, encoder: str) -> str:
    sets = (
        f"the {comparison.n_suspects:,} suspect pictures",
        f"the {comparison.n_control:,} control pictures",
    )
    negative = basis.negative
    if negative is not None and negative.outcome == "speaks":
        who = " and ".join(map(shown, negative.references))
        why = (
            f"{who}, which is to have seen neither, tells {sets[0]} from {sets[1]} "
            f"({_probability(negative.p)}, level {_level(negative.alpha)})"
        )
    elif basis.captions is not None and basis.captions.outcome == "different":
        why = (
            f"a baseline that reads nothing but captions tells {sets[0]} from {sets[1]} "
            f"({basis.captions.text})"
        )
    elif basis.blind.outcome == "too few":
        return (
            f"Whether pictures of the set were used to train {encoder} cannot be said: "
            f"{sets[0]} scored higher than {sets[1]}, but whether the two differ in what needs "
            f"no encoder could not be tried ({basis.blind.text})."
        )
    else:
        why = (
            f"a baseline that never saw the encoder tells {sets[0]} from {sets[1]} "
            f"({basis.blind.text})"
        )
    return (
        "This comparison allows no conclusion on whether pictures of the set were used to train "
        f"{encoder}, because {why}, and whatever difference there is between their membership "
        "scores may come from that."
    )


def _rests_on(comparison: Comparison, grade: Grade, basis: Basis) -> Iterator[str]:
    """Method, seed, checks, sensitivity and looks, a sentence each."""
    run, negative = basis.run, basis.negative
    part = ""
    if negative is not None:
        part = f", less what {' and '.join(map(shown, negative.references))} explains of them"
    seeds = f"seed {basis.seeds[0]}" if basis.seeds else ""
    if len(basis.seeds) > 1:
        seeds = f"the mean over seeds {', '.join(map(str, basis.seeds))}"
    yield (
        f"Compared were the scores of {shown(basis.inferrer)}{part} ({run.n_views} views by recipe "
        f"{shown(run.recipe)}, {seeds}, level {_level(comparison.alpha)})."
    )
    if basis.blind.outcome == "alike":
        yield f"No difference was found that needs no encoder ({basis.blind.text})."
    if basis.captions is not None and basis.captions.outcome == "alike":
        yield f"No difference was found between their captions ({basis.captions.text})."
    if negative is not None and negative.outcome == "silent":
        yield (
            f"{' and '.join(map(shown, negative.references))}, which is to have seen neither set, "
            f"does not tell them apart ({_probability(negative.p)}, level "
            f"{_level(negative.alpha)})."
        )
    if grade in {"evidence", "weak evidence"} and comparison.outcome == "higher":
        explained = sensitivity(comparison)
        yield f"{explained[0].upper()}{explained[1:]}."
    if basis.n_looks is not None and basis.n_looks > 1:
        yield (
            f"These suspects were compared in {basis.n_looks:,} different ways on this machine, "
            "this one included; the level holds for one that was fixed beforehand."
        )


def sensitivity(comparison: Comparison) -> str:
    """How strong a difference that nobody saw would have to be to explain a result, in a clause.

    It would have to do by itself what the lower end of the effect's interval says.
    """
    if comparison.effect is None or comparison.effect.low <= 0.5:
        return "a slight difference of another kind, which nobody saw, could explain it"
    return (
        "a difference of another kind, which nobody saw, would have to rank a suspect above a "
        f"control picture in at least {_percent(comparison.effect.low)} of all pairs to explain it"
    )


def _too_few(comparison: Comparison, suspects: str, control: str) -> str:
    limit = ""
    if comparison.smallest_p > comparison.alpha:
        best = "the suspects had all the highest of these scores"
        if comparison.paired:
            best = "no suspect scored below its own control picture"
        p = _probability(comparison.smallest_p)
        limit = f": even if {best}, chance alone would do as much with {p}"
    unit = "pictures" if comparison.n_series is None else "series"
    enough = f"{comparison.n_minimum} {'pairs' if comparison.paired else f'{unit} in each set'}"
    sizes = comparison.n_series or (comparison.n_suspects, comparison.n_control)
    if min(sizes) >= comparison.n_minimum:
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
