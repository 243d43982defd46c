"""An `Audit` → its answer in words, which the table on the screen and the HTML report lead with.

For readers who know pictures and papers, not statistics. It claims what the other formats claim,
and no more; the sentence to quote is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from clipaudit.reports.next_step import NextStep, next_step
from clipaudit.reports.wording import can_decide, found_and_chance, rate_range
from clipaudit.results.rows import ranking_key
from clipaudit.statistics.calibration import fewest_picked, needed
from clipaudit.text.numbers import count, percent
from clipaudit.verdicts.by_control import ALPHA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.audit import Audit, Run
    from clipaudit.results.evidence import AgainstControl, CalibrationFacts
    from clipaudit.statistics.conformal import Levels
    from clipaudit.statistics.two_sets import Comparison

Tone = Literal["evidence", "none", "open"]
"""Something was found; nothing was; or nothing can be said."""

_BY_ITSELF = "Every picture, by itself"
_AS_A_SET = "All pictures, as a set"
_CANNOT_BE_SAID = "Cannot be said"
_NOT_ASKED = "Not asked yet"
_CANNOT_BE_TOLD = "cannot be told from these scores"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the run says on one question.

    Attributes:
        question: On what: the pictures as a set, or each by itself.
        badge: The answer in two words: evidence, weak evidence, no evidence, cannot be said, or
            not asked yet.
        tone: Kind of answer.
        title: The answer in a line.
        lines: What it means.
        quote: The sentence to quote, with its numbers; empty where there is none.
        rests_on: What it rests on, in a line or two, and how much of the folder was used.
        next_step: What would make it stronger; None where that is no command, and in all answers
            but the first.
    """

    question: str
    badge: str
    tone: Tone
    title: str
    lines: tuple[str, ...]
    quote: str = ""
    rests_on: tuple[str, ...] = ()
    next_step: NextStep | None = None

    @property
    def sentence(self) -> str:
        """The badge and the title as one sentence."""
        return f"{self.badge}: {self.title[:1].lower()}{self.title[1:]}"


def question(run: Run) -> str:
    """What the run was to find out."""
    return f"Were these pictures used to train {run.encoder.spec}?"


def answers(audit: Audit) -> tuple[Answer, ...]:
    """The verdict on all pictures as a set, where there is one, then that on each of them.

    The first is the answer of the run, and comes with the next step.
    """
    if not audit.scored:
        read = f"Of {count(len(audit), 'file')} none gave a picture that can be scored."
        title = "No picture could be scored."
        return (Answer(_BY_ITSELF, _CANNOT_BE_SAID, "open", title, (read,)),)
    found = [_one_by_one(audit)]
    if audit.comparison is not None:
        found.insert(0, _as_a_set(audit.comparison))
    found[0] = replace(found[0], next_step=next_step(audit))
    return tuple(found)


def notices(audit: Audit) -> tuple[str, ...]:
    """What a reader must know before anything else."""
    stopped = (
        "This run was stopped before its end. Only the files that were done by then are here, "
        "and everything below is of them alone."
    )
    return (stopped,) if audit.run.interrupted else ()


def _as_a_set(comparison: AgainstControl) -> Answer:
    test = comparison.by_inferrer[0].unpaired
    badge, tone, title, lines = _what_the_set_shows(comparison, test)
    rests_on = tuple(_set_rests_on(comparison, test))
    return Answer(_AS_A_SET, badge, tone, title, lines, comparison.sentence, rests_on)


def _what_the_set_shows(
    comparison: AgainstControl, test: Comparison
) -> tuple[str, Tone, str, tuple[str, ...]]:
    """Badge, tone, title and lines."""
    grade = comparison.grade
    if grade == "no conclusion":
        title, lines = _why_no_conclusion(comparison, test)
        return _CANNOT_BE_SAID, "open", title, lines
    if grade == "no evidence":
        title = "As a set, they were not shown to score higher than unused pictures."
        faint = (
            "That is no evidence that they were used, and none that they were not: a faint trace "
            "escapes a test of this size."
        )
        return "No evidence", "none", title, (faint,)
    if test.p > ALPHA:  # a result that we would not write
        title = "They score higher, but chance alone would do as much too often."
        return "No evidence", "none", title, ()
    title = "As a set, they score higher than pictures that cannot have been used."
    if grade == "weak evidence" and comparison.negative_control is None:
        content = (
            "Chance alone is a poor explanation. Another one remains: that the two sets differ in "
            "what they show, which only a reference encoder that saw neither can tell."
        )
        return "Weak evidence", "evidence", title, (content,)
    if grade == "weak evidence":
        differs = (
            "The two sets also differ in what can be seen without the encoder. An encoder that saw "
            "neither does not see that difference, so it is not likely to be what was found; but "
            "compare with pictures that do not differ, if you can."
        )
        return "Weak evidence", "evidence", title, (differs,)
    other = (
        "Chance alone is a poor explanation. Another one remains, which numbers cannot rule out: "
        "that these pictures differ from the control in more than having been used."
    )
    return "Evidence", "evidence", title, (other,)


