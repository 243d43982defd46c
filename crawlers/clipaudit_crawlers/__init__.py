"""Where pictures come from: a module a source, behind one small protocol.

To add a source, write its module and one line in `SOURCES`; another package names its own in the
entry-point group `clipaudit.sources`.
"""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from clipaudit.errors import SourceError, UsageError

if TYPE_CHECKING:
    from clipaudit_crawlers.base import ImageSource

__all__ = ["SOURCES", "source_names", "source_type"]

SOURCES = {
    "openverse": "clipaudit_crawlers.sources.openverse:Openverse",
    "wikimedia": "clipaudit_crawlers.sources.wikimedia:Wikimedia",
    "flickr": "clipaudit_crawlers.sources.flickr:Flickr",
    "google": "clipaudit_crawlers.sources.google:Google",
    "brave": "clipaudit_crawlers.sources.brave:Brave",
    "urls": "clipaudit_crawlers.sources.urls:Urls",
    "folder": "clipaudit_crawlers.sources.folder:Folder",
}
"""Name of a source → its class."""

GROUP = "clipaudit.sources"
"""The entry-point group in which other packages name theirs, written as in `SOURCES`."""


def source_names() -> tuple[str, ...]:
    """All sources that can be named: ours, then those of other packages, by name."""
    others = {point.name for point in entry_points(group=GROUP)}
    return (*SOURCES, *sorted(others - SOURCES.keys()))


def source_type(name: str) -> type[ImageSource]:
    """The class of a source; its module is imported now, and not before.

    Raises:
        UsageError: No source has this name.
        SourceError: Two packages claim the name, or the module of another package fails.
    """
    others = [(point.name, point.value) for point in entry_points(group=GROUP)]
    claims = [*SOURCES.items(), *others]
    if Counter(claimed for claimed, _ in claims)[name] > 1:
        values = [value for claimed, value in claims if claimed == name]
        raise SourceError(
            f"{len(values)} packages claim the source {name!r}: {', '.join(values)}",
            "Uninstall one of them, or ask its authors for another name.",
        )
    value = dict(claims).get(name)
    if value is None:
        raise UsageError(f"no source is called {name!r}", _hint(name))
    module, _, attribute = value.partition(":")
    if name in SOURCES:
        return cast("type[ImageSource]", getattr(import_module(module), attribute))
    try:
        return cast("type[ImageSource]", getattr(import_module(module), attribute))
    except Exception as error:
        raise SourceError(
            f"the source {name!r} of another package, {value}, cannot be loaded: {error}",
            "Update or uninstall that package.",
        ) from error


def _hint(name: str) -> str:
    known = source_names()
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    every = ", ".join(known)
    return f"Did you mean {near[0]}? There are: {every}." if near else f"There are: {every}."
