"""What people read in a set: its data card, and the credits of its pictures."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.evaluation_sets.collecting import all_dropped
from clipaudit.evaluation_sets.manifest import Manifest, origins
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipaudit.evaluation_sets.collecting import Tally
    from clipaudit.evaluation_sets.manifest import Origin, Row

_NAMES_SHOWN = 10

LABELS = {
    "potential-member": "was public when the encoder was trained, so it may have been used; "
    "whether it was, nobody outside can say",
    "member": "is listed in the published training data, and its bytes are what they were",
    "non-member": "cannot have been used; the column `reason` says why",
}
"""What a label means."""


@dataclass(frozen=True, slots=True)
class Making:
    """How a set came about, for its card.

    Attributes:
        command: As it was typed.
        source_title: The service's name.
        notice: What the source wants to be said.
        tallies: How each keyword went.
        n_unused: Pictures that came and were left over.
        advice: Reason of a failed download → a sentence for people.
        confounds: What else sets members apart from non-members.
        notes: Anything else that a user should know, a paragraph each.
    """

    command: str
    source_title: str
    notice: str | None
    tallies: Sequence[Tally]
    n_unused: int
    advice: Mapping[str, str]
    confounds: Sequence[str]
    notes: Sequence[str] = ()


def data_card(manifest: Manifest, making: Making) -> str:
    """`README.md` of a set, in Markdown."""
    size_px = manifest.parameters["size_px"]
    parts = [
        "# Evaluation set",
        f"Made by clipaudit {manifest.version} from {plain(making.source_title)}, with",
        f"```\n{shown(making.command)}\n```",
        (
            "The same command goes on where a build was stopped; with `--offline` it repeats this "
            "build from the answers in `sources/`, without a network."
        ),
        "## Pictures",
        _table(("label", "pictures", "what it means"), _labels(manifest.rows)),
        (
            f"All are {size_px} × {size_px} pixels, resized without keeping their aspect "
            "(bicubic), and saved without loss, so that neither size nor format tells them "
            f"apart. Seed of the draws: {manifest.seed}."
        ),
        (
            "`manifest.parquet` and `manifest.jsonl` say for every picture where it is from, why "
            "it has its label, and, for a joined one, its parents."
        ),
        "## What else tells members from non-members",
        "\n".join(f"- {line}" for line in making.confounds),
        (
            "A figure measured on this set proves something about membership only as far as these "
            "do not explain it."
        ),
        *making.notes,
        *_shortfall(making),
        *_dropped(making),
        "## Licences",
        _table(("licence", "pictures"), _licenses(manifest.rows)),
        (
            "`ATTRIBUTION.md` names every author. The licences cover the originals; check them "
            "before you publish pictures of this set."
        ),
    ]
    if making.notice:
        parts += ["## From the source", plain(making.notice)]
    return "\n\n".join(parts) + "\n"


def attribution(manifest: Manifest) -> str:
    """`ATTRIBUTION.md` of a set: a line for every picture in it or behind a joined one."""
    lines = ["# Credits", ""]
    keyword = None
    for origin in origins(manifest.rows):
        if origin.keyword != keyword:
            keyword = origin.keyword
            lines += ["", f"## {plain(keyword)}", ""]
        lines.append(f"- {_credit(origin)}")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    r"""The text as Markdown that shows it as it is: no markup, no HTML, one line.

    >>> plain("<b>[click](http://x)")
    '\\<b\\>\\[click\\](http://x)'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", shown(text))


def _credit(origin: Origin) -> str:
    author = plain(origin.author) if origin.author else "unknown author"
    title = plain(origin.title) if origin.title else "untitled"
    licence = plain(" ".join(filter(None, (origin.license, origin.license_version))))
    credit = plain(origin.credit) if origin.credit else f"“{title}” by {author}, licence: {licence}"
    links = [f"<{url}>" for url in (origin.page_url, origin.license_url) if _is_link(url)]
    return " · ".join([credit, *links, f"`{origin.original_sha256[:16]}`"])


def _is_link(url: str | None) -> bool:
    return url is not None and re.fullmatch(r"https?://[^\s<>\\`]+", url) is not None


def _labels(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for label, n in sorted(Counter(row.label for row in rows).items()):
        yield label, f"{n:,}", LABELS[label]


def _licenses(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    found = Counter(
        " ".join(filter(None, (origin.license, origin.license_version))) for origin in origins(rows)
    )
    for name, n in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        yield plain(name), f"{n:,}"


def _shortfall(making: Making) -> Iterator[str]:
    short = [tally for tally in making.tallies if tally.missing > 0]
    if not short and not making.n_unused:
        return
    yield "## What is missing"
    if short:
        yield _table(
            ("keyword", "for", "found", "wanted"),
            (
                (plain(tally.keyword), tally.role, str(len(tally.pictures)), str(tally.wanted))
                for tally in short
            ),
        )
    if any(tally.is_cut_short for tally in making.tallies):
        yield "The budget of bytes (`--max-bytes`) ended the build."
    if making.n_unused:
        yield f"Left over, to keep both sides equal: {making.n_unused:,} more that came."


def _dropped(making: Making) -> Iterator[str]:
    dropped = all_dropped(making.tallies)
    if not dropped:
        return
    yield "## What was left out"
    rows = (
        (
            plain(found.reason),
            f"{found.count:,}",
            making.advice.get(found.reason, ""),
            plain(found.name_some(_NAMES_SHOWN)),
        )
        for found in dropped
    )
    yield _table(("reason", "pictures", "what it means", "which"), rows)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
