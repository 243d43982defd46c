"""Files: JSON that is read with care; writing so that nobody sees half, nor through a link.

A link may come with a folder from a stranger, and point to anything of the user's. So a file
takes the place of a link, and a folder that we go on in is looked through with `refuse_links`.
The folder that a user names may be a link, and so may those above it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from reprlib import repr as repr_of
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, TypeVar, cast

from platformdirs import user_cache_dir

from clipaudit.errors import ClipAuditError, InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from pydantic import TypeAdapter

T = TypeVar("T")

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = ".clipaudit-*.tmp"


class FileError(ClipAuditError):
    """A file or a folder cannot be written."""

    exit_code = 4


class NoHomeError(FileError):
    """The user has no home folder, as in a container, under cron or under systemd."""

    def __init__(
        self,
        message: str = "no home folder: HOME is not set, and the system does not know this user",
        hint: str = "Set CLIPAUDIT_CACHE_DIR to a folder that you may write to.",
    ) -> None:
        super().__init__(message, hint)


class FormatError(ValueError):
    """A file of ours that another version of clipaudit wrote."""


def read_json(
    path: Path,
    kind: type[T],
    *,
    version: int | None = None,
    unknown: Literal["ignore", "forbid"] = "ignore",
    printable: bool = False,
) -> T:
    """What a JSON file holds, as a value of the type that it should hold.

    Args:
        path: The file, in UTF-8.
        kind: See `as_type`.
        version: What stands beside the value as `format`, where anything does.
        unknown: See `as_type`.
        printable: See `as_type`.

    Raises:
        OSError: It cannot be read.
        FormatError: It has another `format`.
        ValueError: It is no text, no JSON, or not of that type; says what is wrong, and where.
    """
    plain = load_json(path.read_text(encoding="utf-8"))
    if version is not None:
        plain = of_format(plain, version)
    return as_type(plain, kind, unknown=unknown, printable=printable)


def load_json(text: str) -> Any:
    """The plain values of a JSON text.

    Raises:
        ValueError: It is no JSON, or holds a number that is too large or none at all.
    """
    try:
        return json.loads(
            text, parse_constant=_refuse_number, parse_float=_finite, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON, or it is cut off ({error})") from error


def of_format(plain: object, version: int) -> dict[str, Any]:
    """A JSON object of one format, without the number that says so.

    Raises:
        FormatError: It is of another one.
        ValueError: It does not say, or is no object.
    """
    found = plain.get("format") if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or type(found) is not int:
        raise ValueError("it does not say its format")
    if found != version:
        raise FormatError(f"it has format {found}, and this clipaudit reads {version}")
    return {name: value for name, value in plain.items() if name != "format"}


def as_type(
    plain: object,
    kind: type[T],
    *,
    unknown: Literal["ignore", "forbid"] = "ignore",
    printable: bool = False,
) -> T:
    """Plain values of JSON as a value of a type.

    Args:
        plain: What `load_json` gave.
        kind: A dataclass, or any other type that pydantic knows. The JSON is taken at its word:
            no text stands for a number.
        unknown: What becomes of fields that a dataclass does not have.
        printable: Refuse text that a screen would not show as it is.

    Raises:
        ValueError: They are not of that type; says what is wrong, and where.
    """
    from pydantic import ValidationError

    if printable:
        _require_printable(plain)
    adapter: TypeAdapter[T] = _adapter(cast("Hashable", kind))
    try:
        text = json.dumps(plain)
        # Names of files may hold halves of characters, which the strict reader refuses.
        whole = _SURROGATE.sub(r"\\ufffd", text)
        value: T = adapter.validate_json(whole, strict=True, extra=unknown)
        if whole != text:
            value = adapter.validate_python(plain, extra=unknown)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error":
            problem += f", got {repr_of(first['input'])}"
        raise ValueError(f"{place}: {problem}" if place else problem) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def _refuse_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse_number(digits)


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _require_printable(plain: object) -> None:
    if isinstance(plain, str) and not plain.isprintable():
        raise ValueError(f"{plain!r} is no text to show")
    if isinstance(plain, dict | list):
        for item in chain(plain, plain.values()) if isinstance(plain, dict) else plain:
            _require_printable(item)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, and not where it raises.

    It is written beside `path`, under another name, and reaches the disk before it is renamed.
    A link is replaced itself: what it points to stays. A file that was there keeps its rights.

    Raises:
        FileError: The disk is full, or the system says no for another reason.
    """
    temporary = path.with_name(_TEMPORARY.replace("*", secrets.token_hex(8)))
    try:
        with _explained(path):
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if path.exists() and not is_link(path):
                temporary.chmod(path.stat().st_mode & 0o777)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # it has been renamed, or could not even be made
            temporary.unlink()


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file in the place of another, or leave that as it was.

    Raises:
        FileError: As `replacing`.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` when the block ends, and not where it raises.

    It is filled beside `path`, under another name. A folder that was there is removed.

    Raises:
        FileError: As `replacing`.
    """
    new, old = (path.with_name(_TEMPORARY.replace("*", secrets.token_hex(8))) for _ in range(2))
    try:
        with _explained(path):
            new.mkdir(parents=True)
            yield new
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Write a line at the end of a text file, which is made where there is none.

    Raises:
        InputError: The file is a link.
        FileError: As `replacing`; part of the line may have been written.
    """
    refuse_link(path)
    with _explained(path), open(path, "a", encoding="utf-8", opener=_open_no_link) as file:
        file.write(f"{line}\n")


def make_folder(path: Path) -> None:
    """Make a folder with those above it; one that is there stays as it is.

    Raises:
        FileError: The system does not let us, or a file is in the way.
    """
    with _explained(path):
        path.mkdir(parents=True, exist_ok=True)


def is_link(path: Path) -> bool:
    """Whether it is a link, or a junction of Windows."""
    return path.is_symlink() or getattr(path, "is_junction", bool)()  # from Python 3.12 on


def refuse_link(path: Path) -> None:
    """Raise where a file or a folder of ours is a link.

    Raises:
        InputError: It is one; the message names it.
    """
    if is_link(path):
        raise InputError(
            f"{str(path)!r} is a link, and clipaudit writes through no link that it did not make",
            "See where it points to. Remove the link, or name another place with -o.",
        )


def refuse_links(folder: Path) -> None:
    """Raise where anything below a folder is a link; the folder itself may be one, or missing.

    Raises:
        InputError: There is a link; the message names it.
        FileError: A folder cannot be looked into.
    """
    with _explained(folder):
        try:
            paths = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):  # for whoever writes there to say
            return
    for path in paths:
        refuse_link(path)
        if path.is_dir():
            refuse_links(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left half written, there and below; nobody else may write there."""
    for path in folder.rglob(_TEMPORARY):
        with suppress(OSError):
            path.unlink()


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Free some space" if error.errno in _FULL else "Name another place with -o"
        raise FileError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            f"{advice} and run it again: what was computed is kept, so it takes little time.",
        ) from error


def expand_home(path: str | Path) -> Path:
    """The path with a home folder in the place of `~` or `~name` at its start.

    Where nobody is called so, it stays as it is: there are files called `~$notes`.

    Raises:
        NoHomeError: The user's own is meant, and there is none.
    """
    expanded = Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises for `~$notes`
    if expanded.parts[:1] == ("~",):
        raise NoHomeError
    return expanded


def cache_dir() -> Path:
    """Folder of what clipaudit can make again, which may not exist yet.

    `CLIPAUDIT_CACHE_DIR` moves it.

    Raises:
        NoHomeError: The variable is not set, and the user has no home folder.
    """
    if named := os.environ.get("CLIPAUDIT_CACHE_DIR"):
        return expand_home(named)
    try:
        return expand_home(user_cache_dir("clipaudit"))
    except RuntimeError as error:
        raise NoHomeError from error
