"""What a person sees of a lookup: what is listed and how it was found, and what that means."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Group
from rich.text import Text

from clipaudit.reports.tables import Facts, panel, plain_text, titled_table
from clipaudit.results.lookup import IN_WORDS, MEANING
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.panel import Panel
    from rich.table import Table

    from clipaudit.results.lookup import Answer, Lookup, Match

N_SHOWN = 20
_MOST_OF_A_WAY = 3
_LONGEST_CAPTION = 120


def dump(found: Lookup, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100."""
    file.write(plain_text(partial(show, found)).encode())


def show(found: Lookup, console: Console) -> None:
    """Print it, in the width and the colours of the console."""
    parts: list[RenderableType] = []
    if listed := found.with_status("listed"):
        parts.append(_listed(listed))
    for title, status in (("Not listed", "not_listed"), ("Not compared", "not_compared")):
        if answers := [answer for answer in found if answer.status == status]:
            parts.append(_names(title, answers))
    if skipped := found.with_status("skipped"):
        parts.append(_skipped(skipped))
    if found.sites:
        parts.append(_sites(found))
    parts.append(_summary(found))
    console.print(Group(*parts))


def _listed(answers: Sequence[Answer]) -> Table:
    table = _table(f"Listed ({len(answers):,})", "asked for", "found by", "row")
    for answer in answers[:N_SHOWN]:
        name: str | None = answer.asked
        for way, n_matches in answer.n_matches.items():
            matches = [match for match in answer.matches if match.way == way][:_MOST_OF_A_WAY]
            for match in matches:
                words = IN_WORDS[way] if match is matches[0] else ""
                if match.bits is not None:
                    words = f"{words}\n{match.bits} of 64 bits differ".strip()
                table.add_row(_text(name), Text(words), _row(match))
                name = None
            if n_more := n_matches - len(matches):
                table.add_row("", "", Text(f"… and {count(n_more, 'more row')}", "dim"))
    _add_rest(table, len(answers))
    return table


def _row(match: Match) -> Text:
    """Where the row is, and what it says."""
    key = f", key {shown(match.key)}" if match.key else ""
    text = Text(f"{shown(match.file)}, row {match.row:,}{key}", style="bold")
    if match.url:
        text.append(f"\n{shown(match.url)}", style="not bold")
    if match.text:
        caption = shown(match.text)
        if len(caption) > _LONGEST_CAPTION:
            caption = caption[:_LONGEST_CAPTION] + "…"
        text.append(f"\n{caption}", style="not bold italic")
    return text


def _names(title: str, answers: Sequence[Answer]) -> Table:
    table = _table(f"{title} ({len(answers):,})", "asked for", "")
    for answer in answers[:N_SHOWN]:
        alone = f"by its bytes alone; {answer.error}" if answer.error else ""
        table.add_row(_text(answer.asked), _text(alone))
    _add_rest(table, len(answers))
    return table


def _skipped(answers: Sequence[Answer]) -> Table:
    table = _table(f"Skipped ({len(answers):,})", "asked for", "why")
    for answer in answers[:N_SHOWN]:
        reason, colon, explanation = (answer.error or "").partition(":")
        why = reason.replace("_", " ") + colon + explanation
        table.add_row(_text(answer.asked), _text(why))
    _add_rest(table, len(answers))
    return table


def _sites(found: Lookup) -> Table:
    table = _table("Rows from a site", "site", "rows", "one of them")
    for site in found.sites:
        table.add_row(Text(shown(site.domain), style="bold"), f"{site.n_rows:,}", "")
        for host in site.hosts[:N_SHOWN]:
            table.add_row(_text(f"  {host.name}"), f"{host.n_rows:,}", _text(host.example))
    return table


def _summary(found: Lookup) -> Panel:
    facts = Facts()
    if found.answers:
        counts = (
            (len(found), "asked for"),
            (len(found.with_status("listed")), "listed"),
            (len(found.with_status("not_listed")), "not listed"),
            (len(found.with_status("not_compared")), "not compared"),
            (len(found.with_status("skipped")), "skipped"),
        )
        facts.add("Pictures", ", ".join(f"{n:,} {what}" for n, what in counts if n))
        facts.add("Found by", *(f"{IN_WORDS[way]}: {n:,}" for way, n in found.n_by_way().items()))
    facts.add("Lists", *_lists(found))
    facts.add("Columns", *_columns(found))
    facts.add("Note", *found.notes, *_notes_of_files(found))
    facts.add("Time", f"{found.run.seconds:.1f} s; nothing left this machine")
    return panel("Summary", facts.grid, Text(), Text(MEANING, style="italic"))


def _lists(found: Lookup) -> Iterator[str]:
    for list_file in found.lists[:3]:
        yield f"{list_file.path}, {count(list_file.n_rows, 'row')}"
    if len(found.lists) > 3:
        yield f"… {len(found.lists):,} files, {found.n_rows:,} rows in all"


def _columns(found: Lookup) -> Iterator[str]:
    """What columns were taken for; one line for all files that are alike."""
    kinds = Counter(tuple(sorted(list_file.columns.items())) for list_file in found.lists)
    for columns, n_files in kinds.most_common(3):
        of = f" ({n_files:,} of {len(found.lists):,} files)" if len(kinds) > 1 else ""
        yield ", ".join(f"{role}={name}" for role, name in columns) + of


def _notes_of_files(found: Lookup) -> Iterator[str]:
    counts = Counter(note for list_file in found.lists for note in list_file.notes)
    for note, n_files in counts.items():
        of = "" if n_files == len(found.lists) else f" ({n_files:,} of {len(found.lists):,} files)"
        yield f"{note[:1].upper()}{note[1:]}{of}."


def _table(title: str, *columns: str) -> Table:
    table = titled_table(title)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "rows" else "left")
    return table


def _text(text: str | None) -> Text:
    return Text(shown(text or ""))


def _add_rest(table: Table, n: int) -> None:
    if n > N_SHOWN:
        rest = Text(f"… and {n - N_SHOWN:,} more; --format csv lists all", style="dim")
        table.add_row(rest, *[""] * (len(table.columns) - 1))
