"""Addresses such as s3://, gs:// and https:// → what lies there, and copies of it on this machine.

An object is fetched whole into a private folder, which holds a few of them and goes with the
process. So all else reads files as ever, and shards are gone through one after the other.

An object is called by its name of `addresses`, which holds no secret.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from functools import cache
from typing import Any, Literal, NamedTuple

from clipaudit.errors import extra_imports
from clipaudit.pictures.addresses import is_address, is_of_web, whole_address
from clipaudit.pictures.base import AnyPath, BadImage

_MOST_COPIES = 16
_MOST_BYTES = 4 << 30
_MOST_OBJECT_BYTES = 64 << 30
_MOST_LISTINGS = 4
_TRIES = 3
_PAUSE_S = 0.5
_CONNECT_S, _SILENCE_S = 10, 30
_LEAST_BYTES_PER_S = 1000
_PATIENCE_S = 60.0
"""How long a server may take before it is asked for `_LEAST_BYTES_PER_S`."""

_CUT_OFF = BadImage("unreadable", "the connection broke off before its end")
_GARBLED = BadImage("unreadable", "what the server sends does not keep to HTTP")
_UNTRUSTED = BadImage("unreadable", "the certificate of the server is not trusted")
_SILENT = BadImage("unreadable", "the server does not answer, or is too slow")
_CHANGED = BadImage("changed", "it was written to while it was read")


class _Facts(NamedTuple):
    """What a server says of an object: what tells whether it is still the same.

    Attributes:
        n_bytes: Its size; None where the server does not say.
        version: Its entity tag or time of change; empty where the server names neither.
    """

    n_bytes: int | None
    version: str

    @property
    def time_s(self) -> int:
        """Time of change of its copies: another one for another version, the same on every node."""
        digest = hashlib.blake2b(self.version.encode("utf-8", "replace"), digest_size=4).digest()
        return int.from_bytes(digest) >> 1


class _Copy(NamedTuple):
    """A copy of an object.

    Attributes:
        path: Where it is.
        n_bytes: Its size.
        facts: What was said of the object when it was fetched.
    """

    path: bytes
    n_bytes: int
    facts: _Facts


class Entry(NamedTuple):
    """What lies in a remote folder.

    Attributes:
        name: The last part of its address.
        is_folder: Whether more lies below it.
    """

    name: bytes
    is_folder: bool


# --- what is there ---


def kind_of(address: bytes) -> Literal["file", "folder"]:
    """What lies at an address; of the web it is known to be a file alone.

    Raises:
        BadImage: `missing`, or `unreadable`.
        MissingExtraError: An extra is not installed.
    """
    store = _store(address)
    if is_of_web(address):
        return "file"
    try:
        info: dict[str, Any] = store.info(whole_address(address))
    except Exception as error:  # whatever a library comes up with
        raise _problem(error) from error
    return "folder" if info["type"] == "directory" else "file"


def list_folder(address: bytes) -> list[Entry]:
    """What lies in a remote folder, by name; its address ends in a slash.

    Raises:
        BadImage: `missing`, or `unreadable`.
    """
    try:
        infos = _store(address).ls(whole_address(address), detail=True)
    except Exception as error:
        raise _problem(error) from error
    entries: set[Entry] = set()
    for info in infos:
        name = os.fsencode(info["name"].rstrip("/").rpartition("/")[2])
        # An empty object with the folder's own name marks that there is such a folder.
        if info["name"].rstrip("/") != whole_address(address).partition("://")[2]:
            entries.add(Entry(name, info["type"] == "directory"))
    listing = sorted(entries)
    _listings[address] = frozenset(entry.name for entry in listing if not entry.is_folder)
    _listings.move_to_end(address)
    while len(_listings) > _MOST_LISTINGS:
        _listings.popitem(last=False)
    return listing


_listings: OrderedDict[bytes, frozenset[bytes]] = OrderedDict()
"""Names of the files in the folders that were listed last."""


def is_beside(path: AnyPath) -> bool:
    """Whether there is an object of that address; for files beside a picture.

    Never on the web, which does not list what there is.
    """
    address = os.fsencode(path)
    if not is_address(address) or is_of_web(address):
        return False
    folder, name = address[: address.rindex(b"/") + 1], address[address.rindex(b"/") + 1 :]
    with suppress(BadImage):
        if folder not in _listings:
            list_folder(folder)
        return name in _listings.get(folder, ())
    return False


# --- copies ---


def local_path(path: AnyPath, most_bytes: int | None = None, *, anew: bool = False) -> bytes:
    """The path of a file, or of a copy of what lies at an address.

    The copy lies there until some more were asked for; one that is open stays whole.

    Args:
        path: A path, or an address.
        most_bytes: How many bytes the object may have.
        anew: Ask the server whether a copy is still that of the object.

    Raises:
        BadImage: `missing`, `unreadable`, `changed` or `too_large`.
    """
    name = os.fsencode(path)
    return _copies.path(name, most_bytes or _MOST_OBJECT_BYTES, anew) if is_address(name) else name


class _Copies:
    """Copies of the objects that were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: OrderedDict[bytes, _Copy] = OrderedDict()
        self._folder: str | None = None
        self._n_fetched = 0

    def path(self, address: bytes, most_bytes: int, anew: bool) -> bytes:
        with self._lock:
            copy = self._copies.get(address)
            if copy is None or (anew and copy.facts != _facts(address)):
                self._forget(address)
                copy = self._copies[address] = self._fetch(address, most_bytes)
            self._copies.move_to_end(address)
            while len(self._copies) > 1 and (
                len(self._copies) > _MOST_COPIES
                or sum(other.n_bytes for other in self._copies.values()) > _MOST_BYTES
            ):
                self._forget(next(iter(self._copies)))
            return copy.path

    def close(self) -> None:
        """Remove all copies."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._copies.clear()
        self._folder = None

    def _forget(self, address: bytes) -> None:
        if copy := self._copies.pop(address, None):
            with suppress(OSError):
                os.unlink(copy.path)  # noqa: PTH108 - bytes

    def _fetch(self, address: bytes, most_bytes: int) -> _Copy:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="clipaudit-")
            atexit.register(self.close)
        self._n_fetched += 1
        path = os.fsencode(os.path.join(self._folder, str(self._n_fetched)))  # noqa: PTH118
        tries = _TRIES if is_of_web(address) else 1  # the libraries of the stores try again
        for number in range(tries):
            try:
                return _fetch(address, path, most_bytes)
            except Exception as error:
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108
                if number + 1 == tries or not _is_transient(error):
                    raise _problem(error) from error
                time.sleep(_PAUSE_S * 2**number)
        raise AssertionError


_copies = _Copies()


def _fetch(address: bytes, path: bytes, most_bytes: int) -> _Copy:
    from fsspec.callbacks import Callback

    too_large = BadImage("too_large", f"it has more than {most_bytes:,} bytes, the limit")

    class Watch(Callback):  # type: ignore[misc]  # the library is not typed
        """Ends a download that takes too much or too long."""

        n_bytes = 0
        started = time.monotonic()

        def relative_update(self, inc: int = 1) -> None:
            self.n_bytes += inc
            if self.n_bytes > most_bytes:
                raise too_large
            seconds = time.monotonic() - self.started
            if seconds > _PATIENCE_S and self.n_bytes < _LEAST_BYTES_PER_S * seconds:
                raise _SILENT

    facts = _facts(address)
    if facts.n_bytes is not None:
        if facts.n_bytes > most_bytes:
            raise too_large
        if facts.n_bytes > shutil.disk_usage(os.path.dirname(path)).free:  # noqa: PTH120
            raise OSError(errno.ENOSPC, "")
    how: dict[str, Any] = {}
    if not is_of_web(address):  # some megabytes at once; usual are hundreds
        is_s3 = address[:2].lower() == b"s3"
        how = {"max_concurrency": 4, "chunksize": 8 << 20} if is_s3 else {"concurrency": 1}
    _store(address).get_file(whole_address(address), os.fsdecode(path), callback=Watch(), **how)
    n_bytes = os.stat(path).st_size  # noqa: PTH116
    if facts.n_bytes not in {None, n_bytes}:
        raise _CHANGED if facts != _facts(address) else _CUT_OFF
    os.utime(path, (facts.time_s, facts.time_s))
    return _Copy(path, n_bytes, facts)


def _facts(address: bytes) -> _Facts:
    """What the server says of an object; of one on the web it may not say anything."""
    try:
        info = _store(address).info(whole_address(address))
    except FileNotFoundError:
        if not is_of_web(address):
            raise
        return _Facts(None, "")  # it may give what it does not tell of
    if info["type"] != "file":
        raise BadImage("not_a_file", "a folder, not a regular file")
    version = info.get("ETag") or info.get("etag") or info.get("Last-Modified") or ""
    return _Facts(info["size"], str(version))


# --- the libraries ---


def _store(address: bytes) -> Any:
    scheme = address.partition(b":")[0].decode().lower()
    return _open_store({"s3a": "s3", "gcs": "gs", "http": "https"}.get(scheme, scheme))


@cache
def _open_store(scheme: str) -> Any:
    """What reads addresses of that kind.

    Raises:
        MissingExtraError: It is not installed.
    """
    with extra_imports(f"Reading {scheme}://"):
        if scheme == "https":
            import aiohttp
            import fsspec

            wait = aiohttp.ClientTimeout(
                total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S, sock_read=_SILENCE_S
            )
            return fsspec.filesystem(
                "https",
                encoded=True,
                skip_instance_cache=True,
                client_kwargs={"timeout": wait, "trust_env": True},
            )
        if scheme == "s3":
            import s3fs

            wait_s3 = {"connect_timeout": _CONNECT_S, "read_timeout": _SILENCE_S}
            return s3fs.S3FileSystem(
                skip_instance_cache=True, use_listings_cache=False, config_kwargs=wait_s3
            )
        # Else gcsfs asks for the kind of every bucket first, by another protocol and for up to a
        # minute, and prints warnings where it is not told; only zonal buckets need that.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        import gcsfs

        return gcsfs.GCSFileSystem(
            skip_instance_cache=True, use_listings_cache=False, timeout=_SILENCE_S
        )


def _is_garbled(error: Exception) -> bool:
    """Whether the answer could not be read; the library makes that an answer with number 400."""
    return "HttpProcessing" in type(error.__cause__).__name__


def _status(error: Exception) -> int:
    """The number of the answer; 0 where there was none."""
    if _is_garbled(error):
        return 0
    with suppress(TypeError, ValueError):
        return int(getattr(error, "status", None) or getattr(error, "code", None) or 0)
    return 0


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def _is_transient(error: Exception) -> bool:
    status = _status(error)
    if status:
        return status >= 500 or status == 429
    if isinstance(error, BadImage):
        return error is _CUT_OFF
    if "Certificate" in type(error).__name__:
        return False
    return _is_timeout(error) or type(error).__module__.startswith("aiohttp")


def _problem(error: Exception) -> BadImage:
    """Why the server does not give what lies at an address."""
    if isinstance(error, BadImage):
        return error
    status, name = _status(error), type(error).__name__
    if isinstance(error, FileNotFoundError) or status in {404, 410}:
        return BadImage("missing", "there is no such object, folder or bucket")
    if isinstance(error, PermissionError) or status in {401, 403}:
        return BadImage("unreadable", "the server denies access to it")
    if "Credentials" in name:
        return BadImage(
            "unreadable", "no credentials were found; for a public bucket set FSSPEC_S3_ANON=true"
        )
    if _is_timeout(error):
        return _SILENT
    if _is_garbled(error):
        return _GARBLED
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return BadImage("unreadable", "there is no room on this machine for a copy of it")
    if "Certificate" in name:
        return _UNTRUSTED
    if "Payload" in name or "Disconnected" in name:
        return _CUT_OFF
    if "URL" in name or "ParamValidation" in name:
        return BadImage("missing", "nothing can have this address")
    answer = f"HTTP {status}" if status else name
    return BadImage("unreadable", f"the server cannot be reached, or gives an error ({answer})")
