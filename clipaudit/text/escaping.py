"""Names that others chose, made safe for a screen, a spreadsheet and a data file."""

from __future__ import annotations

import base64
import json
import os
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


def shown(text: str) -> str:
    r"""The text with everything escaped that a terminal or an eye could take for another thing.

    >>> shown("a\x1b[2Jb\nc\udcff")
    'a\\x1b[2Jb\\nc\\xff'
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def in_a_cell(text: str) -> str:
    """The text as shown, and never a formula to a spreadsheet.

    >>> in_a_cell("=1+1")
    "'=1+1"
    """
    return "'" + shown(text) if text.startswith(_FORMULA_STARTS) else shown(text)


def as_json(value: object, indent: int | None = None) -> str:
    """JSON in ASCII alone, so that no name can do harm, and without NaN, which is not JSON."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent, default=str)


def as_utf8(text: str) -> str:
    r"""The text, with those bytes escaped that are not UTF-8.

    >>> as_utf8("a\udcff\n")
    'a\\xff\n'
    """
    return "".join(map(_escaped, text)) if _has_surrogates(text) else text


def exact(path: str) -> str:
    """The very bytes of a path, in base64."""
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a UTF-16 pair, from a Windows file system
        raw = path.encode("utf-8", "surrogatepass")
    return base64.b64encode(raw).decode()


def exact_unless_utf8(path: str) -> str | None:
    """`exact` for a path that is not valid UTF-8, else None."""
    return exact(path) if _has_surrogates(path) else None


def common_folder(paths: Iterable[str]) -> str:
    """The folder that all are in, with its separator; empty where there is none to name.

    They are gone through once, and not kept.
    """
    common: str | None = None
    n_paths = 0
    unusual = []  # written with what says nothing, such as `a//b`
    for path in paths:
        n_paths += 1
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder != common:
            try:
                common = os.path.commonpath([folder] if common is None else [common, folder])
            except ValueError:  # relative and absolute ones, or two drives
                return ""
        if not path.startswith(common + os.sep):
            unusual.append(path)
    if n_paths < 2 or common in {"", os.sep, None}:
        return ""
    named = f"{common}{os.sep}"
    return named if all(path.startswith(named) for path in unusual) else ""


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _visible(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return _escaped(char) if "\ud800" <= char <= "\udfff" else repr(char)[1:-1]


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that could not be decoded
        return f"\\x{ord(char) - 0xDC00:02x}"
    return repr(char)[1:-1] if "\ud800" <= char <= "\udfff" else char
