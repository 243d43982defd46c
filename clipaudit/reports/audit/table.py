"""What a person sees: the ends of the ranking, what was skipped, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rich.cells import cell_len
from rich.console import Group
from rich.measure import Measurement
from rich.text import Text

from clipaudit.encoders.expectation import expectation_line
from clipaudit.reports.tables import Facts, panel, plain_text, titled_table
from clipaudit.reports.wording import (
    captions_lines,
    control_lines,
    copies,
    meaning,
    uncalibrated_lines,
    verdict_facts,
    views_lines,
)
from clipaudit.text.escaping import common_folder, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.panel import Panel
    from rich.table import Table

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.results.audit import Audit, Finding, Place, Row, Run
    from clipaudit.results.evidence import AgainstControl

N_SHOWN = 10


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100; see `reports.formats.Dump`."""
    file.write(plain_text(partial(show, audit)).encode(errors="backslashreplace"))


def show(audit: Audit, console: Console, n_shown: int = N_SHOWN) -> None:
    """Print the table, in the width and the colours of the console.

    Args:
        audit: What to print.
        console: The console to print on.
        n_shown: Images at each end of the ranking, and skipped files.
    """
    places, n = audit.places(), len(audit.scored)
    folder = common_folder([row.path for row in audit])
    wide = console.width >= 70 + 18 * len(audit.run.inferrers)
    parts: list[RenderableType] = []
    if folder:
        parts.append(Text.assemble("Files in ", (shown(folder), "bold"), "\n"))
    different = "" if len(places) == n else " different"
    if not places:
        parts.append(Text("No image was scored.\n", style="bold"))
    elif len(places) <= 2 * n_shown:
        everything = (
            f"1{different} image" if len(places) == 1 else f"All {len(places):,}{different} images"
        )
        title = everything + (", most like members first" if len(places) > 1 else "")
        parts.append(_images(title, places, audit.run, folder, wide))
    else:
        of = f"{n_shown} of {len(places):,}{different}"
        most, least = places[:n_shown], places[-n_shown:]
        parts.append(_images(f"Most like members ({of})", most, audit.run, folder, wide))
        parts.append(_images(f"Least like members ({of})", least, audit.run, folder, wide))
    if audit.skipped:
        parts.append(_skipped(audit.skipped, n_shown, folder))
    parts.append(_summary(audit))
    if audit.comparison is not None:
        parts.append(_control(audit.comparison))
    console.print(Group(*parts))


def _images(title: str, places: Sequence[Place], run: Run, folder: str, wide: bool) -> Table:
    table = titled_table(title, expand=True)
    table.add_column("file", ratio=1)
    if run.n_views:
        table.add_column(f"mean\n{run.similarity}", justify="right")
    if run.n_views and run.references:
        table.add_column("of the\nreference", justify="right")
    for facts in run.inferrers:
        table.add_column(Text(shown(facts.name)))
    for _, row, n_copies in places:
        means = [row.mean_similarity] if run.n_views else []
        if run.n_views and run.references:
            means.append(row.reference.mean_similarity if row.reference else None)
        similarities = ("" if mean is None else f"{mean:.4f}" for mean in means)
        findings = (row.finding(facts.name) for facts in run.inferrers)
        cells = (_verdict(finding, wide) if finding else _NO_CAPTION for finding in findings)
        name = row.path.removeprefix(folder) + (f" (+ {copies(n_copies)})" if n_copies else "")
        table.add_row(_FileName(name), *similarities, *cells)
    return table


def _verdict(finding: Finding, wide: bool) -> Text:
    """The score and the verdict, or the prediction, aligned so that a column reads down."""
    if finding.verdict is not None and finding.p_value is not None:
        word = finding.verdict if wide else _SHORT[finding.verdict]
        style = "bold yellow" if finding.verdict == "member" else "dim"
        p = f"p {finding.p_value:.4f}" if finding.p_value >= 0.0001 else "p <.0001"
        return Text(f"{finding.score:7.3f} {p} {word}", style=style)
    member = finding.prediction == "member"
    word = finding.prediction if wide else ("member" if member else "non")
    return Text(f"{finding.score:7.3f} {word}", style="bold yellow" if member else "dim")


_NO_CAPTION = Text("no caption", style="dim")
_SHORT = {"member": "member", "non-member": "non", "can't tell": "?"}


def _skipped(rows: Sequence[Row], n_shown: int, folder: str) -> Table:
    table = titled_table(f"Skipped ({len(rows):,})", expand=True)
    table.add_column("file", ratio=1)
    table.add_column("why", ratio=1, overflow="fold")
    for row in rows[:n_shown]:
        table.add_row(_FileName(row.path.removeprefix(folder)), Text(_why(row.error or "unknown")))
    if len(rows) > n_shown:
        table.add_row(Text(f"… and {len(rows) - n_shown:,} more; --format csv lists all"), "")
    return table


def _why(error: str) -> str:
    reason, colon, explanation = error.partition(":")
    return shown(reason.replace("_", " ") + colon + explanation)


def _summary(audit: Audit) -> Panel:
    run = audit.run
    facts = Facts()
    if run.interrupted:
        partial = "yes: only the files that were done before the stop are here"
        facts.add("Interrupted", Text(partial, style="bold yellow"))
    facts.add(
        "Files",
        f"{len(audit):,} read, {len(audit.scored):,} scored, {len(audit.skipped):,} skipped",
    )
    if audit.skipped:
        reasons = (f"{count:,} {_why(reason)}" for reason, count in audit.skip_reasons().items())
        facts.add("Skipped", ", ".join(reasons))
    for name, lines in verdict_facts(audit, audit.levels) if audit.levels else ():
        facts.add(name, *lines)
    if others := audit.uncalibrated:
        facts.add("Predicted members", *(_predicted(audit, name) for name in others))
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
    return panel("Summary", facts.grid, Text(), Text(_meaning(audit), style="italic"))


def _control(comparison: AgainstControl) -> Panel:
    facts = Facts()
    for name, lines in control_lines(comparison):
        facts.add(name, *lines)
    sentence = Text(comparison.sentence, style="bold")
    return panel("Suspects against control", sentence, Text(), facts.grid)


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


@dataclass(frozen=True, slots=True)
class _FileName:
    """A file's name in one line; where it is too long, its end, which tells most."""

    path: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        length = cell_len(shown(self.path))
        return Measurement(min(length, 12), length).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = shown(self.path)
        if cell_len(name) > options.max_width:
            while name and cell_len(name) > options.max_width - 1:
                name = name[1:]
            name = "…" + name
        yield Text(name, no_wrap=True, end="")
