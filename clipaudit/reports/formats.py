"""An `Audit` as a table for people and as files for programs: a module a format.

`FORMATS` is the whole list. Every format carries the facts of its run; those for programs
carry `schema_version` and are described in docs/schemas/.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from clipaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from clipaudit.results.audit import Audit

FORMATS = {
    "table": "clipaudit.reports.audit.table:dump",
    "json": "clipaudit.reports.audit.json_document:dump",
    "jsonl": "clipaudit.reports.audit.json_document:dump_lines",
    "csv": "clipaudit.reports.audit.csv_rows:dump",
    "parquet": "clipaudit.reports.audit.parquet:dump",
    "html": "clipaudit.reports.page.html:dump",
}
"""Name of a format → the function that writes it."""

TEXT_FORMATS = ("table", "json", "jsonl", "csv")
"""Those that may go to a terminal or through a pipe."""

ENDINGS = {
    ".html": "html",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
}
"""Ending of a file → its format."""


class Dump(Protocol):
    """What a format is: a function that writes an audit into an open file."""

    def __call__(self, audit: Audit, file: BinaryIO) -> None:
        """Write all of it; text is UTF-8 and ends in a line feed."""


def dump(audit: Audit, style: str, file: BinaryIO) -> None:
    """Write an audit in one of the `FORMATS` into an open file."""
    _dump_of(style)(audit, file)


def render(audit: Audit, style: str = "table") -> str:
    """An audit as text, in one of the `TEXT_FORMATS`, without colour.

    Raises:
        UsageError: No such format, or one that is not text.
    """
    if style not in TEXT_FORMATS:
        _known(style)
        raise UsageError(f"{style} is not text", f"Write it into a file: -o audit.{style}")
    file = BytesIO()
    dump(audit, style, file)
    return file.getvalue().decode()


def write(audit: Audit, path: Path, n_pictures: int | None = None) -> None:
    """Write an audit into a file, in the format that its ending names.

    The file is there in full or, where anything fails, as it was before. A link is replaced
    itself, and what it points to stays.

    Args:
        audit: What to write.
        path: Where.
        n_pictures: Pictures that HTML shows at each end of the ranking, instead of the usual
            number; other formats hold no pictures.

    Raises:
        UsageError: See `check_destination`.
        FileError: The disk is full, or the system says no for another reason.
    """
    from clipaudit.files import replacing

    check_destination(path, force=True)
    style = ENDINGS[path.suffix.lower()]
    write_into = _dump_of(style)
    if style == "html" and n_pictures is not None:
        from clipaudit.reports.page import html as html_page

        write_into = partial(html_page.dump, n_pictures=n_pictures)
    with replacing(path) as file:
        write_into(audit, file)


def check_destination(
    path: Path, endings: Collection[str] = frozenset(ENDINGS), *, force: bool = False
) -> None:
    """Say now, and not after hours of work, that a report cannot go there.

    Args:
        path: Where it is to go.
        endings: Those that name a format.
        force: Whether it may take the place of a link.

    Raises:
        UsageError: An unknown ending, a link, a folder itself, or a folder that is not there or
            not ours.
    """
    from clipaudit.files import is_link
    from clipaudit.text.escaping import shown

    if path.suffix.lower() not in endings:
        ending = f"the ending {shown(path.suffix)}" if path.suffix else "no ending"
        raise UsageError(
            f"{shown(str(path))} has {ending}, which names no format",
            f"End it in one of {', '.join(one for one in ENDINGS if one in endings)}.",
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


def _dump_of(style: str) -> Dump:
    module, _, function = _known(style).partition(":")
    return cast("Dump", getattr(import_module(module), function))


def _known(style: str) -> str:
    if style not in FORMATS:
        raise UsageError(f"no format {style!r}", f"Take one of {', '.join(FORMATS)}.")
    return FORMATS[style]
