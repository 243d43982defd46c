"""An `Audit` in the words of the HTML report, first part: the answer.

For readers who know pictures and papers, not statistics. It claims what the other formats claim,
and no more; the sentence to quote is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipaudit.reports.wording import can_decide
from clipaudit.statistics.calibration import called_by_chance, fewest_picked
from clipaudit.text.numbers import count, percent
from clipaudit.verdicts.by_control import ALPHA

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit, Run
    from clipaudit.results.evidence import AgainstControl, CalibrationFacts
    from clipaudit.statistics.conformal import Levels

Tone = Literal["evidence", "none", "open"]
"""Something was found; nothing was; or nothing can be said."""

_BY_ITSELF = "Every picture, by itself"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the run says on one question.

    Attributes:
        question: On what: the pictures as a set, or each by itself.
        badge: The answer in two words.
        tone: Kind of answer.
        title: The answer in a line.
        lines: What it means.
        quote: The sentence to quote, with its numbers; empty where there is none.
    """

    question: str
    badge: str
    tone: Tone
    title: str
    lines: tuple[str, ...]
    quote: str = ""


def question(run: Run) -> str:
    """What the run was to find out."""
    return f"Were these pictures used to train {run.encoder.spec}?"


def answers(audit: Audit) -> tuple[Answer, ...]:
    """The verdict on all pictures as a set, where there is one, then that on each of them."""
    if not audit.scored:
        read = f"Of {count(len(audit), 'file')} none gave a picture that can be scored."
        title = "No picture could be scored."
        return (Answer(_BY_ITSELF, "No verdict", "open", title, (read,)),)
    as_a_set = (_as_a_set(audit.comparison),) if audit.comparison else ()
    return (*as_a_set, _one_by_one(audit))


def notices(audit: Audit) -> tuple[str, ...]:
    """What a reader must know before anything else."""
    stopped = (
        "This run was stopped before its end. Only the files that were done by then are here, "
        "and everything below is of them alone."
    )
    return (stopped,) if audit.run.interrupted else ()


def _as_a_set(comparison: AgainstControl) -> Answer:
    of, quote, grade = "All pictures, as a set", comparison.sentence, comparison.grade
    test = comparison.by_inferrer[0].unpaired
    if grade == "no conclusion":
        badge, title, lines = _why_no_conclusion(comparison)
        return Answer(of, badge, "open", title, lines, quote)
    if grade == "no evidence":
        title = "As a set, they were not shown to score higher than unused pictures."
        faint = (
            "That is no evidence that they were used, and none that they were not: a faint trace "
            "escapes a test of this size."
        )
        return Answer(of, "No evidence", "none", title, (faint,), quote)
    if test.p > ALPHA:  # a result that we would not write
        title = "They score higher, but chance alone would do as much too often."
        return Answer(of, "No evidence", "none", title, (), quote)
    title = "As a set, they score higher than pictures that cannot have been used."
    if grade == "weak evidence":
        differs = (
            "The two sets also differ in what can be seen without the encoder. An encoder that saw "
            "neither does not see that difference, so it is not likely to be what was found; but "
            "compare with pictures that do not differ, if you can."
        )
        return Answer(of, "Weak evidence", "evidence", title, (differs,), quote)
    other = (
        "Chance alone is a poor explanation. Another one remains, which numbers cannot rule out: "
        "that these pictures differ from the control in more than having been used."
    )
    return Answer(of, "Evidence", "evidence", title, (other,), quote)


def _why_no_conclusion(comparison: AgainstControl) -> tuple[str, str, tuple[str, ...]]:
    """The answer in two words and in a line, and what it means."""
    negative, blind = comparison.negative_control, comparison.blind.outcome
    unfair = "The control is no fair one, so nothing follows from the comparison."
    if comparison.by_inferrer[0].outcome == "too few":
        return "No conclusion", "There are too few pictures for an answer.", ()
    if negative is not None and negative.outcome == "speaks":
        why = (
            "An encoder that saw neither set tells the two apart: they differ in their content. "
            "Compare with pictures that differ in nothing but that they cannot have been used."
        )
        return "No conclusion", unfair, (why,)
    if comparison.captions and comparison.captions.outcome == "different":
        why = (
            "The two sets differ in what their captions say, or how they are written. Compare with "
            "pictures whose captions differ in nothing else, or go by the pictures alone "
            "(--captions none)."
        )
        return "No conclusion", unfair, (why,)
    if blind == "different":
        why = (
            "The two sets differ in what can be seen without the encoder: in their kind, their "
            "size or how they were saved. Compare with pictures that differ in nothing but that "
            "they cannot have been used; or name an encoder that saw neither with --reference, "
            "which tells whether the difference reaches the scores."
        )
        return "No conclusion", unfair, (why,)
    untried = "They score higher, but whether the control is a fair one could not be tried."
    return "Cannot be said", untried, ()