def _set_rests_on(comparison: AgainstControl, test: Comparison) -> Iterator[str]:
    sets = f"{count(test.n_suspects, 'picture')} and {test.n_control:,} of the control"
    result = comparison.by_inferrer[0]
    if test.outcome == "too few" or test.effect is None:
        yield f"{sets}, by {result.inferrer}: {_too_few(test)}"
        return
    yield (
        f"{sets}, by {result.inferrer}: p = {test.p:.3g}; the suspect is higher in "
        f"{percent(test.effect.value)} of pairs ({rate_range(test.effect)})"
    )
    fair = {
        "different": "the two sets differ in what needs no encoder",
        "alike": "no difference was found that needs no encoder",
        "too few": "too few pictures to try whether the control is a fair one",
    }[comparison.fairness]
    negative = comparison.negative_control
    if negative is None:
        yield f"{fair}; no reference encoder took part"
    else:
        tells = "does not tell" if negative.outcome == "silent" else "tells"
        yield f"{fair}; {' and '.join(negative.references)} {tells} them apart"
    if comparison.grade in {"evidence", "weak evidence"}:
        share = result.share
        if share is not None and share.low > 0:
            yield f"at least {percent(share.low)} of the pictures were used (95 % confidence)"
        else:
            yield f"how much of them was used {_CANNOT_BE_TOLD}"


def _too_few(test: Comparison) -> str:
    """Why the sets give no p-value that is small enough."""
    sizes = test.n_series or (test.n_suspects, test.n_control)
    if min(sizes) >= test.n_minimum:
        return "their scores are equal, or too often so, and equal scores decide nothing"
    unit = "pictures" if test.n_series is None else "series of pictures"
    return f"it takes {test.n_minimum:,} {unit} in each set, or many more in one"


def _why_no_conclusion(comparison: AgainstControl, test: Comparison) -> tuple[str, tuple[str, ...]]:
    """The answer in a line, and what it means."""
    negative, blind = comparison.negative_control, comparison.blind.outcome
    unfair = "The control is no fair one, so nothing follows from the comparison."
    if test.outcome == "too few":
        if min(test.n_series or (test.n_suspects, test.n_control)) >= test.n_minimum:
            return "The scores are equal, or too often so, for an answer.", ()
        return "There are too few pictures for an answer.", ()
    if negative is not None and negative.outcome == "speaks":
        why = (
            "An encoder that saw neither set tells the two apart: they differ in their content. "
            "Compare with pictures that differ in nothing but that they cannot have been used."
        )
        return unfair, (why,)
    if comparison.captions and comparison.captions.outcome == "different":
        why = (
            "The two sets differ in what their captions say, or how they are written. Compare with "
            "pictures whose captions differ in nothing else, or go by the pictures alone "
            "(--captions none)."
        )
        return unfair, (why,)
    if blind == "different":
        why = (
            "The two sets differ in what can be seen without the encoder: in their kind, their "
            "size or how they were saved. Compare with pictures that differ in nothing but that "
            "they cannot have been used; or name an encoder that saw neither with --reference, "
            "which tells whether the difference reaches the scores."
        )
        return unfair, (why,)
    untried = "They score higher, but whether the control is a fair one could not be tried."
    return untried, ()


def _one_by_one(audit: Audit) -> Answer:
    run = audit.run
    if not run.inferrers:
        title = "Similarity alone decides nothing, and no inferrer took part."
        similarity = (
            "The mean similarity below says how alike the encoder finds changed copies of a "
            "picture. It runs higher for pictures that it was trained on, but differs far more by "
            "what is in them."
        )
        return Answer(_BY_ITSELF, _NOT_ASKED, "open", title, (similarity,), rests_on=_scores(audit))
    if audit.levels is None or not audit.calibrations:
        return _uncalibrated(audit)
    return _calibrated(audit, audit.calibrations[0], audit.levels)


def _uncalibrated(audit: Audit) -> Answer:
    counts = [f"{audit.n_predicted(facts.name):,} by {facts.name}" for facts in audit.run.inferrers]
    title = "Scores alone decide nothing."
    hints = (
        f"Of {count(len(audit.scored), 'picture')}, this many read as used: {', '.join(counts)}. "
        "How often the method errs on this encoder is not known, so these are hints: pictures that "
        "an encoder never saw read so too, and how many do differs from one encoder to the next."
    )
    remedy = (
        "A calibration with pictures that it cannot have been trained on turns hints into "
        "verdicts with a known rate of error; see “Calibration” below."
    )
    return Answer(_BY_ITSELF, _NOT_ASKED, "open", title, (hints, remedy), rests_on=_scores(audit))


