"""What verdicts say and rest on, in lines for people."""

from __future__ import annotations

import shlex
from itertools import islice
from typing import TYPE_CHECKING

from clipaudit.results.evidence import CalibrationFacts, KnownSet
from clipaudit.statistics.calibration import called_by_chance, fewest_picked, needed
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count, percent
from clipaudit.verdicts.sentences import sensitivity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.audit import Audit, CaptionsRead, Run
    from clipaudit.results.evidence import AgainstControl
    from clipaudit.statistics.conformal import Levels
    from clipaudit.statistics.metrics import Estimate
    from clipaudit.statistics.two_sets import Comparison


LIKE = {"member": "member-like", "non-member": "–"}
"""Words for an uncalibrated prediction, which is no verdict."""


def verdict_facts(audit: Audit, levels: Levels) -> Iterator[tuple[str, list[str]]]:
    """The verdicts by each inferrer that has a calibration, and what they rest on, by name.

    What is the same for several inferrers is told once.
    """
    for facts in audit.calibrations:
        n = audit.n_scored(facts.inferrer)
        counts = audit.n_verdicts(facts.inferrer)
        lines = [", ".join(f"{k:,} {word}" for word, k in counts.items()) + f", of {n:,}"]
        if facts.is_of_another_kind:
            what = "these pictures"
            if facts.captions and facts.captions.outcome == "different":
                what = "these pictures' captions"
            lines = [f"none: {what} are of another kind than the known non-members"]
        elif can_decide(facts, levels):
            lines[0] += f"; {_by_chance(facts, levels, n)} members"
            lines.append(_picked(audit.n_picked(facts.inferrer), facts, levels, n))
        if facts.tpr:
            lines.append(f"finds {rate(facts.tpr)} of the known members")
        yield f"Verdicts by {facts.inferrer}", lines
    rests: dict[tuple[str, ...], list[str]] = {}
    for facts in audit.calibrations:
        n = audit.n_scored(facts.inferrer)
        rests.setdefault(tuple(_rests_on(facts, levels, n)), []).append(facts.inferrer)
    for basis, inferrers in rests.items():
        which = "" if len(rests) == 1 else f" of {', '.join(inferrers)}"
        yield f"Calibration{which}", list(basis)


def short_verdicts(audit: Audit, levels: Levels) -> Iterator[tuple[str, list[str]]]:
    """The first line of what `verdict_facts` says of each inferrer."""
    n_verdicts = len(audit.calibrations)
    for name, lines in islice(verdict_facts(audit, levels), n_verdicts):
        yield name, lines[:1]


def found_and_chance(audit: Audit, facts: CalibrationFacts, levels: Levels) -> str:
    """The pictures that one inferrer calls members, and how many it would call so by chance."""
    n, n_found = audit.n_scored(facts.inferrer), audit.n_verdicts(facts.inferrer)["member"]
    called = f"{n_found:,} are called members" if n_found > 1 else "1 is called a member"
    called = called if n_found else "none is called a member"
    return f"Of {count(n, 'picture')} {called}; {_by_chance(facts, levels, n)}"


def _by_chance(facts: CalibrationFacts, levels: Levels, n: int) -> str:
    chance = called_by_chance(facts.n_null, levels.fpr, n)
    return f"chance alone would call {chance.value:.1f} ({chance.low:.0f} to {chance.high:.0f})"


def _picked(n_picked: int, facts: CalibrationFacts, levels: Levels, n: int) -> str:
    fewest = fewest_picked(facts.n_null, n, levels.fdr)
    if n_picked or fewest == 1:
        return f"{n_picked:,} are picked out of all"
    return (
        f"none is picked out of all: with {facts.n_null:,} non-members no pick is possible unless "
        f"at least {fewest:,} of {n:,} stand out together"
    )


_SAME_KIND = {
    "different": "these pictures differ from the known non-members in what needs no encoder",
    "alike": "no difference from the known non-members was found that needs no encoder",
    "too few": "whether these pictures are of the kind of the known non-members could not be tried",
}


_SAME_STYLE = {
    "different": "their captions are written in another way than those of the known non-members",
    "alike": "no difference was found in how their captions are written",
    "too few": "whether their captions are written as those of the non-members could not be tried",
}


def can_decide(facts: CalibrationFacts, levels: Levels) -> bool:
    """Whether there are enough non-members to call any picture a member."""
    return facts.n_null >= needed(levels.fpr)


