"""DuckDB, shut in: it reads the files of a list, and nothing else, in bounded memory.

SQL is put together from fixed text and quoted names of columns; every value is a parameter.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from clipaudit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    import duckdb

Taken = TypeVar("Taken")

MEMORY_MB = 600
"""For DuckDB; with Python around it a process stays below 1 GB."""

_MOST_THREADS = 4
"""Each holds pages of a column, and ten million rows take two of them a few seconds."""


_ROWS_AT_ONCE = 8192


class Engine:
    """A database in memory that may open the given files, and whose settings are locked.

    Queries run in a thread of their own, so that Ctrl-C ends one in its midst. One that needs too
    much memory is tried once more with a single thread, which holds fewer pages at a time.

    Args:
        files: All that may be opened.
        memory_mb: What a query may take; one that needs more fails.
    """

    def __init__(self, files: Iterable[Path], memory_mb: int = MEMORY_MB) -> None:
        import duckdb

        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "threads": min(os.cpu_count() or 1, _MOST_THREADS),
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = duckdb.connect(":memory:", config=settings)
        allowed = [os.path.abspath(file) for file in files]  # noqa: PTH100 - links stay links
        self._connection.execute("SET allowed_paths = $allowed", {"allowed": allowed})
        self._connection.execute("SET allowed_configs = ['threads']")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._memory_mb = memory_mb
        self._is_alone = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="clipaudit-duckdb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; safe to repeat."""
        import duckdb

        self._executor.shutdown()
        with suppress(duckdb.Error):  # what Ctrl-C cut short may still hold it; only memory is lost
            self._connection.close()

    def all(self, path: Path, query: str, **values: object) -> list[tuple[Any, ...]]:
        """All rows that a query gives; `$file` in it is the path.

        Raises:
            InputError: The file is broken, or a query needs too much memory.
        """
        return self._run(path, lambda done: done.fetchall(), query, values)

    def stream(self, path: Path, query: str, **values: object) -> Iterator[list[tuple[Any, ...]]]:
        """All rows that a query gives, some thousands at a time, as they are asked for.

        No other query may be asked before the last of them came.

        Raises:
            InputError: As `all`.
        """
        done, rows = self._run(
            path, lambda done: (done, done.fetchmany(_ROWS_AT_ONCE)), query, values
        )
        while rows:
            yield rows
            rows = self._wait(path, lambda: done.fetchmany(_ROWS_AT_ONCE))

    def row(self, path: Path, query: str, **values: object) -> tuple[Any, ...]:
        """The one row that a query gives.

        Raises:
            InputError: As `all`.
        """
        (row,) = self.all(path, query, **values)
        return row

    def columns(self, path: Path, reader: str) -> list[tuple[str, str]]:
        """Names and types of what a reader gives; no name comes twice.

        Raises:
            InputError: As `all`.
        """
        query = f"SELECT * FROM {reader} LIMIT 0"  # noqa: S608 - fixed text
        return self._run(
            path,
            lambda done: [(str(column[0]), str(column[1])) for column in done.description],
            query,
            {},
        )

    def _run(
        self,
        path: Path,
        take: Callable[[duckdb.DuckDBPyConnection], Taken],
        query: str,
        values: dict[str, object],
    ) -> Taken:
        import duckdb

        def job() -> Taken:
            file = {"file": os.path.abspath(path)} if "$file" in query else {}  # noqa: PTH100
            try:
                return take(self._connection.execute(query, file | values))
            except duckdb.OutOfMemoryException:
                if self._is_alone:
                    raise
            self._is_alone = True
            self._connection.execute("SET threads = 1")
            return take(self._connection.execute(query, file | values))

        return self._wait(path, job)

    def _wait(self, path: Path, job: Callable[[], Taken]) -> Taken:
        """What a job in the engine's own thread gives."""
        import duckdb

        future = self._executor.submit(job)
        try:
            return future.result()
        except (duckdb.Error, RuntimeError, ValueError, OverflowError, MemoryError) as error:
            raise _refusal(path, error, self._memory_mb) from error
        except BaseException:  # Ctrl-C, or the end of the process: in this thread, not in that one
            self._connection.interrupt()
            raise


def _refusal(path: Path, error: Exception, memory_mb: int) -> InputError:
    import duckdb

    if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
        return InputError(
            f"{str(path)!r} needs more memory than the {memory_mb} MB that are set aside for it",
            "Its row groups are unusually large: write it anew in smaller ones, or pass --memory "
            "to `clipaudit lookup`.",
        )
    text = str(error)
    if "unicode" in text.lower() or "utf-8" in text.lower():
        return InputError(
            f"{str(path)!r} holds text that is not UTF-8: {_first_line(text)}",
            "Drop the broken bytes: iconv -f utf-8 -t utf-8 -c OLD > NEW; or name the encoding "
            "that it has, as in iconv -f latin1 -t utf-8 OLD > NEW.",
        )
    if "maximum line size" in text.lower():
        return InputError(
            f"{str(path)!r} has a row of more than two million bytes",
            "A quote may be missing, so that all that follows counts as one cell: save it anew.",
        )
    return InputError(
        f"{str(path)!r} cannot be read: {_first_line(text) or type(error).__name__}",
        "Fetch it anew: it is damaged, cut off, or another kind of file.",
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
