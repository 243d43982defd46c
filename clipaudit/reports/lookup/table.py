"""What a person sees of a lookup: what is listed and how it was found, and what that means.

Where the screen is narrow, how a picture was found leaves; of sites, the example does.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rich.console import Group
from rich.text import Text

from clipaudit.reports.tables import (
    LEAST_NAME,
    Column,
    Facts,
    FileName,
    fitted_table,
    panel,
    plain_text,
)
from clipaudit.results.lookup import IN_WORDS, MEANING
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.panel import Panel

    from clipaudit.results.lookup import Answer, Lookup, Match

N_SHOWN = 20
_MOST_OF_A_WAY = 3
_LONGEST_CAPTION = 120
_LEAST_WORDS = 16


def dump(found: Lookup, file: BinaryIO) -> None:
    """Write it without colour, as wide as `COLUMNS` or 100."""
    file.write(plain_text(partial(show, found)).encode())


def show(found: Lookup, console: Console) -> None:
    """Print it, in the width and the colours of the console."""
    parts: list[RenderableType] = []
    tables: list[tuple[str, Sequence[Answer], Callable[[Sequence[Answer]], list[Column]]]] = [
        ("Listed", found.with_status("listed"), _listed),
        ("Not listed", found.with_status("not_listed"), _names),
        ("Not compared", found.with_status("not_compared"), _names),
        ("Skipped", found.with_status("skipped"), _skipped),
    ]
    for title, answers, columns in tables:
        if answers:
            some = columns(answers[:N_SHOWN])
            parts.append(fitted_table(some, console.width, f"{title} ({len(answers):,})"))
            if (n_more := len(answers) - N_SHOWN) > 0:
                parts.append(Text(f"… and {n_more:,} more; --format csv lists all", style="dim"))
            parts.append(Text())
    if found.sites:
        parts += [fitted_table(_sites(found), console.width, "Rows from a site"), Text()]
    parts.append(_summary(found))
    console.print(Group(*parts))


def _listed(answers: Sequence[Answer]) -> list[Column]:
    rows: list[tuple[FileName | str, str, Text]] = []
    for answer in answers:
        name = _name(answer)
        for way, n_matches in answer.n_matches.items():
            matches = [match for match in answer.matches if match.way == way][:_MOST_OF_A_WAY]
            for match in matches:
                words = IN_WORDS[way] if match is matches[0] else ""
                if match.bits is not None:
                    words = f"{words}\n{match.bits} of 64 bits differ".strip()
                rows.append((name, words, _row(match)))
                name = ""
            if n_more := n_matches - len(matches):
                rows.append(("", "", Text(f"… and {count(n_more, 'more row')}", "dim")))
    names, words_of_all, found = zip(*rows, strict=True)
    return [
        Column("asked for", names, least=LEAST_NAME),
        Column("found by", words_of_all, least=_LEAST_WORDS, leaves=1),
        Column("row", found, least=_LEAST_WORDS),
    ]


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


def _names(answers: Sequence[Answer]) -> list[Column]:
    alone = [
        f"by its bytes alone; {shown(answer.error)}" if answer.error else "" for answer in answers
    ]
    return [*_asked(answers), *([Column("", alone, least=_LEAST_WORDS)] if any(alone) else [])]


def _skipped(answers: Sequence[Answer]) -> list[Column]:
    reasons = []
    for answer in answers:
        reason, colon, explanation = (answer.error or "").partition(":")
        reasons.append(shown(reason.replace("_", " ") + colon + explanation))
    return [*_asked(answers), Column("why", reasons, least=_LEAST_WORDS)]


def _asked(answers: Sequence[Answer]) -> list[Column]:
    return [Column("asked for", [_name(answer) for answer in answers], least=LEAST_NAME)]


def _name(answer: Answer) -> FileName | str:
    """An address is shown whole, in several lines; of a path, the end tells most."""
    return FileName(answer.asked) if answer.kind == "file" else shown(answer.asked)


def _sites(found: Lookup) -> list[Column]:
    rows: list[tuple[Text | str, str, FileName | str]] = []
    for site in found.sites:
        rows.append((Text(shown(site.domain), style="bold"), f"{site.n_rows:,}", ""))
        rows += [
            (f"  {shown(host.name)}", f"{host.n_rows:,}", FileName(host.example))
            for host in site.hosts[:N_SHOWN]
        ]
    sites, counts, examples = zip(*rows, strict=True)
    return [
        Column("site", sites, least=LEAST_NAME),
        Column("rows", counts, is_number=True),
        Column("one of them", examples, least=LEAST_NAME, leaves=1),
    ]


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
    return panel("Summary", facts, Text(), Text(MEANING, style="italic"))


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
