"""PNG files whose pixels are whole, but whose metadata Pillow refuses → the same without it."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_LOOKS = frozenset((b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"))
"""Further chunks that change what a picture looks like: kept, where they are whole."""
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_MOST_XMP_BYTES = 1 << 20
_MOST_PROFILE_BYTES = 1 << 24


class Stripped(NamedTuple):
    """A PNG file without metadata that could be in the way.

    Attributes:
        data: Bytes of the file, with its pixels as they were.
        profile: Its colour profile (ICC), where it can be read.
    """

    data: bytes
    profile: bytes | None


def without_metadata(data: bytes) -> Stripped | None:
    """A PNG file without texts, sizes in print and whatever else is damaged or no pixels need.

    Returns:
        None where it is no PNG file, or where nothing would be left out of it.
    """
    if not data.startswith(SIGNATURE):
        return None
    parts = [SIGNATURE]
    profile = None
    for kind, start, end in chunks_of(data):
        whole = data[start:end]
        body = whole[8:-4]
        is_sound = zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big")
        if kind == b"iCCP" and is_sound:
            profile = _profile(body)
        elif kind in _PIXELS or (is_sound and (kind in _LOOKS or _is_small_xmp(kind, body))):
            parts.append(whole)
    stripped = b"".join(parts)
    return None if len(stripped) == len(data) else Stripped(stripped, profile)


def chunks_of(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk; where one's length is wrong, on from the next pixels."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind not in _PIXELS and not _leads_on(data, end):
            found = data.find(b"IDAT", at + 8)
            if found < 0:
                found = data.find(b"IEND", at + 8)
            if found < 0:
                return
            at = found - 4
            continue
        yield kind, at, min(end, len(data))
        at = end


def _leads_on(data: bytes, at: int) -> bool:
    """Whether another chunk begins at a place."""
    return at + 12 <= len(data) and data[at + 4 : at + 8].isalpha()


def _is_small_xmp(kind: bytes, body: bytes) -> bool:
    """Whether it is an XMP packet, which may say which way is up, that Pillow would read."""
    if kind != b"iTXt" or not body.startswith(XMP_KEYWORD):
        return False
    is_packed = body[len(XMP_KEYWORD) : len(XMP_KEYWORD) + 1] != b"\0"
    return not is_packed and len(body) <= _MOST_XMP_BYTES


def _profile(body: bytes) -> bytes | None:
    _, _, rest = body.partition(b"\0")
    if rest[:1] != b"\0":
        return None
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(rest[1:], _MOST_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
