"""The SQLite file below the store: opened, of a known version, and with errors that help."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

from clipaudit.errors import ClipAuditError, InputError
from clipaudit.files import refuse_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

APPLICATION_ID = 0x434C4155  # "CLAU": tells our file from any other SQLite file
_BUSY_TIMEOUT_S = 30.0


class StoreUnavailable(ClipAuditError):  # noqa: N818 - a run goes on without it
    """The store cannot be used; a run can do without it, only slower next time."""

    exit_code = 4


class StoreBusy(StoreUnavailable):
    """Another process keeps it locked."""


class Database:
    """An SQLite file of one schema, in write-ahead mode; a context manager.

    Threads may share it, one at a time within `reading` and `writing`; processes open one each.

    Attributes:
        path: Where the file is.
        connection: The way into it.

    Args:
        path: Where it is, or is to be made.
        schema: Statements that make those of its tables that are not there.
        version: Version of these tables; files of another one are refused.

    Raises:
        StoreUnavailable: From any method, where the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, schema: Sequence[str], version: int) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._lock = threading.Lock()
        with explained(path):
            for file in files_of(path):
                refuse_link(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with explained(path):
                self._set_up()
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; closing twice is harmless."""
        with self.reading():
            self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep other threads out, and explain what goes wrong."""
        with self._lock, explained(self.path):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do as `reading` does; all of what is written or, where anything fails, none is."""
        with self.reading(), self._transaction():
            yield

    def _set_up(self) -> None:
        # Two processes that make the file at once: SQLite reports that clash without waiting.
        give_up = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                with self._transaction("DEFERRED"):  # one view of the file, while others write
                    self._check_version()
                self.connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
        self.connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode: never corrupts
        with self._transaction():
            is_new = self._check_version() == 0
            for statement in self._schema:  # a table may have been added since the file was made
                self.connection.execute(statement)
            if is_new:
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.connection.execute(f"PRAGMA user_version = {self._version}")

    def _check_version(self) -> int:
        """The version of the file's schema, 0 for a new file.

        Raises:
            StoreUnavailable: It is not a store, or of a version that we do not know.
        """
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (n_tables,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == application == n_tables == 0:
            return 0
        if application != APPLICATION_ID:
            raise StoreUnavailable(
                f"{self.path} is a database of another program",
                "Move it away, or set CLIPAUDIT_CACHE_DIR to another folder.",
            )
        if version != self._version:
            raise StoreUnavailable(
                f"the store {self.path} has version {version}, and this clipaudit reads "
                f"version {self._version}",
                "Update clipaudit, set CLIPAUDIT_CACHE_DIR to another folder, or start afresh "
                "with `clipaudit cache clear`.",
            )
        return self._version

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self.connection.execute(f"BEGIN {kind}")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # a full disk has rolled back by itself
                self.connection.execute("ROLLBACK")
            raise


def files_of(path: Path) -> tuple[Path, ...]:
    """The store's files; the log first, so that none outlives the file that it belongs to."""
    return (*(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")), path)


def is_ours_to_delete(path: Path) -> bool:
    """Whether it is a broken store or one of ours, and not another program's database."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            return bool(application == APPLICATION_ID)
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return path.is_file()


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite or the system says, as an error that says what to do."""
    elsewhere = "Set CLIPAUDIT_CACHE_DIR to another folder, or pass --no-cache."
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise StoreUnavailable(
                f"the store {path} is damaged: {error}",
                "Start afresh with `clipaudit cache clear`; only time is lost.",
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreUnavailable(
                f"no space is left for the store {path}", f"Free some space. {elsewhere}"
            ) from error
        if code == sqlite3.SQLITE_BUSY:
            raise StoreBusy(
                f"another process keeps the store {path} locked",
                f"Wait for it to end. {elsewhere}",
            ) from error
        raise StoreUnavailable(f"cannot use the store {path}: {error}", elsewhere) from error
    except InputError as error:  # a link
        raise StoreUnavailable(f"cannot use the store: {error}", elsewhere) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(f"cannot use the store {path}: {reason}", elsewhere) from error
