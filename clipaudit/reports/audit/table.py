"""What a person sees: the answer, the ends of the ranking, what was skipped, and a summary.

Columns leave, where the screen is narrow, in this order: copies, the similarity of the reference,
the similarity; of each inferrer, from the last one to the first, what stands beside its score (the
p-value, then the prediction) and then all of it; of the first one, at the very end, the score where
there is a verdict. The file and the verdict of the first inferrer, or else its score, stay.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Group
from rich.text import Text

from clipaudit.encoders.expectation import expectation_line
from clipaudit.reports.answer import answers, notices, question
from clipaudit.reports.next_step import command_lines
from clipaudit.reports.tables import (
    LEAST_NAME,
    Column,
    Facts,
    FileName,
    answer_box,
    fitted_table,
    panel,
    plain_text,
)
from clipaudit.reports.wording import (
    LIKE,
    captions_lines,
    control_lines,
    meaning,
    short_verdicts,
    uncalibrated_lines,
    verdict_facts,
    views_lines,
)
from clipaudit.text.escaping import common_folder, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.panel import Panel

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.results.audit import Audit, InferrerFacts
    from clipaudit.results.evidence import AgainstControl
    from clipaudit.results.rows import Finding, Place, Row

N_SHOWN = 10
_MOST_LINES = 12
"""Lines of the summary, its box included, where no details are wanted."""

_COLOURS = {"evidence": "yellow", "none": "green", "open": "cyan"}
_LEAST_REASON = 16


def dump(audit: Audit, file: BinaryIO, *, details: bool = False) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100; see `reports.formats.Dump`."""
    text = plain_text(partial(show, audit, details=details))
    file.write(text.encode(errors="backslashreplace"))


def show(audit: Audit, console: Console, n_shown: int = N_SHOWN, *, details: bool = False) -> None:
    """Print the table, in the width and the colours of the console.

    Args:
        audit: What to print.
        console: The console to print on.
        n_shown: Images at each end of the ranking, and skipped files.
        details: Whether to print all facts of the run, and not the first of them alone.
    """
    places, width = audit.places(), console.width
    folder = common_folder(row.path for row in audit)
    parts: list[RenderableType] = [_answer(audit, width)]
    if folder:
        parts.append(Text.assemble("\nFiles in ", (shown(folder), "bold")))
    columns = picture_columns(places, audit, folder, n_shown)
    for title, rows in _ends(audit, len(places), n_shown):
        parts += [Text(), fitted_table(columns, width, title, rows)]
    if audit.skipped:
        parts += [Text(), _skipped(audit.skipped, n_shown, folder, width)]
        if len(audit.skipped) > n_shown:
            rest = f"… and {len(audit.skipped) - n_shown:,} more; --format csv lists all"
            parts.append(Text(rest, style="dim"))
    parts.append(Text())
    if details:
        parts.append(_details(audit))
    else:
        facts = Facts()
        for name, lines in _first_facts(audit):
            facts.add(name, *lines)
        more = Text("--details has all that this rests on", style="dim")
        parts.append(panel("Summary", facts.fitted(console, width - 4, _MOST_LINES - 3), more))
    if details and audit.comparison is not None:
        parts.append(_control(audit.comparison))
    console.print(Group(*parts))


def _answer(audit: Audit, width: int) -> Group:
    first, *others = answers(audit)
    parts: list[RenderableType] = [Text(shown(question(audit.run)))]
    parts += [Text(notice, style="bold yellow") for notice in notices(audit)]
    colour = _COLOURS[first.tone]
    parts.append(Text(shown(first.sentence), style=f"bold {colour}"))
    parts += [Text(shown(line)) for line in (first.rests_on or first.lines)]
    parts += [Text(shown(f"{other.question}: {other.sentence}")) for other in others]
    if (step := first.next_step) is not None:
        parts.append(Text(shown(f"Next ({step.reason}):"), style="dim"))
        parts += [Text(line, style="bold") for line in command_lines(step.words, width)]
    return answer_box("The answer", *parts, colour=colour)


def _ends(audit: Audit, n: int, n_shown: int) -> Iterator[tuple[str, slice]]:
    """Titles and rows of `picture_columns`: all, or both ends of the ranking."""
    different = "" if n == len(audit.scored) else " different"
    if n > 2 * n_shown:
        of = f"{n_shown} of {n:,}{different}"
        yield f"Most like members ({of})", slice(0, n_shown)
        yield f"Least like members ({of})", slice(n_shown, None)
    elif n == 1:
        yield f"1{different} image", slice(None)
    elif n:
        yield f"All {n:,}{different} images, most like members first", slice(None)