def _one_by_one(audit: Audit) -> Answer:
    run = audit.run
    if not run.inferrers:
        title = "There is no verdict, because no inferrer took part."
        similarity = (
            "The mean similarity below says how alike the encoder finds changed copies of a "
            "picture. It runs higher for pictures that it was trained on, but differs far more by "
            "what is in them."
        )
        return Answer(_BY_ITSELF, "No verdict", "open", title, (similarity,))
    if audit.levels is None or not audit.calibrations:
        return _uncalibrated(audit)
    return _calibrated(audit, audit.calibrations[0], audit.levels)


def _uncalibrated(audit: Audit) -> Answer:
    counts = [f"{audit.n_predicted(facts.name):,} by {facts.name}" for facts in audit.run.inferrers]
    title = "There is no verdict: how often the method errs on this encoder is not known."
    hints = (
        f"Of {count(len(audit.scored), 'picture')}, this many read as used: {', '.join(counts)}. "
        "These are hints: pictures that an encoder never saw read so too, and how many do differs "
        "from one encoder to the next."
    )
    remedy = (
        "A calibration with pictures that it cannot have been trained on turns hints into "
        "verdicts with a known rate of error; see “Calibration” below."
    )
    return Answer(_BY_ITSELF, "No verdict", "open", title, (hints, remedy))


def _calibrated(audit: Audit, facts: CalibrationFacts, levels: Levels) -> Answer:
    """By the first inferrer that has a calibration; of the others, only what they count."""
    if facts.is_of_another_kind:
        title = "There is no verdict: the known non-members are pictures of another kind."
        why = (
            "The two can be told apart without the encoder: by their kind, their size or how they "
            "were saved. So what is known of the one says nothing of the other. Calibrate again "
            "with pictures like these that cannot have been used."
        )
        return Answer(_BY_ITSELF, "No verdict", "open", title, (why,))
    if not can_decide(facts, levels):
        title = "There is no verdict: too few pictures are known that cannot have been used."
        how_many = (
            f"{facts.n_null:,} of them were compared with. See “Calibration” below for how many "
            "it takes."
        )
        return Answer(_BY_ITSELF, "No verdict", "open", title, (how_many,))
    n, n_picked = len(audit.scored), audit.n_picked(facts.inferrer)
    counts = audit.n_verdicts(facts.inferrer)
    chance = called_by_chance(facts.n_null, levels.fpr, n)
    by_chance = (
        f"If none of them had been used, about {chance.value:.1f} would be called members all the "
        f"same (in 95 % of cases {chance.low:.0f} to {chance.high:.0f}, by {facts.n_null:,} "
        "pictures that cannot have been used), as far as those are of their kind."
    )
    the_rest = (
        f"{counts['non-member']:,} are called non-members; of {counts[_UNKNOWN]:,} it can’t tell."
    )
    badge = "Some stand out" if n_picked else "None stands out"
    picked = (
        "None can be picked out with the stated share of errors: what is called a member here may "
        "all be chance."
    )
    k = counts["member"]
    fewest = fewest_picked(facts.n_null, n, levels.fdr)
    if not n_picked and fewest > k:
        badge = "None can be picked out"
        picked = (
            f"With {facts.n_null:,} known non-members none of {n:,} can be picked out unless at "
            f"least {fewest:,} stand out together: what is called a member here may all be chance."
        )
    if n_picked:
        picked = (
            f"{n_picked:,} can be picked out such that on average at most {percent(levels.fdr)} of "
            "the picked ones were not used. The table at the end says which."
        )
    called = f"{k:,} are called members" if k > 1 else f"{k or 'None'} is called a member"
    return Answer(
        f"{_BY_ITSELF}, by {facts.inferrer}",
        badge,
        "evidence" if n_picked else "none",
        f"{called}, of {count(n, 'picture')}.",
        (by_chance, the_rest, picked, *_beside(audit, facts)),
    )


_UNKNOWN: Literal["can't tell"] = "can't tell"


def _beside(audit: Audit, facts: CalibrationFacts) -> tuple[str, ...]:
    """What else the run holds that bears on the answer by one inferrer."""
    others = [
        f"{audit.n_verdicts(other.inferrer)['member']:,} by {other.inferrer}"
        for other in audit.calibrations
        if other.inferrer != facts.inferrer
    ]
    same_views = (
        f"Called members by other inferrers: {', '.join(others)}. They read the same views, so "
        "they are no further evidence."
    )
    unlike = (
        "Against the control the same scores do not stand out. Then the known non-members may be "
        "of another kind than these pictures, and the stated rates of error would not hold."
    )
    comparison = audit.comparison
    is_at_odds = (
        comparison is not None
        and comparison.grade == "no evidence"
        and audit.n_picked(facts.inferrer) > 0
    )
    return (*([unlike] if is_at_odds else []), *([same_views] if others else []))