def _scores(audit: Audit) -> tuple[str, ...]:
    """What there is without a control and without a calibration."""
    inferrers = audit.run.inferrers
    by = ", ".join(facts.name for facts in inferrers) or "mean similarity"
    pictures = count(len(audit.scored), "picture")
    lines = [f"{pictures}, scored by {by}; no control and no calibration"]
    first = inferrers[0].name if inferrers else None
    places = audit.places()
    scores = {ranking_key(place.row, first)[0] for place in (*places[:1], *places[-1:])}
    if len(scores) == 1 and len(audit.scored) > 1:
        lines.append("all of them are equal, so that their order says nothing either")
    return tuple(lines)


def _calibrated(audit: Audit, facts: CalibrationFacts, levels: Levels) -> Answer:
    """By the first inferrer that has a calibration; of the others, only what they count."""
    non_members = count(facts.n_null, "known non-member")
    known = (f"by {facts.inferrer} and {non_members} of {facts.nonmembers.name}",)
    if facts.is_of_another_kind:
        title = "The known non-members are pictures of another kind."
        why = (
            "The two can be told apart without the encoder: by their kind, their size or how they "
            "were saved. So what is known of the one says nothing of the other. Calibrate again "
            "with pictures like these that cannot have been used."
        )
        if facts.captions and facts.captions.outcome == "different":
            title = "The captions of the known non-members are written in another way."
            why = (
                "An inferrer that reads captions sees that too, so what is known of the one says "
                "nothing of the other. Calibrate again with captions like these."
            )
        return Answer(_BY_ITSELF, _CANNOT_BE_SAID, "open", title, (why,), rests_on=known)
    if not can_decide(facts, levels):
        title = "Too few pictures are known that cannot have been used."
        how_many = (
            f"{facts.n_null:,} of them were compared with, and at an FPR of {percent(levels.fpr)} "
            f"it takes {needed(levels.fpr):,}."
        )
        return Answer(_BY_ITSELF, _CANNOT_BE_SAID, "open", title, (how_many,), rests_on=known)
    n, n_picked = audit.n_scored(facts.inferrer), audit.n_picked(facts.inferrer)
    counts = audit.n_verdicts(facts.inferrer)
    the_rest = (
        f"{counts['non-member']:,} are called non-members; of {counts[_UNKNOWN]:,} it can’t tell."
    )
    picked = (
        "None can be picked out with the stated share of errors: what is called a member here may "
        "all be chance."
    )
    k = counts["member"]
    fewest = fewest_picked(facts.n_null, n, levels.fdr)
    if not n_picked and fewest > k:
        picked = (
            f"With {facts.n_null:,} known non-members none of {n:,} can be picked out unless at "
            f"least {fewest:,} stand out together: what is called a member here may all be chance."
        )
    if n_picked:
        picked = (
            f"{n_picked:,} can be picked out such that on average at most {percent(levels.fdr)} of "
            "the picked ones were not used. The table at the end says which."
        )
    kind = (
        f"That many would be called members if none had been used, by {facts.n_null:,} pictures "
        "that cannot have been used, as far as those are of their kind."
    )
    at_odds = "; against the control they do not stand out" if _is_at_odds(audit, facts) else ""
    return Answer(
        f"{_BY_ITSELF}, by {facts.inferrer}",
        "Evidence for some" if n_picked else "No evidence",
        "evidence" if n_picked else "none",
        f"{found_and_chance(audit, facts, levels)}{at_odds}.",
        (kind, the_rest, picked, *_beside(audit, facts, levels)),
        rests_on=(*known, *_share(facts)),
    )


_UNKNOWN: Literal["can't tell"] = "can't tell"


def _share(facts: CalibrationFacts) -> Iterator[str]:
    """How much of the pictures was used, which takes known members."""
    if facts.share is not None and facts.share.value is not None:
        share = facts.share
        yield (
            f"about {percent(share.value or 0)} of the pictures were used (95 % interval "
            f"{percent(share.low)} to {percent(share.high)})"
        )
    elif facts.members is not None:
        yield f"how much of them was used {_CANNOT_BE_TOLD}"


def _beside(audit: Audit, facts: CalibrationFacts, levels: Levels) -> tuple[str, ...]:
    """What else the run holds that bears on the answer by one inferrer."""
    others = [
        f"{found_and_chance(audit, other, levels)}, by {other.inferrer}"
        for other in audit.calibrations
        if other.inferrer != facts.inferrer
    ]
    same_views = (
        f"By other inferrers: {'; '.join(others)}. They read the same views, so "
        "they are no further evidence."
    )
    unlike = (
        "Against the control the same scores do not stand out. Then the known non-members may be "
        "of another kind than these pictures, and the stated rates of error would not hold."
    )
    is_at_odds = _is_at_odds(audit, facts)
    return (*([unlike] if is_at_odds else []), *([same_views] if others else []))


def _is_at_odds(audit: Audit, facts: CalibrationFacts) -> bool:
    """Whether the calibration picks some, and the control shows nothing."""
    comparison = audit.comparison
    shows_nothing = comparison is not None and comparison.grade == "no evidence"
    return shows_nothing and audit.n_picked(facts.inferrer) > 0