def picture_columns(
    places: Sequence[Place], audit: Audit, folder: str, n_shown: int = N_SHOWN
) -> list[Column]:
    """The table of the pictures at both ends of the ranking, with all columns that there may be.

    Args:
        places: All pictures.
        audit: The audit that they are of.
        folder: What is left out of their names.
        n_shown: Pictures at each end.
    """
    run = audit.run
    if len(places) > 2 * n_shown:
        places = [*places[:n_shown], *places[-n_shown:]]
    names = [FileName(place.row.path.removeprefix(folder)) for place in places]
    columns = [Column("file", names, least=LEAST_NAME)]
    if any(place.n_copies for place in places):
        more = [f"+ {place.n_copies:,}" if place.n_copies else "" for place in places]
        columns.append(Column("copies", more, leaves=1, is_number=True, style="dim"))
    if run.n_views:
        means = [_mean(place.row.mean_similarity) for place in places]
        columns.append(Column(f"mean\n{run.similarity}", means, leaves=3, is_number=True))
    if run.n_views and run.references:
        signals = (place.row.reference for place in places)
        means = [_mean(signal.mean_similarity if signal else None) for signal in signals]
        columns.append(Column("of the\nreference", means, leaves=2, is_number=True))
    n = len(run.inferrers)
    calibrated = {facts.inferrer for facts in audit.calibrations}
    for number, facts in enumerate(run.inferrers):
        findings = [place.row.finding(facts.name) for place in places]
        first_to_leave = 4 + 3 * (n - 1 - number)
        columns += _of_an_inferrer(
            facts, findings, first_to_leave, facts.name in calibrated, is_first=number == 0
        )
    return columns


def _of_an_inferrer(
    facts: InferrerFacts,
    findings: Sequence[Finding | None],
    leaves: int,
    is_calibrated: bool,
    *,
    is_first: bool,
) -> Iterator[Column]:
    """Score, and p-value and verdict, or the uncalibrated prediction."""
    scores = [Text(_NO_CAPTION if found is None else f"{found.score:.3f}") for found in findings]
    heading = _in_lines(shown(facts.name))
    last = None if is_first else leaves + 2
    if not is_calibrated:
        yield Column(heading, scores, leaves=last, is_number=True)
        words = [LIKE[found.prediction] if found else "" for found in findings]
        yield Column("uncalibrated", words, leaves=leaves + 1, style="dim")
        return
    yield Column(heading, scores, leaves=leaves + 1, is_number=True)
    p_values = [_p(found.p_value) if found else "" for found in findings]
    yield Column("p", p_values, leaves=leaves, is_number=True)
    yield Column("verdict", [_verdict(found) for found in findings], leaves=last)


_NO_CAPTION = "no caption"
_WIDEST_HEADING = 12


def _in_lines(name: str) -> str:
    """A name of parts with hyphens, in lines that are not much wider than a score."""
    lines, line = [], ""
    for part in name.split("-"):
        if line and len(f"{line}-{part}") > _WIDEST_HEADING:
            lines.append(f"{line}-")
            line = part
        else:
            line = f"{line}-{part}" if line else part
    return "\n".join([*lines, line])


def _mean(similarity: float | None) -> str:
    return "" if similarity is None else f"{similarity:.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value >= 0.0001 else "<.0001"


def _verdict(found: Finding | None) -> Text:
    if found is None or found.verdict is None:
        return Text()
    return Text(found.verdict, style="bold yellow" if found.verdict == "member" else "dim")


def _skipped(rows: Sequence[Row], n_shown: int, folder: str, width: int) -> Group:
    names = [FileName(row.path.removeprefix(folder)) for row in rows[:n_shown]]
    reasons = [_why(row.error or "unknown") for row in rows[:n_shown]]
    columns = [
        Column("file", names, least=LEAST_NAME),
        Column("why", reasons, least=_LEAST_REASON),
    ]
    return fitted_table(columns, width, f"Skipped ({len(rows):,})")


def _why(error: str) -> str:
    reason, colon, explanation = error.partition(":")
    return shown(reason.replace("_", " ") + colon + explanation)


