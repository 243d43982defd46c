"""Zip archives → the files in them, and the bytes of one.

The list at the end of an archive is gone through once and forwards, an entry at a time, so that
memory does not grow with it; the standard library would hold all of it. Nothing is unpacked to
disk, and of a file no more is unpacked than the archive says that it has.

Source: APPNOTE.TXT 6.3.10, 4.3.7 (local header), 4.3.12 (entry), 4.3.14 to 4.3.16 (ends).
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from clipaudit.pictures.base import BadImage
from clipaudit.pictures.places import (
    PASSED_OVER_LINK,
    ArchivedPicture,
    Place,
    ZipMember,
    damaged,
    plain_name,
    stamp_of,
)

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_EXTRA = struct.Struct("<2H")

_SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # a file, an archive without any, a first part
_MOST_COMMENT_BYTES = 0xFFFF
_IN_EXTRA_16, _IN_EXTRA_32 = 0xFFFF, 0xFFFFFFFF
_UNIX = 3
_IS_ENCRYPTED, _IS_UTF8 = 0x1, 0x800
_STORED, _DEFLATED = 0, 8
_CHUNK_BYTES = 1 << 20

_ENCRYPTED = BadImage("unsupported", "it is encrypted; unpack the archive with its password first")
_OTHER_METHOD = BadImage(
    "unsupported", "it is not packed as zip archives usually are (deflate); unpack the archive"
)
_IN_PARTS = BadImage("unsupported", "the archive is in several parts; join them first")


class _Directory(NamedTuple):
    """The list at the end of an archive.

    Attributes:
        offset: Bytes before it.
        end: Bytes up to its end. How many files are in it is not asked: beyond 65,535 some
            programs write a wrong number.
        shift: Bytes that stand before the archive, and that it does not count.
    """

    offset: int
    end: int
    shift: int


def is_zip(start: bytes) -> bool:
    """Whether a file is a zip archive, by its first bytes."""
    return start.startswith(_SIGNATURES)


class ZipReading:
    """A way through the list of a zip archive, forwards.

    Attributes:
        passed_over: How many of its members are no plain files, by what they are.
    """

    def __init__(self, archive: bytes, descriptor: int) -> None:
        self._archive = archive
        self._stamp = stamp_of(descriptor)
        self._stream = io.BufferedReader(io.FileIO(descriptor, closefd=False))
        self.passed_over: Counter[str] = Counter()

    def files(self) -> Iterator[ArchivedPicture]:
        """Its plain files.

        Raises:
            BadImage: It is damaged or cut off from here on.
        """
        try:
            directory = self._directory()
            self._stream.seek(directory.offset)
            before = range(0)
            while self._stream.tell() < directory.end:
                file = self._entry(directory)
                if file is None:
                    continue
                if file.place.offset in before:
                    raise BadImage(
                        "corrupt",
                        "files of the archive lie over each other, as in a decompression bomb",
                    )
                if file.place.offset >= directory.offset:
                    raise damaged()
                before = _span(file.place)
                yield file
        except (struct.error, ValueError, OverflowError) as error:
            raise damaged() from error

    def _entry(self, directory: _Directory) -> ArchivedPicture | None:
        """The next file of the list; None for what is no plain one."""
        fields = _ENTRY.unpack(self._stream.read(_ENTRY.size))
        signature, version, _, flags, method, _, _, crc32, n_packed, n_bytes = fields[:10]
        n_name, n_extra, n_comment, _, _, attributes, offset = fields[10:]
        if signature != b"PK\1\2":
            raise damaged()
        raw_name, extra = self._stream.read(n_name), self._stream.read(n_extra)
        self._stream.seek(n_comment, os.SEEK_CUR)
        n_bytes, n_packed, offset = _in_full(extra, n_bytes, n_packed, offset)
        name = _name(raw_name, flags)
        mode = attributes >> 16 if version >> 8 == _UNIX else 0
        if name.endswith("/") or stat.S_ISDIR(mode):
            return None
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            self.passed_over[PASSED_OVER_LINK] += 1
            return None
        member = ZipMember(n_packed, method == _DEFLATED, crc32)
        place = Place(self._archive, offset + directory.shift, n_bytes, self._stamp, member)
        problem = None
        if flags & _IS_ENCRYPTED:
            problem = _ENCRYPTED
        elif method not in (_STORED, _DEFLATED):
            problem = _OTHER_METHOD
        return ArchivedPicture(plain_name(name), place, problem)

    def _directory(self) -> _Directory:
        """Where the list is.

        Raises:
            BadImage: The end of the archive is not there, or it is in several parts.
        """
        n_bytes, _ = self._stamp
        tail_start = max(n_bytes - _END.size - _MOST_COMMENT_BYTES, 0)
        self._stream.seek(tail_start)
        tail = self._stream.read(_END.size + _MOST_COMMENT_BYTES)
        at = len(tail)
        while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:  # a comment may hold one, too
            if len(tail) - at == _END.size + int.from_bytes(tail[at + 20 : at + 22], "little"):
                break
        if at < 0:
            raise BadImage(
                "truncated",
                "the archive is cut off, and the list of its files is at its end; fetch it anew",
            )
        end = tail_start + at
        _, part, _, _, n_files, n_list, offset, _ = _END.unpack_from(tail, at)
        if part not in (0, _IN_EXTRA_16):
            raise _IN_PARTS
        if _IN_EXTRA_16 in (part, n_files) or _IN_EXTRA_32 in (n_list, offset):
            with suppress(struct.error):  # without a locator the small numbers are the true ones
                end, n_list, offset = self._end_64(end) or (end, n_list, offset)
        start = end - n_list
        if start < offset:
            raise damaged()
        return _Directory(start, end, start - offset)

    def _end_64(self, end: int) -> tuple[int, int, int] | None:
        """Where the end of a large archive is, and size and place of its list."""
        self._stream.seek(max(end - _LOCATOR_64.size, 0))
        signature, _, at, n_parts = _LOCATOR_64.unpack(self._stream.read(_LOCATOR_64.size))
        if signature != b"PK\6\7":
            return None
        if n_parts > 1:
            raise _IN_PARTS
        self._stream.seek(at)
        fields = _END_64.unpack(self._stream.read(_END_64.size))
        if fields[0] != b"PK\6\6":
            raise damaged()
        *_, n_list, offset = fields
        return at, n_list, offset


def _span(place: Place) -> range:
    """Where no other file starts; the parts of its header whose length varies are left out."""
    assert isinstance(place.inside, ZipMember)
    return range(place.offset, place.offset + _LOCAL.size + place.inside.n_packed)


def _name(raw: bytes, flags: int) -> str:
    raw = raw.partition(b"\0")[0]
    if flags & _IS_UTF8:
        return raw.decode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _in_full(extra: bytes, n_bytes: int, n_packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and place of a file, those out of the extra field where they are too large."""
    numbers = [n_bytes, n_packed, offset]
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, n_extra = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == 1:
            field = extra[at : at + n_extra]
            for place, number in enumerate(numbers):
                if number == _IN_EXTRA_32 and len(field) >= 8:
                    numbers[place] = int.from_bytes(field[:8], "little")
                    field = field[8:]
            break
        at += n_extra
    return numbers[0], numbers[1], numbers[2]


