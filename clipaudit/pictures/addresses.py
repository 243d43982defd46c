"""Addresses such as s3://, gs:// and https://, and what they are called without their secrets.

What an address carries of its owner's, a password before the host or a signature in its query, is
used and never shown: an object is called by its address without them.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from clipaudit.errors import UsageError
from clipaudit.pictures.base import AnyPath

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEMES = "s3a?|gs|gcs|https?"
_ADDRESS = re.compile(rf"(?:{_SCHEMES})://[^/]".encode(), re.IGNORECASE)
_COLLAPSED = re.compile(rf"({_SCHEMES}):[/\\](?![/\\])", re.IGNORECASE)
_USER = re.compile(rf"((?:{_SCHEMES})://)[^/?#]*@", re.IGNORECASE)
_QUERY = re.compile(r"(https?://[^?#]*)\?[^#]*", re.IGNORECASE)


def is_address(path: AnyPath) -> bool:
    """Whether a path is an address of an object store or the web, and not of this machine.

    >>> is_address("s3://bucket/shard.tar"), is_address("s3/bucket/shard.tar")
    (True, False)
    """
    return _ADDRESS.match(os.fsencode(path)) is not None


def with_two_slashes(path: AnyPath) -> AnyPath:
    """An address of which a path object left one slash out; any other path as it is."""
    text = os.fsdecode(path)
    if _COLLAPSED.match(text) and not os.path.lexists(text):
        return _COLLAPSED.sub(r"\1://", text, count=1)
    return path


def without_secrets(text: str) -> str:
    """A path or a word of a command without what only the owner of an address in it may know.

    >>> without_secrets("--control=https://me:secret@example.org/a.tar?X-Amz-Signature=12ab")
    '--control=https://example.org/a.tar'
    """
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def require_online(paths: Iterable[AnyPath], *, offline: bool) -> None:
    """Refuse addresses where no connection may be opened.

    Raises:
        UsageError: There is one; the message names it.
    """
    for path in paths if offline else ():
        if is_address(path):
            raise UsageError(
                f"{without_secrets(os.fsdecode(path))} is an address, and offline nothing is "
                "fetched (--offline, or HF_HUB_OFFLINE is set)",
                "Leave --offline out, or download the pictures and name their files.",
            )


class _Addresses:
    """Whole addresses, by what they are called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whole: dict[bytes, bytes] = {}
        self._names: dict[bytes, bytes] = {}

    def name(self, address: bytes) -> bytes:
        """What an address is called; of those that differ in secrets alone the later are numbered.

        The name has the ending of the object's own.
        """
        bare = os.fsencode(without_secrets(os.fsdecode(address)))
        if bare == address:
            return address
        with self._lock:
            if address not in self._names:
                folder, _, last = bare.rpartition(b"/")
                name, number = bare, 1
                while name in self._whole:
                    number += 1
                    name = b"%b/?%d/%b" % (folder, number, last)
                self._whole[name], self._names[address] = address, name
            return self._names[address]

    def whole(self, name: bytes) -> bytes:
        """The address with all that it takes to read it."""
        return self._whole.get(name, name)


_addresses = _Addresses()


def name_address(address: bytes) -> bytes:
    """What an object is called in results; the whole address is remembered for reading it."""
    return _addresses.name(address)


def is_of_web(address: bytes) -> bool:
    """Whether an address is of the web, which lists nothing, and not of an object store."""
    return address[:4].lower() == b"http"


def whole_address(address: bytes) -> str:
    """An address with its secrets, as the libraries take it."""
    text = os.fsdecode(_addresses.whole(address))
    scheme, _, rest = text.partition("://")
    if is_of_web(address):
        rest = quote(rest.partition("#")[0], safe="!#$%&'()*+,/:;=?@[]~")
    return f"{scheme.lower()}://{rest.rstrip('/') if not is_of_web(address) else rest}"
