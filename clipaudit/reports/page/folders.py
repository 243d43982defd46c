"""A result without the folders of the machine that made it, for a page that others will see."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.audit import Audit

Folders = Literal["names", "relative", "full"]
"""How paths are shown: by the name of the file or folder alone; seen from the working folder, where
they lie below it; or as they were given."""
FOLDERS: tuple[Folders, ...] = get_args(Folders)

_ABSOLUTE = re.compile(r"(?:(?<=[\s'\"=:(,])|^)(?:~[\w.-]*|[A-Za-z]:)?[/\\][^\s'\",;)]+")
"""From a slash, a drive or a home on; what holds a space is known from the command."""


def without_folders(audit: Audit, how: Folders) -> Audit:
    """The same audit; no text but the paths of its rows names a folder of the machine."""
    if how == "full":
        return audit
    known = {path: _short(path, how) for path in _paths(audit) if _is_absolute(path)}
    longest_first = sorted(known, key=len, reverse=True)

    def hide(text: str) -> str:
        for path in longest_first:
            text = text.replace(path, known[path])
        return _ABSOLUTE.sub(lambda found: _short(found[0], how), text)

    hidden = _map({**{f.name: getattr(audit, f.name) for f in fields(audit)}, "rows": ()}, hide)
    return replace(audit, **{**hidden, "rows": audit.rows})


def shorten(path: str, how: Folders) -> str:
    """A path of a row as the page shows it; a relative one as it is."""
    return _short(path, how) if how != "full" and _is_absolute(path) else path


def _paths(audit: Audit) -> Iterator[str]:
    """Whatever may be a path, whole, with the spaces that are in it."""
    run = audit.run
    try:
        words = shlex.split(run.command)
    except ValueError:
        words = []
    named = [facts.nonmembers.name for facts in audit.calibrations]
    named += [facts.members.name for facts in audit.calibrations if facts.members]
    named += [audit.comparison.control] if audit.comparison else []
    for text in (
        *words,
        *_texts(run.config),
        *(info.spec for _, info in run.named_encoders),
        *(part for name in named for part in name.split(", ")),
    ):
        yield text
        for separator in ("=", ":"):  # of options, and of the kinds of encoders
            yield text.partition(separator)[2]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _is_absolute(path: str) -> bool:
    return len(path) > 1 and (path[0] in "/\\~" or re.match(r"[A-Za-z]:[/\\]", path) is not None)


def _short(path: str, how: Folders) -> str:
    bare = path.rstrip("/\\")
    if how == "relative" and os.path.isabs(bare):  # noqa: PTH117 - a text, of any system
        below = os.path.relpath(bare)
        if not below.startswith(os.pardir):
            return below
    return re.split(r"[/\\]", bare)[-1] or "…"


def _map(value: Any, hide: Any) -> Any:
    """The same value with every text in it changed."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: _map(item, hide) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_map(item, hide) for item in value]
        return type(value)(items) if type(value) in {list, tuple} else type(value)(*items)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _map(getattr(value, f.name), hide) for f in fields(value)})
    return value
