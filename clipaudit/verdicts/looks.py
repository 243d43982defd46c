"""How often the same suspects were compared: a log in the cache folder that holds hashes alone.

Whoever tries several controls, encoders, methods or seeds, and tells of the best, finds evidence by
chance. The level of a test holds for one look; so the verdict says how many there were.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from clipaudit.errors import ClipAuditError
from clipaudit.files import append_line, cache_dir, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME = "comparisons.jsonl"


def count_look(suspects: Iterable[str], way: object, folder: Path | None = None) -> int | None:
    """In how many ways these suspects were compared, this one included; None where none is known.

    The same way again, to the seed and the control, is no further look.

    Args:
        suspects: SHA-256 of the suspects.
        way: All else that the comparison depends on; its `repr` tells ways apart.
        folder: Where the log is; None takes the cache folder.
    """
    of_suspects, of_way = _digest(sorted(suspects)), _digest([repr(way)])
    try:
        log = (folder or cache_dir()) / NAME
        ways = _read(log).get(of_suspects, set())
        if of_way not in ways:
            make_folder(log.parent)
            append_line(log, json.dumps({"suspects": of_suspects, "way": of_way}))
    except ClipAuditError as error:
        logger.warning("comparisons are not counted: %s. %s", error, error.hint)
        return None
    return len(ways | {of_way})


def _read(log: Path) -> dict[str, set[str]]:
    """Ways by suspects; a line that cannot be read counts for nothing."""
    found: dict[str, set[str]] = {}
    with suppress(OSError):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                found.setdefault(str(entry["suspects"]), set()).add(str(entry["way"]))
    return found


def _digest(texts: Iterable[str]) -> str:
    return sha256("\n".join(texts).encode(errors="surrogatepass")).hexdigest()
