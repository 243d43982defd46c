"""Where pictures of the web come from: a module a service, behind one small protocol.

To add a source, write its module and one line in `SOURCES`; another package names its own in the
entry-point group `GROUP`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from clipaudit_crawlers.base import ImageSource

__all__ = ["GROUP", "SOURCES", "load"]

SOURCES = {
    "openverse": "clipaudit_crawlers.sources.openverse:Openverse",
    "wikimedia": "clipaudit_crawlers.sources.wikimedia:Wikimedia",
    "flickr": "clipaudit_crawlers.sources.flickr:Flickr",
    "google": "clipaudit_crawlers.sources.google:Google",
    "brave": "clipaudit_crawlers.sources.brave:Brave",
}
"""Name of a source → its class; all else about a source is in its `facts`."""

GROUP = "clipaudit.sources"
"""The entry-point group in which other packages name theirs, written as in `SOURCES`."""


def load(value: str) -> type[ImageSource]:
    """The class that a line of the table leads to; its module is imported now, and not before."""
    module, _, attribute = value.partition(":")
    return cast("type[ImageSource]", getattr(import_module(module), attribute))
