"""A result as a table for people and as files for programs: a module a format, and a line here.

Every format carries the facts of its run; those for programs carry `schema_version` and are
described in docs/schemas/.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from clipaudit.errors import UsageError
from clipaudit.files import is_link, replacing
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from clipaudit.reports.page.folders import Folders
    from clipaudit.reports.page.thumbnails import Gallery
    from clipaudit.results.audit import Audit
    from clipaudit.results.evaluation import Evaluation
    from clipaudit.results.lookup import Lookup

    Result = Audit | Evaluation | Lookup


@dataclass(frozen=True, slots=True)
class Format:
    """All that is to be known of a format.

    Attributes:
        writer: `package.module:function`; the function is a `Dump`.
        ending: Ending of its files, in small letters; empty where it is printed only.
        is_text: Whether it may go to a terminal or through a pipe.
        screen: The function that prints it on a terminal, in colour; empty where there is none.
        has_pictures: Whether its writer takes `n_pictures`.
        has_details: Whether its writer, and what prints it, takes `details`.
    """

    writer: str
    ending: str = ""
    is_text: bool = True
    screen: str = ""
    has_pictures: bool = False
    has_details: bool = False


class Dump(Protocol):
    """What writes a format: a function that takes a result and an open file."""

    def __call__(self, result: Any, file: BinaryIO) -> None:
        """Write all of it; text is UTF-8 and ends in a line feed."""


_AUDIT = "clipaudit.reports.audit"
AUDIT = {
    "table": Format(f"{_AUDIT}.table:dump", screen=f"{_AUDIT}.table:show", has_details=True),
    "json": Format(f"{_AUDIT}.json_document:dump", ".json"),
    "jsonl": Format(f"{_AUDIT}.json_document:dump_lines", ".jsonl"),
    "csv": Format(f"{_AUDIT}.csv_rows:dump", ".csv"),
    "parquet": Format(f"{_AUDIT}.parquet:dump", ".parquet", is_text=False),
    "html": Format("clipaudit.reports.page.html:dump", ".html", is_text=False, has_pictures=True),
}
"""Formats of an `Audit` by name."""

_EVALUATION = "clipaudit.reports.evaluation"
EVALUATION = {
    "table": Format(f"{_EVALUATION}.table:dump", screen=f"{_EVALUATION}.table:show"),
    "json": Format(f"{_EVALUATION}.json_document:dump", ".json"),
}
"""Formats of an `Evaluation` by name."""

_LOOKUP = "clipaudit.reports.lookup"
LOOKUP = {
    "table": Format(f"{_LOOKUP}.table:dump", screen=f"{_LOOKUP}.table:show"),
    "json": Format(f"{_LOOKUP}.files:dump_json", ".json"),
    "jsonl": Format(f"{_LOOKUP}.files:dump_json_lines", ".jsonl"),
    "csv": Format(f"{_LOOKUP}.files:dump_csv", ".csv"),
    "parquet": Format(f"{_LOOKUP}.files:dump_parquet", ".parquet", is_text=False),
}
"""Formats of a `Lookup` by name."""

_IN_A_NOTEBOOK = '<pre style="line-height: 1.3; overflow-x: auto; white-space: pre">{code}</pre>'

_BY_RESULT = {"Audit": AUDIT, "Evaluation": EVALUATION, "Lookup": LOOKUP}


def printable(formats: Mapping[str, Format]) -> tuple[str, ...]:
    """Names of the formats that may go to a terminal or through a pipe."""
    return tuple(name for name, found in formats.items() if found.is_text)


def endings(formats: Mapping[str, Format]) -> tuple[str, ...]:
    """The endings that name a format."""
    return tuple(found.ending for found in formats.values() if found.ending)


def dump(result: Result, style: str, file: BinaryIO, *, details: bool = False) -> None:
    """Write a result into an open file, in the format of that name.

    Args:
        result: What to write.
        style: Name of the format.
        file: An open file.
        details: Whether a table for people is to hold all facts of the run.

    Raises:
        UsageError: No such format.
    """
    found = _known(result, style)
    _function(found.writer)(result, file, **_details(found, details))


def render(result: Result, style: str = "table", *, details: bool = False) -> str:
    """A result as text without colour, in the format of that name; see `dump`.

    Raises:
        UsageError: No such format, or one that is not text.
    """
    found = _known(result, style)
    if not found.is_text:
        raise UsageError(f"{style} is not text", f"Write it into a file: -o audit{found.ending}")
    file = BytesIO()
    dump(result, style, file, details=details)
    return file.getvalue().decode()


def show(result: Result, style: str, console: Console, *, details: bool = False) -> bool:
    """Print a result on a terminal; gives False where its format has no colours. See `dump`."""
    found = _known(result, style)
    if found.screen:
        _function(found.screen)(result, console, **_details(found, details))
    return bool(found.screen)


def render_html(result: Result) -> str:
    """A result as a notebook displays it: what a terminal shows, in colour."""
    from rich.console import Console

    console = Console(file=StringIO(), record=True, width=100, force_jupyter=False)
    show(result, "table", console)
    return console.export_html(inline_styles=True, code_format=_IN_A_NOTEBOOK)


def save(result: Result, path: Path, *, force: bool = False) -> None:
    """Write a result into a file, in the format that its ending names.

    Raises:
        UsageError: See `check_destination`.
        FileError: The disk is full, or the system says no for another reason.
    """
    check_destination(path, _BY_RESULT[type(result).__name__], force=force)
    write(result, path)


def write(
    result: Result,
    path: Path,
    n_pictures: int | None = None,
    gallery: Gallery | None = None,
    paths: Folders = "names",
) -> None:
    """Write a result into a file, in the format that its ending names.

    The file is there in full or, where anything fails, as it was before. A link is replaced
    itself, and what it points to stays.

    Args:
        result: What to write.
        path: The file.
        n_pictures: Pictures that HTML shows at each end of the ranking, instead of the usual
            number; other formats hold no pictures.
        gallery: Pictures that the run decoded, so that HTML need not read them again.
        paths: How HTML names files and folders.

    Raises:
        UsageError: See `check_destination`.
        FileError: The disk is full, or the system says no for another reason.
    """
    formats = _BY_RESULT[type(result).__name__]
    check_destination(path, formats, force=True)
    found = _by_ending(path, formats)
    write_into = _function(found.writer)
    if found.has_pictures and n_pictures is not None:
        write_into = partial(write_into, n_pictures=n_pictures)
    if found.has_pictures:
        write_into = partial(write_into, paths=paths)
    if found.has_pictures and gallery is not None:
        write_into = partial(write_into, decoded=gallery.decoded)
    with replacing(path) as file:
        write_into(result, file)


def check_destination(
    path: Path, formats: Mapping[str, Format] = AUDIT, *, force: bool = False
) -> None:
    """Say now, and not after hours of work, that a report cannot go there.

    Args:
        path: The file that is to be written.
        formats: Those that it may have.
        force: Whether it may take the place of a link.

    Raises:
        UsageError: An unknown ending, a link, a folder itself, or a folder that is not there or
            not ours.
    """
    if not path.suffix or path.suffix.lower() not in endings(formats):
        ending = f"the ending {shown(path.suffix)}" if path.suffix else "no ending"
        raise UsageError(
            f"{shown(str(path))} has {ending}, which names no format",
            f"End it in {listed(endings(formats))}.",
        )
    if is_link(path):
        if not force:
            raise UsageError(
                f"{shown(str(path))} is a link",
                "Name another file with -o, or pass --force to put the file in the place of the "
                "link; what it points to stays as it is.",
            )
    elif path.is_dir():
        raise UsageError(f"{shown(str(path))} is a folder", "Name a file in it.")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder {shown(str(folder))} does not exist", "Make it first.")
    if not os.access(folder, os.W_OK):
        raise UsageError(
            f"nothing may be written into {shown(str(folder))}", "Name another folder with -o."
        )


def listed(words: tuple[str, ...]) -> str:
    """Words as a choice for a reader.

    >>> listed((".csv", ".json", ".html"))
    '.csv, .json or .html'
    """
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def gallery_for(path: Path | None) -> Gallery | None:
    """What has to keep pictures during a run, where the report that is to be written shows them."""
    if path is None or not _by_ending(path, AUDIT).has_pictures:
        return None
    from clipaudit.reports.page.html import N_PICTURES
    from clipaudit.reports.page.thumbnails import Gallery

    return Gallery(N_PICTURES)


def _by_ending(path: Path, formats: Mapping[str, Format]) -> Format:
    (found,) = (known for known in formats.values() if known.ending == path.suffix.lower())
    return found


def _known(result: Result, style: str) -> Format:
    formats = _BY_RESULT[type(result).__name__]
    if style not in formats:
        raise UsageError(f"no format {style!r}", f"Take one of {', '.join(formats)}.")
    return formats[style]


def _details(found: Format, details: bool) -> dict[str, bool]:
    return {"details": details} if found.has_details else {}


def _function(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