def _rests_on(facts: CalibrationFacts, levels: Levels, n: int) -> Iterator[str]:
    yield (
        f"null sample: {_set(facts.nonmembers, facts.n_null)}, made {facts.created}; "
        f"smallest p {facts.smallest_p:.2g}"
    )
    if facts.blind is not None:
        yield f"{_SAME_KIND[facts.blind.outcome]}: {facts.blind.text}"
    if facts.captions is not None:
        yield f"{_SAME_STYLE[facts.captions.outcome]}: {facts.captions.text}"
    if facts.is_of_another_kind:
        yield (
            "the p-values hold for pictures of the kind of those non-members, and not for these; "
            "to calibrate again takes pictures like these that cannot have been used"
        )
    elif can_decide(facts, levels):
        chance = called_by_chance(facts.n_null, levels.fpr, n)
        yield (
            f"FPR {percent(levels.fpr)}: if none of the {n:,} were a member, {chance.value:.1f} "
            f"would be called so by chance (in 95 % of cases {chance.low:.0f} to "
            f"{chance.high:.0f}; these very non-members may let {rate_range(facts.fpr)} through), "
            "as far as the non-members are of their kind"
        )
        yield (
            f"FDR {percent(levels.fdr)}: at most that share of the picked ones are non-members, "
            "on average"
        )
    else:
        yield (
            f"no picture can be called a member at an FPR of {percent(levels.fpr)}: that takes "
            f"{needed(levels.fpr):,} known non-members, and there are {facts.n_null:,}"
        )
    if facts.members:
        yield (
            f"known members: {_set(facts.members, facts.n_members)}; miss rate "
            f"{percent(levels.fnr)}: at most that share of the members are called non-members"
        )
    else:
        yield (
            "no known members: how many it misses is not known, so no picture is called a "
            "non-member"
        )
    if facts.share is not None and facts.share.value is not None:
        yield (
            f"share that was used: {percent(facts.share.value)} (95 % interval "
            f"{percent(facts.share.low)} to {percent(facts.share.high)}, n = {facts.share.n:,}), "
            "as far as known members and non-members are of their kind"
        )
    elif facts.members and not facts.is_of_another_kind:
        yield "how much of them was used cannot be told from these scores"
    if facts.n_left_out:
        yield (
            f"{count(facts.n_left_out, 'known picture')} among these, or much the same as one, "
            "left out of the calibration"
        )


def uncalibrated_lines(run: Run, names: list[str]) -> Iterator[str]:
    """That predictions are just that, and how to get verdicts."""
    yield (
        f"how often {', '.join(names)} errs on this encoder is not known; elsewhere it erred as "
        "stated with each inferrer"
    )
    yield (
        "to calibrate: clipaudit calibrate "
        f"--encoder {shlex.quote(run.encoder.spec)} "
        "--nonmembers FOLDER, with pictures like these that it cannot have been trained on, "
        f"{needed(0.01):,} at least for an FPR of 1 %; all other options as here"
    )


def views_lines(run: Run, similarity: str = "") -> Iterator[str]:
    """How many views a run made and by which recipe, and why that one."""
    if not run.n_views:
        yield "none: no inferrer reads any, so each picture took one pass"
        return
    compared = f", {similarity}" if similarity else ""
    yield f"{run.n_views} an image by recipe {run.recipe}{compared}, seed {run.seed}"
    if run.recipe_reason:
        yield f"this recipe because {run.recipe_reason}"


def captions_lines(captions: CaptionsRead) -> Iterator[str]:
    """Where captions came from, how many are missing, and what they were held against."""
    n = captions.n_with + captions.n_without
    yield f"from {captions.source}"
    if captions.n_without:
        yield (
            f"{captions.n_without:,} of {count(n, 'picture')} "
            f"{'has' if captions.n_without == 1 else 'have'} no caption, and so no score by "
            "inferrers that read them"
        )
    if captions.n_cut:
        was = "was" if captions.n_cut == 1 else "were"
        yield (
            f"{count(captions.n_cut, 'caption')} {was} cut: the encoder reads "
            f"{captions.tower.context_length} tokens"
        )
    bank = captions.bank
    held = count(bank.n_captions, "caption")
    if bank.n_pictures:
        held += f" and {count(bank.n_pictures, 'picture')}"
    yield f"held against a bank of {held}: {bank.origin}"
    yield from captions.notes


