"""An `Audit` in the words of the HTML report, second part: how the answer was reached, and limits.

For readers who know pictures and papers, not statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.reports.wording import (
    captions_lines,
    control_lines,
    meaning,
    uncalibrated_lines,
    verdict_facts,
)
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.audit import Audit, CaptionsRead, Run

Fact = tuple[str, tuple[str, ...]]
"""A name, and lines."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of how the answer was reached.

    Attributes:
        title: What was done.
        text: What that is good for.
        facts: What came out.
    """

    title: str
    text: str
    facts: tuple[Fact, ...] = ()


def steps(audit: Audit) -> tuple[Step, ...]:
    """How the answer was reached, with every number that it rests on."""
    run = audit.run
    calibration = (_calibration(audit),) if run.inferrers else ()
    return (
        _files(audit),
        _views(run),
        *((_captions(run.captions),) if run.captions else ()),
        _encoder(run),
        _scores(run),
        *calibration,
        _control(audit),
    )


def _files(audit: Audit) -> Step:
    n_scored, n_different = len(audit.scored), len({row.sha256 for row in audit.scored})
    lines = [f"{len(audit):,} read, {n_scored:,} scored, {len(audit.skipped):,} skipped"]
    if n_different < n_scored:
        lines.append(f"{n_different:,} of the scored ones are different, the others copies of them")
    lines += [
        f"skipped, {reason.replace('_', ' ')}: {n:,}" for reason, n in audit.skip_reasons().items()
    ]
    text = "Each file is known by the SHA-256 of its bytes. Its name, place and date play no part."
    return Step("Pictures were read", text, (("Files", tuple(lines)),))


def _views(run: Run) -> Step:
    if not run.n_views:
        text = "What scores them reads the picture alone, so no changed copies were made of it."
        return Step("Each picture was taken as it is", text)
    text = (
        "Cut, mirrored, recoloured: such copies are called views. They depend on the file’s "
        "content and the seed, so anyone who repeats the run gets the same ones."
    )
    lines = [f"{run.n_views} of each picture, recipe {run.recipe}, seed {run.seed}"]
    if run.recipe_reason:
        lines.append(f"this recipe because {run.recipe_reason}")
    return Step(
        "Each picture was changed at random, several times", text, (("Views", tuple(lines)),)
    )


def _captions(captions: CaptionsRead) -> Step:
    text = (
        "The encoder was trained on pictures with captions. It tends to know better which caption "
        "belongs to a picture where it was trained on the two. The words stay out of this report."
    )
    facts = (("Captions", tuple(captions_lines(captions))),)
    return Step("Each picture was held against its caption", text, facts)


def _encoder(run: Run) -> Step:
    text = (
        "An encoder turns a picture into numbers. Training pulls the numbers for views of one "
        "picture together, so views of pictures that it was trained on tend to be more alike."
    )
    if run.references:
        text += (
            " A reference encoder, which did not see the pictures, looks at the same views: what "
            "both find alike comes from the picture and not from training."
        )
    facts = tuple(
        (
            name,
            (
                f"{encoder.spec}, output {encoder.output}",
                f"fingerprint of its weights {encoder.fingerprint}",
            ),
        )
        for name, encoder in run.named_encoders
    )
    looked = "every view" if run.n_views else "every picture"
    return Step(f"The encoder looked at {looked}", text, facts)


def _scores(run: Run) -> Step:
    title = "Their likeness became a score"
    if not run.inferrers:
        alone = f"No inferrer took part: the mean {run.similarity} similarity of the views is all."
        return Step(title, alone)
    text = (
        "An inferrer learned, from encoders whose training pictures are known, how that likeness "
        "differs between members (used in training) and non-members. A higher score is more like "
        "a member. It is no percentage, and the error rates beside an inferrer are those on its "
        "own encoders, not on this one."
    )
    facts = []
    for inferrer in run.inferrers:
        reference = " and the reference" if inferrer.reads_reference else ""
        kind = f"kind {inferrer.kind}, reads {inferrer.similarity} similarity{reference}"
        facts.append(
            (inferrer.name, (kind, f"trained on {inferrer.trained_on}", inferrer.evidence))
        )
    return Step(title, text, tuple(facts))


def _calibration(audit: Audit) -> Step:
    facts: list[Fact] = []
    if audit.levels:
        facts += [(name, tuple(lines)) for name, lines in verdict_facts(audit, audit.levels)]
    if others := audit.uncalibrated:
        facts.append(("Uncalibrated", tuple(uncalibrated_lines(audit.run, others))))
    if audit.calibration_notes:
        facts.append(("Note", audit.calibration_notes))
    if not audit.calibrations:
        text = (
            "Without pictures that the encoder cannot have been trained on there is no telling "
            "how high scores run by chance."
        )
        return Step("Calibration: none", text, tuple(facts))
    text = (
        "Pictures that the encoder cannot have been trained on show how high scores run by "
        "chance. The p-value of a picture says how often one of them scores as high or higher."
    )
    title = "Calibration: each score was compared with those of known non-members"
    return Step(title, text, tuple(facts))


def _control(audit: Audit) -> Step:
    if audit.comparison is None:
        text = (
            "With pictures of the same kind that cannot have been used (--control FOLDER), the set "
            "as a whole can be judged. That shows traces that are too faint in any one picture."
        )
        return Step("Control: none", text)
    title = "Control: the set was compared with pictures that cannot have been used"
    text = "The question is whether these pictures score higher than those, by more than chance."
    return Step(title, text, tuple(control_lines(audit.comparison)))


def limits(audit: Audit) -> Iterator[tuple[str, str]]:
    """What the answer cannot prove: a heading, and why."""
    surprise = "A result says at most: this would be surprising if the pictures had not been used."
    if audit.levels:
        surprise += f" {meaning(audit.levels)}"
    yield "It does not prove that a picture was used.", surprise
    no_trace = (
        "Many pictures that an encoder was trained on leave no trace that this method sees, the "
        "more so the more pictures it was trained on and the less often it saw each of them."
    )
    yield "It does not prove that a picture was not used.", no_trace
    yield from _limits_of_calibrations(audit)
    yield from _limits_of_the_control(audit)
    copies = (
        "Training on another copy of the same picture, from another site or in another size, "
        "leaves much the same trace. The result is about the picture, not about this file."
    )
    yield "A copy is as good as the original.", copies
    weights = (
        "The encoder is the one with the fingerprint below. A product may use another one, and "
        "what lies behind a service can change."
    )
    yield "It is about these weights.", weights
    if audit.skipped:
        unread = "What could not be read as a picture was not judged; the reasons are listed below."
        yield f"It leaves out {count(len(audit.skipped), 'file')}.", unread
    law = "Whether a use was allowed is no question of numbers, and this report does not touch it."
    yield "It is about training, not about law.", law


def _limits_of_calibrations(audit: Audit) -> Iterator[tuple[str, str]]:
    if others := audit.uncalibrated:
        which = f" ({', '.join(others)})" if audit.calibrations else ""
        elsewhere = (
            "Where the line between member and non-member lies was learned on other encoders. On "
            "this one it may lie wrong by far, and nobody can tell from this run."
        )
        yield f"Predictions are not calibrated{which}.", elsewhere
    if audit.calibrations:
        kinds = (
            "The error rates come from the known non-members. If those are of another kind than "
            "these pictures (photographs against drawings, say), the rates do not hold."
        )
        yield "Verdicts hold for pictures of one kind.", kinds
        if all(facts.members is None for facts in audit.calibrations):
            misses = "No known members took part, so no picture is called a non-member."
            yield "How many members it misses is not known.", misses


def _limits_of_the_control(audit: Audit) -> Iterator[tuple[str, str]]:
    if audit.comparison is None:
        return
    found = {
        "different": "Here the two sets do differ in that.",
        "alike": "Here no such difference was found; there may be others.",
        "too few": "Here that could not be tried.",
    }[audit.comparison.fairness]
    choice = (
        "The comparison takes it that the control differs from the suspects in nothing but that "
        "it cannot have been used. What can be seen without the encoder can be checked. "
        f"{found} The rest is for whoever chose the control to account for."
    )
    yield "A control is as good as its choice.", choice
