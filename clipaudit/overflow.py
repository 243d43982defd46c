"""Data that outgrows memory goes on in a temporary database: SQLite's own kind, without a name.

Its file lies where the system keeps temporary files (`SQLITE_TMPDIR` or `TMPDIR` say elsewhere), no
other program can open it, and it is gone with the process, however that ends.
"""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clipaudit.files import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from sqlite3 import Connection

Value = TypeVar("Value")

MOST_IN_MEMORY = 10_000
"""Entries that stay in memory."""

_CACHE_KIB = 8192


class Overflow(Generic[Value]):
    """A dictionary by SHA-256 in hex, of which all but the first entries are on disk.

    One thread writes; others may read.

    >>> colours = Overflow(most_in_memory=1)
    >>> colours["0a"], colours["0b"] = "red", "blue"
    >>> colours["0b"], colours.get("0c"), "0a" in colours
    ('blue', None, True)
    """

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._first: dict[str, Value] = {}
        self._most = most_in_memory
        self._tables: Connection | None = None

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: str) -> Value:
        if (value := self.get(key)) is None:
            raise KeyError(key)
        return value

    def get(self, key: str) -> Value | None:
        """The value of a key; None where there is none."""
        if key in self._first or self._tables is None:
            return self._first.get(key)
        with on_disk():
            query = "SELECT value FROM rest WHERE key = ?"
            found = self._tables.execute(query, (bytes.fromhex(key),)).fetchone()
        value: Value | None = unpacked(found[0]) if found else None
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        if key in self._first or len(self._first) < self._most:
            self._first[key] = value
            return
        with on_disk():
            if self._tables is None:
                self._tables = open_tables(
                    "CREATE TABLE rest (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
                )
            entry = bytes.fromhex(key), packed(value)
            self._tables.execute("REPLACE INTO rest VALUES (?, ?)", entry)


def open_tables(script: str) -> Connection:
    """A new temporary database with these tables."""
    import sqlite3

    # Nothing is ever committed or rolled back, so nothing is written before memory is full.
    tables = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    tables.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{_CACHE_KIB}; {script}; BEGIN"
    )
    return tables


@contextmanager
def on_disk() -> Iterator[None]:
    """What the database says against it is a `FileError`."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise FileError(
            f"cannot keep what was computed in a temporary file: {error}",
            "Make room where the system keeps temporary files, or set SQLITE_TMPDIR to a folder "
            "with more; what was computed is in the store.",
        ) from error


def packed(value: object) -> bytes:
    """Anything as bytes, for this very process."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """What was packed."""
    return pickle.loads(data)  # noqa: S301 - this process wrote it, where no other can
