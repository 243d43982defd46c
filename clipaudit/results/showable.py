"""What Python and notebooks do with a result: display it, print it, keep it.

Reports read results, and no result knows a report; so they are found by name, at the first call.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os


class Showable:
    """A result that reports can be made of."""

    __slots__ = ()

    def show(self) -> None:
        """Print the answer and the table, as the command line does."""
        from rich.console import Console

        _reports("show")(self, "table", Console())

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a report or a file for programs, by the ending of its name.

        Args:
            path: The file, such as `a.html` or `a.json`; one that is there is replaced.
            force: Whether it may take the place of a link.

        Returns:
            The file.

        Raises:
            ClipAuditError: An ending that names no format, a link, a folder that is not there,
                a full disk.
        """
        file = Path(path)
        _reports("save")(self, file, force=force)
        return file

    def _repr_html_(self) -> str:
        """What a notebook displays."""
        html: str = _reports("render_html")(self)
        return html


def _reports(function: str) -> Any:
    return resolve_name(f"clipaudit.reports.formats:{function}")
