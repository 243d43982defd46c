"""Which encoders can be named, and what they were trained on, without loading any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from pkgutil import resolve_name

from clipaudit.encoders.base import Output
from clipaudit.encoders.spec import DEFAULT_SCHEME, SCHEMES
from clipaudit.encoders.training_data import training_facts


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder that can be named.

    Attributes:
        spec: What `load_encoder` takes.
        scheme: The library that it comes from, such as `open_clip`.
        output: The output that it gives unless another is asked for.
        has_text_tower: Whether it embeds captions too.
        note: What it was trained on, as far as its name tells; may be empty.
        cutoff: First day that is certainly not in that data; None where that is not known.
    """

    spec: str
    scheme: str
    output: Output
    has_text_tower: bool
    note: str
    cutoff: date | None


def list_encoders(search: str | None = None) -> list[EncoderEntry]:
    """The encoders with published weights, scheme by scheme in the order of `SCHEMES`.

    Names that would be refused, because they join weights with a wrong activation, are left out.

    Args:
        search: Words that an entry's spec or note must all hold, upper or lower case; where none
            does, the entries whose specs look most like it, best first.
    """
    entries = [entry for scheme in SCHEMES for entry in _published(scheme)]
    if not search or not search.strip():
        return entries
    words = search.lower().split()
    found = [
        entry
        for entry in entries
        if all(word in f"{entry.spec} {entry.note}".lower() for word in words)
    ]
    return found or _alike(search, entries)


def _alike(search: str, entries: list[EncoderEntry], limit: int = 10) -> list[EncoderEntry]:
    matcher = SequenceMatcher(b=_squeezed(search))
    ranked = []
    for place, entry in enumerate(entries):
        matcher.set_seq1(_squeezed(entry.spec.partition(":")[2] or entry.spec))
        if matcher.real_quick_ratio() >= 0.6 and matcher.ratio() >= 0.6:
            ranked.append((-matcher.ratio(), place, entry))
    return [entry for _, _, entry in sorted(ranked)[:limit]]


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _published(scheme: str) -> Iterator[EncoderEntry]:
    row = SCHEMES[scheme]
    if not row.published:
        return
    for name, output in resolve_name(row.published)():
        spec = name if scheme == DEFAULT_SCHEME else f"{scheme}:{name}"
        facts = training_facts(spec)
        yield EncoderEntry(spec, scheme, output, bool(row.text), facts.about, facts.cutoff)
