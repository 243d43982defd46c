"""What a person sees: the ends of the ranking, what was skipped, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, BinaryIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clipaudit.reports.wording import control_lines, meaning, uncalibrated_lines, verdict_facts
from clipaudit.text.escaping import common_folder, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.results.audit import Audit, Finding, Row, Run
    from clipaudit.results.evidence import AgainstControl

N_SHOWN = 10
_WIDTH_OF_A_PIPE = 100
_MIN_WIDTH = 60


def dump(audit: Audit, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100; see `clipaudit.reports.Dump`."""
    file.write(as_text(audit, get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns).encode())


def as_text(audit: Audit, width: int) -> str:
    """The table without colour, in lines of at most `width` cells."""
    text = StringIO()
    show(audit, Console(file=text, width=max(width, _MIN_WIDTH), color_system=None))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def show(audit: Audit, console: Console, n_shown: int = N_SHOWN) -> None:
    """Print the table, in the width and the colours of the console.

    Args:
        audit: What to print.
        console: Where.
        n_shown: Images at each end of the ranking, and skipped files.
    """
    ranked = audit.ranked()
    folder = common_folder([row.path for row in audit])
    wide = console.width >= 70 + 18 * len(audit.run.inferrers)
    parts: list[RenderableType] = []
    if folder:
        parts.append(Text.assemble("Files in ", (shown(folder), "bold"), "\n"))
    if not ranked:
        parts.append(Text("No image was scored.\n", style="bold"))
    elif len(ranked) <= 2 * n_shown:
        everything = "1 image" if len(ranked) == 1 else f"All {len(ranked):,} images"
        title = everything + (", most like members first" if len(ranked) > 1 else "")
        parts.append(_images(title, ranked, audit.run, folder, wide))
    else:
        of = f"{n_shown} of {len(ranked):,}"
        most, least = ranked[:n_shown], ranked[-n_shown:]
        parts.append(_images(f"Most like members ({of})", most, audit.run, folder, wide))
        parts.append(_images(f"Least like members ({of})", least, audit.run, folder, wide))
    if audit.skipped:
        parts.append(_skipped(audit.skipped, n_shown, folder))
    parts.append(_summary(audit))
    if audit.comparison is not None:
        parts.append(_control(audit.comparison))
    console.print(Group(*parts))


def _images(title: str, rows: Sequence[Row], run: Run, folder: str, wide: bool) -> Table:
    table = _table(title)
    table.add_column("file", ratio=1)
    table.add_column(f"mean\n{run.similarity}", justify="right")
    if run.references:
        table.add_column("of the\nreference", justify="right")
    for facts in run.inferrers:
        table.add_column(Text(shown(facts.name)))
    for row in rows:
        means = [row.mean_similarity]
        if run.references:
            means.append(row.reference.mean_similarity if row.reference else None)
        similarities = ("" if mean is None else f"{mean:.4f}" for mean in means)
        cells = (_verdict(finding, wide) for finding in row.findings)
        table.add_row(_FileName(row.path.removeprefix(folder)), *similarities, *cells)
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


_SHORT = {"member": "member", "non-member": "non", "can't tell": "?"}


def _skipped(rows: Sequence[Row], n_shown: int, folder: str) -> Table:
    table = _table(f"Skipped ({len(rows):,})")
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


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        expand=True,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )


def _summary(audit: Audit) -> Panel:
    run = audit.run
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")

    def fact(name: str, *lines: str | Text) -> None:
        for index, line in enumerate(lines):
            text = Text(shown(line)) if isinstance(line, str) else line
            facts.add_row("" if index else name, text)

    if run.interrupted:
        partial = "yes: only the files that were done before the stop are here"
        fact("Interrupted", Text(partial, style="bold yellow"))
    fact(
        "Files",
        f"{len(audit):,} read, {len(audit.scored):,} scored, {len(audit.skipped):,} skipped",
    )
    if audit.skipped:
        reasons = (f"{count:,} {_why(reason)}" for reason, count in audit.skip_reasons().items())
        fact("Skipped", ", ".join(reasons))
    for name, lines in verdict_facts(audit, audit.levels) if audit.levels else ():
        fact(shown(name), *lines)
    calibrated = {one.inferrer for one in audit.calibrations}
    if others := [one.name for one in run.inferrers if one.name not in calibrated]:
        fact("Predicted members", *(_predicted(audit, name) for name in others))
        fact("Uncalibrated", *uncalibrated_lines(run, others))
    fact("Note", *audit.calibration_notes)
    fact("Encoder", *_encoder(run.encoder))
    for reference in run.references:
        fact("Reference", *_encoder(reference))
    fact(
        "Views", f"{run.n_views} an image by recipe {run.recipe}, {run.similarity}, seed {run.seed}"
    )
    training = {inferrer.trained_on for inferrer in run.inferrers}
    for inferrer in run.inferrers:
        trained_on = [] if len(training) == 1 else [f"trained on {inferrer.trained_on}"]
        fact(f"Inferrer {shown(inferrer.name)}", *trained_on, inferrer.evidence)
    if len(training) == 1:
        fact("Trained on", *training)
    fact("Time", _time(audit))
    return Panel(
        Group(facts, Text(), Text(_meaning(audit), style="italic")),
        title="Summary",
        title_align="left",
        border_style="dim",
        padding=(1, 2),
    )


def _control(comparison: AgainstControl) -> Panel:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, lines in control_lines(comparison):
        for index, line in enumerate(lines):
            facts.add_row("" if index else Text(shown(name)), Text(shown(line)))
    return Panel(
        Group(Text(comparison.sentence, style="bold"), Text(), facts),
        title="Suspects against control",
        title_align="left",
        border_style="dim",
        padding=(1, 2),
    )


def _predicted(audit: Audit, name: str) -> Text:
    count, total = audit.n_predicted(name), len(audit.scored)
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
