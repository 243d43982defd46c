"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from clipaudit.errors import EncoderError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, sync it, and rename it into place.

    Raises:
        EncoderError: The disk is full, or the folder cannot be written to.
    """
    handle = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        Path(handle.name).chmod(0o644)
        Path(handle.name).replace(path)
    except OSError as error:
        if handle is not None:
            Path(handle.name).unlink(missing_ok=True)
        raise EncoderError(
            f"{path} cannot be written: {error.strerror or error}",
            "Free disk space or pass another output; what was written before is intact.",
        ) from error