def _files(audit: Audit) -> Iterator[tuple[str, Sequence[str]]]:
    n, n_scored, n_skipped = len(audit), len(audit.scored), len(audit.skipped)
    yield "Files", (f"{n:,} read, {n_scored:,} scored, {n_skipped:,} skipped",)
    if audit.skipped:
        reasons = (f"{count:,} {_why(reason)}" for reason, count in audit.skip_reasons().items())
        yield "Skipped", (", ".join(reasons),)


def _first_facts(audit: Audit) -> Iterator[tuple[str, Sequence[str]]]:
    """What a reader wants to know before all else, the first thing first."""
    run = audit.run
    yield from _files(audit)
    if audit.levels:
        yield from short_verdicts(audit, audit.levels)
    yield "Encoder", (f"{run.encoder.spec}, output {run.encoder.output}",)
    for reference in run.references:
        yield "Reference", (reference.spec,)
    if run.inferrers:
        yield "Scored by", (", ".join(facts.name for facts in run.inferrers),)
    yield "Note", audit.calibration_notes
    yield "Note", run.notes
    yield "Views", tuple(views_lines(run, run.similarity))[:1]
    yield "Captions", tuple(captions_lines(run.captions))[:2] if run.captions else ()
    yield "Time", (_time(audit),)
    yield "To hope for", (expectation_line(run.encoder.spec),)


def _details(audit: Audit) -> Panel:
    run = audit.run
    facts = Facts()
    for name, lines in _files(audit):
        facts.add(name, *lines)
    for name, lines in verdict_facts(audit, audit.levels) if audit.levels else ():
        facts.add(name, *lines)
    if others := audit.uncalibrated:
        facts.add("Read as members", *(_predicted(audit, name) for name in others))
        facts.add("Uncalibrated", *uncalibrated_lines(run, others))
    facts.add("Note", *audit.calibration_notes)
    for name, encoder in run.named_encoders:
        facts.add(name, *_encoder(encoder))
    facts.add("To hope for", expectation_line(run.encoder.spec))
    facts.add("Views", *views_lines(run, run.similarity))
    if run.captions:
        facts.add("Captions", *captions_lines(run.captions))
    facts.add("Note", *run.notes)
    training = {inferrer.trained_on for inferrer in run.inferrers}
    for inferrer in run.inferrers:
        trained_on = [] if len(training) == 1 else [f"trained on {inferrer.trained_on}"]
        facts.add(f"Inferrer {inferrer.name}", *trained_on, inferrer.evidence)
    if len(training) == 1:
        facts.add("Trained on", *training)
    facts.add("Time", _time(audit))
    return panel("Summary", facts, Text(), Text(_meaning(audit), style="italic"))


def _control(comparison: AgainstControl) -> Panel:
    facts = Facts()
    for name, lines in control_lines(comparison):
        facts.add(name, *lines)
    sentence = Text(comparison.sentence, style="bold")
    return panel("Suspects against control", sentence, Text(), facts)


def _predicted(audit: Audit, name: str) -> Text:
    count, total = audit.n_predicted(name), audit.n_scored(name)
    share = f" ({100 * count / total:.1f} %)" if total else ""
    return Text.assemble((f"{count:,} of {total:,}", "bold"), f"{share} by {shown(name)}")


def _encoder(encoder: EncoderInfo) -> Iterable[str]:
    yield f"{encoder.spec}, output {encoder.output}"
    yield f"{encoder.backend} on {encoder.device}, fingerprint {encoder.fingerprint[:12]}"


def _time(audit: Audit) -> str:
    seconds = audit.run.seconds
    spent = f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    rate = f", {len(audit) / seconds:.1f} images/s" if seconds > 0 and len(audit) else ""
    known = audit.run.n_from_store
    return f"{spent}{rate}" + (f", {known:,} known from an earlier run" if known else "")


def _meaning(audit: Audit) -> str:
    encoder, inferrers = shown(audit.run.encoder.spec), audit.run.inferrers
    if audit.levels and len(audit.calibrations) == len(inferrers):
        return meaning(audit.levels)
    if not inferrers:
        return (
            f"Mean similarity says how alike {encoder} embeds random views of a picture. Members "
            "tend to run higher, but pictures differ far more by content: it proves nothing."
        )
    return (
        "A prediction is a hint, not a proof: its threshold comes from the shadow encoder named "
        f"above and is not calibrated for {encoder}, so pictures that this encoder never saw may "
        "read as members, and nothing here proves that one picture was used."
    )
