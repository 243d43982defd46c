"""Tar archives → the files in them, as webdataset, img2dataset and DataComp pack them.

Headers are read in their order, once and forwards; the bytes of a file are left where they are,
and their place is noted. No link is followed.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator

from clipaudit.pictures.base import BadImage
from clipaudit.pictures.places import (
    PASSED_OVER_LINK,
    Place,
    cut_off,
    damaged,
    plain_name,
    stamp_of,
)

_MOST_HEADER_BYTES = 1 << 20
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


def is_tar(start: bytes) -> bool:
    """Whether a file is a plain tar archive, by its first 512 bytes.

    Raises:
        BadImage: It is compressed.
    """
    if start.startswith(_COMPRESSED):
        raise compressed()
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        # Nothing but zeros is an archive without files.
        return len(start) == tarfile.BLOCKSIZE and not any(start)
    return True


def compressed() -> BadImage:
    """What a compressed tar archive says."""
    return BadImage(
        "unsupported", "a compressed archive is not read; decompress it to a plain .tar first"
    )


class _Headers(io.FileIO):
    """An archive from which no header can take much memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MOST_HEADER_BYTES:
            raise tarfile.ReadError("a header is too long")
        return super().read(size) or b""


class TarReading:
    """A way through a tar archive, forwards.

    Attributes:
        passed_over: How many of its members are no plain files, by what they are.
    """

    def __init__(self, archive: bytes, descriptor: int) -> None:
        self._archive = archive
        self._stamp = stamp_of(descriptor)
        self._stream = _Headers(descriptor, closefd=False)
        self.passed_over: Counter[str] = Counter()

    def files(self) -> Iterator[tuple[str, Place]]:
        """Names of its plain files, and where each lies.

        Raises:
            BadImage: It is damaged or cut off from here on.
        """
        n_bytes, _ = self._stamp
        end = 0
        try:
            with tarfile.open(
                fileobj=self._stream, mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep them
                    if member.size < 0 or archive.offset <= end:
                        raise damaged()
                    end = archive.offset
                    if not member.isreg() or member.issparse():
                        self.passed_over[PASSED_OVER_LINK] += not member.isdir()
                        continue
                    if member.offset_data + member.size > n_bytes:
                        raise cut_off()
                    place = Place(self._archive, member.offset_data, member.size, self._stamp)
                    yield plain_name(member.name), place
                end = archive.offset
        except BadImage:
            raise
        except tarfile.ReadError as error:
            raise (cut_off() if "unexpected end" in str(error) else damaged()) from error
        except Exception as error:  # whatever tarfile comes up with on a stranger's bytes
            raise damaged() from error
        self._require_end(end)

    def _require_end(self, offset: int) -> None:
        """That there are zeros where tarfile found no further header.

        Raises:
            BadImage: There is something else.
        """
        n_bytes, _ = self._stamp
        self._stream.seek(offset)
        block = self._stream.read(tarfile.BLOCKSIZE)
        if any(block):
            raise cut_off() if offset + tarfile.BLOCKSIZE > n_bytes else damaged()
