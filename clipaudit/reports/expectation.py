"""What can be expected of an audit, for people and as one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from clipaudit._version import SCHEMA_VERSION
from clipaudit.reports.tables import Column, Facts, fitted_table, panel
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from clipaudit.encoders.expectation import Expectation, Way

_STYLES = {"promising": "bold green", "possible": "yellow"}
_LEAST_REASON = 20


def document(expectation: Expectation) -> dict[str, Any]:
    """Plain values, with all digits. Schema: docs/schemas/expectation-1.schema.json."""
    plain = asdict(expectation)
    table = [{"auc": auc, "pictures": n} for auc, n in expectation.table]
    return {"schema_version": SCHEMA_VERSION, **plain, "table": table}


def show(expectation: Expectation, console: Console) -> None:
    """Print it, in the width and the colours of the console; the outlook leaves first."""
    facts = Facts()
    for name, lines in _facts(expectation):
        facts.add(name, *lines)
    columns = (
        Column("way", [way.name for way in expectation.ways]),
        Column("outlook", [_outlook(way) for way in expectation.ways], leaves=1),
        Column("why", [_why(way) for way in expectation.ways], least=_LEAST_REASON),
    )
    ways = fitted_table(columns, console.width)
    needed = ", ".join(f"{n:,} at AUC {auc:g}" for auc, n in expectation.table)
    note = (
        f"Pictures that a folder needs, and as many in its control, for 80 % power at level 5 %: "
        f"{needed} (Noether 1987). All of them members; of a folder that was used in part, more."
    )
    console.print(
        Group(panel("What can be expected", facts), Text(), ways, Text(), Text(note, style="dim"))
    )


def _outlook(way: Way) -> Text:
    return Text(way.outlook, style=_STYLES.get(way.outlook, "dim"))


def _why(way: Way) -> Text:
    why = Text(shown(way.text))
    if way.command and way.outlook != "closed":
        why.append(f"\n{shown(way.command)}", style="dim")
    return why


def _facts(expectation: Expectation) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "Encoder", (expectation.encoder,)
    yield "Trained on", (expectation.about or "unknown: nothing is published under this name",)
    length = expectation.length
    size = [f"{length.n_pairs:,} pictures or pairs"] if length.n_pairs else []
    size += [f"{length.n_seen:,} seen in all"] if length.n_seen else []
    size += [f"each {length.epochs:.3g} times on average"] if length.epochs else []
    yield "How long", (*([", ".join(size)] if size else []), length.basis)
    if expectation.base:
        yield "Fine-tuned from", (expectation.base,)
    yield "To hope for", (expectation.hope.words, expectation.hope.source)
    if expectation.n_pictures is not None:
        yield "At hand", (count(expectation.n_pictures, "picture"),)