def unpacked(descriptor: int, place: Place, member: ZipMember) -> Iterator[bytes]:
    """The bytes of a file in a zip archive, so many at a time, and never more than it should have.

    Raises:
        BadImage: What is there is another file, does not unpack, or is not what it should be.
    """
    os.lseek(descriptor, place.offset, os.SEEK_SET)
    start = os.read(descriptor, _LOCAL.size)
    if len(start) < _LOCAL.size or not start.startswith(b"PK\3\4"):
        raise _broken()
    *_, n_name, n_extra = _LOCAL.unpack(start)
    os.lseek(descriptor, n_name + n_extra, os.SEEK_CUR)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS) if member.is_deflated else None
    n_left, n_wanted, crc32 = member.n_packed, place.n_bytes, 0
    while n_wanted:
        packed = unpacker.unconsumed_tail if unpacker else b""
        if not packed:
            packed = os.read(descriptor, min(n_left, _CHUNK_BYTES))
            n_left -= len(packed)
        try:
            data = unpacker.decompress(packed, min(n_wanted, _CHUNK_BYTES)) if unpacker else packed
        except zlib.error as error:
            raise _broken() from error
        if not packed and not data:
            raise _broken()
        data = data[:n_wanted]
        n_wanted -= len(data)
        crc32 = zlib.crc32(data, crc32)
        if data:
            yield data
    if crc32 != member.crc32:
        raise _broken()


def _broken() -> BadImage:
    return BadImage("corrupt", "it does not unpack to what the archive says of it")
