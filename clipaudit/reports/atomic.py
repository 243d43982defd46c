"""Files that are there in full or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from clipaudit.errors import ClipAuditError
from clipaudit.reports.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReportError(ClipAuditError):
    """A report cannot be written."""

    exit_code = 4


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, and not where it raises.

    It is written beside `path`, under another name, and reaches the disk before it is renamed.
    A link stays a link: what it points to is replaced.

    Raises:
        ReportError: The disk is full, or the system says no for another reason.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".clipaudit-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except OSError as error:
        advice = "Free some space" if error.errno in _FULL else "Name another place with -o"
        raise ReportError(
            f"cannot write {shown(str(path))}: {error.strerror or error}",
            f"{advice} and run it again: the features are kept, so it takes little time.",
        ) from error
    finally:
        with suppress(OSError):  # it has been renamed, or could not even be made
            temporary.unlink()


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
