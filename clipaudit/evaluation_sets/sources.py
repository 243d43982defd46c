"""All sources of pictures by name: services of the web, and files of this machine.

A source is one module and one line: in `LOCAL` where it reads this machine alone, else in
`clipaudit_crawlers.SOURCES`.
"""

from __future__ import annotations

import os
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit_crawlers import GROUP, SOURCES, load

from clipaudit.errors import InputError, SourceError, UsageError, nearest

if TYPE_CHECKING:
    from clipaudit_crawlers.base import ImageSource

LOCAL = {
    "folder": "clipaudit.evaluation_sets.picture_folder:PictureFolder",
    "urls": "clipaudit.evaluation_sets.address_list:AddressList",
}
"""Name of a source that reads this machine → its class."""


def source_names() -> tuple[str, ...]:
    """All sources that can be named: ours, then those of other packages, by name."""
    ours = (*SOURCES, *LOCAL)
    others = {point.name for point in entry_points(group=GROUP)}
    return (*ours, *sorted(others.difference(ours)))


def source_type(name: str) -> type[ImageSource]:
    """The class of a source; its module is imported now, and not before.

    Raises:
        UsageError: No source has this name.
        SourceError: Two packages claim the name, or the module of another package fails.
    """
    ours = {**SOURCES, **LOCAL}
    others = [(point.name, point.value) for point in entry_points(group=GROUP)]
    claims = [*ours.items(), *others]
    if Counter(claimed for claimed, _ in claims)[name] > 1:
        values = [value for claimed, value in claims if claimed == name]
        raise SourceError(
            f"{len(values)} packages claim the source {name!r}: {', '.join(values)}",
            "Uninstall one of them, or ask its authors for another name.",
        )
    value = dict(claims).get(name)
    if value is None:
        raise UsageError(f"no source is called {name!r}", _hint(name))
    if name in ours:
        return load(value)
    try:
        return load(value)
    except Exception as error:
        raise SourceError(
            f"the source {name!r} of another package, {value}, cannot be loaded: {error}",
            "Update or uninstall that package.",
        ) from error


def local_path(name: str, argument: str, what: str) -> Path:
    """The path behind the colon of a local source, absolute and without links.

    Args:
        name: Name of the source.
        argument: What stands behind the colon; `~` is the home folder.
        what: What has to be there: FILE or FOLDER.

    Raises:
        InputError: Nothing stands there, or what does is not there.
    """
    if not argument.strip():
        raise InputError(
            f"{name} does not say which {what.lower()}", f"Write --source {name}:{what}."
        )
    try:
        return Path(argument).expanduser().resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, ~ of nobody, links in a circle
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number).lower() if number else str(error)
        raise InputError(
            f"{name} cannot use {argument!r}: {reason}",
            f"Look at the path behind --source {name}:, and at what it is relative to.",
        ) from error


def _hint(name: str) -> str:

    known = source_names()
    near = nearest(name, known, limit=1)
    names = f"There are: {', '.join(known)}."
    return f"Did you mean {near[0]}? {names}" if near else names