def control_lines(comparison: AgainstControl) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Facts of suspects against control: a name, and lines."""
    first = comparison.by_inferrer[0].unpaired
    sizes = (
        f"{count(first.n_suspects, 'suspect')}, {first.n_control:,} of the control "
        f"{comparison.control} ({comparison.n_scored:,} of its "
        f"{count(comparison.n_files, 'file')} were scored)"
    )
    yield "Pictures", (sizes, *_left_out(comparison))
    for result in comparison.by_inferrer:
        lines = [_test(result.unpaired), *_planning(result.unpaired)]
        if result.paired is not None:
            lines += ["in pairs of one name: " + _test(result.paired), *_planning(result.paired)]
        if result.outcome == "higher":
            lines.append(f"how sensitive it is: {sensitivity(result.unpaired)}")
        if result.share is not None and comparison.grade in {"evidence", "weak evidence"}:
            lines.append(
                f"share of the suspects that was used: at least {percent(result.share.low)} (with "
                "95 % confidence, as far as the control is a fair one)"
            )
        yield f"By {result.inferrer}", tuple(lines)
    if comparison.n_looks is not None and comparison.n_looks > 1:
        looks = (
            f"these suspects were compared in {comparison.n_looks:,} different ways on this "
            "machine; the level holds for one that was fixed beforehand"
        )
        yield "Looks", (looks,)
    if len(comparison.by_inferrer) > 1:
        which = (
            f"the result is that of {comparison.by_inferrer[0].inferrer}, the first inferrer; the "
            "others read the same views, so they are no further evidence, and the best of several "
            "is not to be picked afterwards"
        )
        yield "Which one", (which,)
    is_lowered = comparison.negative_control and "evidence" in comparison.grade
    verdict = "that lowers what a finding is worth" if is_lowered else "this is no fair control"
    outcome = {
        "different": f"the two differ in what needs no encoder: {verdict}",
        "alike": "no difference was found that needs no encoder; there may be others",
        "too few": "whether the two differ in what needs no encoder could not be tried",
    }[comparison.blind.outcome]
    checks = [f"{outcome}: {comparison.blind.text}"]
    if comparison.captions is not None:
        found = _FAIR_CAPTIONS[comparison.captions.outcome]
        checks.append(f"{found}: {comparison.captions.text}")
    yield "Fair control?", (*checks, *_by_reference(comparison))


_FAIR_CAPTIONS = {
    "different": "the captions alone tell the two apart: this is no fair control",
    "alike": "no difference was found between the captions; there may be others",
    "too few": "whether the captions tell the two apart could not be tried",
}


def _by_reference(comparison: AgainstControl) -> Iterator[str]:
    negative = comparison.negative_control
    if negative is None:
        yield (
            "no reference took part; one that saw neither (--reference) tells whether they differ "
            "in what such encoders see"
        )
        return
    who = " and ".join(map(shown, negative.references))
    tells = "does not tell" if negative.outcome == "silent" else "tells"
    yield (
        f"{who}, which is to have seen neither, {tells} them apart: p = {negative.p:.3g}, in both "
        f"directions, level {percent(negative.alpha)}"
    )


def copies(n: int) -> str:
    """How many more files have the bytes of one."""
    return "1 copy" if n == 1 else f"{n:,} copies"


def meaning(levels: Levels) -> str:
    """How to read a verdict."""
    return (
        "A verdict of member says that of the known non-members at most "
        f"{percent(levels.fpr)} score as high, and holds for pictures of their kind. It does not "
        "prove that this one picture was used: of many non-members that share is called so too. "
        "Can't tell is no verdict in either direction."
    )


def rate(estimate: Estimate) -> str:
    """A share with its interval and n."""
    low, value, high = (percent(share) for share in _from_low_to_high(estimate))
    return f"{value} ({low} to {high}, n = {estimate.n:,})"


def rate_range(estimate: Estimate) -> str:
    """The interval of a share."""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def _from_low_to_high(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.value, estimate.high


def _set(known: KnownSet, n_used: int) -> str:
    return (
        f"{n_used:,} of {known.n:,} from {known.name}"
        if n_used < known.n
        else (f"{known.n:,} from {known.name}")
    )


def _test(test: Comparison) -> str:
    how = f"{test.n_resamples:,} permutations" if test.n_resamples else "exact"
    name = "signed-rank" if test.paired else "largest rank sum"
    if test.n_series is not None:
        how += f" of {test.n_series[0]:,} and {test.n_series[1]:,} whole series"
    effect = ""
    if test.effect is not None:
        low, value, high = (percent(share) for share in _from_low_to_high(test.effect))
        n = f"{test.n_suspects:,}" + ("" if test.paired else f" and {test.n_control:,}")
        effect = f"; the suspect is higher in {value} of pairs ({low} to {high}, n = {n})"
    return f"{test.outcome}: p = {test.p:.3g} (one-sided {name}, {how}){effect}"


def _planning(test: Comparison) -> Iterator[str]:
    """How many pictures a claim takes; never how many would see the effect that was found.

    Power after the fact repeats the p-value, and is far off where the effect is.
    """
    unit = "pairs" if test.paired else "pictures in each set"
    if test.outcome == "too few":
        yield f"a claim at the level of {percent(test.alpha)} takes {test.n_minimum} {unit}"


def _left_out(comparison: AgainstControl) -> Iterator[str]:
    if comparison.n_near_duplicates:
        n = comparison.n_near_duplicates
        same = count(n, "copy or near-duplicate", "copies and near-duplicates")
        yield f"{same} count{'s' if n == 1 else ''} once"
    if comparison.overlaps:
        yield (
            f"{count(len(comparison.overlaps), 'picture')} of the control "
            f"{'is' if len(comparison.overlaps) == 1 else 'are'} among the suspects, and "
            f"{'was' if len(comparison.overlaps) == 1 else 'were'} left out of it"
        )
