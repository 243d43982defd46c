"""What goes to stderr: messages of the library, escaped, beside a progress bar or without one."""

from __future__ import annotations

import logging
import warnings

from rich.console import Console
from rich.text import Text

from clipaudit.text.escaping import shown

_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}

_TELLING = ("aiobotocore", "botocore", "fsspec", "gcsfs", "s3fs")
"""Libraries whose details hold whole addresses, with the signatures in them."""


def safe_lines(text: str) -> str:
    """The text with all control characters escaped but the ends of its lines."""
    return "\n".join(map(shown, text.split("\n")))


def set_up(*, quiet: bool = False, verbosity: int = 0) -> Console:
    """Send messages to stderr; the console is for a progress bar, which must share it.

    Args:
        quiet: Errors alone.
        verbosity: 0 shows our warnings, 1 also what we do and the warnings of others, 2 all.
    """
    console = Console(stderr=True)
    ours = (
        logging.ERROR
        if quiet
        else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    )
    others = (logging.ERROR, logging.WARNING, logging.DEBUG)[min(verbosity, 2)]
    logging.captureWarnings(capture=True)
    if verbosity:
        warnings.simplefilter("default")
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Lines)]
    root.addHandler(_Lines(console))
    root.setLevel(others)
    for name in ("clipaudit", "clipaudit_crawlers"):
        logging.getLogger(name).setLevel(ours)
    for name in _TELLING:
        logging.getLogger(name).setLevel(max(others, logging.INFO))
    return console


class _Lines(logging.Handler):
    """A line a message, above the progress bar where there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: "
        text = safe_lines(self.format(record))
        line = Text.assemble((level, _STYLES.get(record.levelname, "dim")), text)
        self._console.print(line, soft_wrap=True)
