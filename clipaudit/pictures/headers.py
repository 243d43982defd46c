"""What a file's bytes say of how it was written, without decoding any pixel.

Only what tells sources apart: the format, how strongly a JPEG was compressed, and whether there is
metadata. Nothing here raises, whatever the bytes: what cannot be read counts as not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Format = Literal["JPEG", "PNG", "WebP", "other"]

_STANDARD_SUM = 3688
"""Sum of the luminance table in annex K of the JPEG standard: the one of quality 50."""

_STARTS_OF_FRAME = {
    0xC0,
    0xC1,
    0xC2,
    0xC3,
    *range(0xC5, 0xC8),
    *range(0xC9, 0xCC),
    0xCD,
    0xCE,
    0xCF,
}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers that have no length after them."""


@dataclass(frozen=True, slots=True)
class Header:
    """How a file was written.

    Attributes:
        format: Format, by the first bytes.
        jpeg_quality: 1 to 100 as libjpeg counts, judged from how coarse the luminance table is;
            0 for what is no JPEG, or a JPEG without tables.
        chroma: How many pixels share a colour in a JPEG: 1 (4:4:4), 2 (4:2:2), 4 (4:2:0), …;
            0 for what is no JPEG.
        is_progressive: Whether a JPEG has several scans, or a PNG is interlaced.
        has_exif: Whether there is an EXIF block.
        has_profile: Whether there is a colour profile (ICC).
        metadata_bytes: Size in a JPEG of all before the first scan, in a PNG of all but the pixels,
            else 0.
    """

    format: Format = "other"
    jpeg_quality: float = 0.0
    chroma: float = 0.0
    is_progressive: bool = False
    has_exif: bool = False
    has_profile: bool = False
    metadata_bytes: int = 0


def read_header(data: bytes) -> Header:
    """How the file was written; from its bytes alone, never from its name."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        flags = data[20] if data[12:16] == b"VP8X" and len(data) > 20 else 0
        return Header("WebP", has_exif=bool(flags & 0x08), has_profile=bool(flags & 0x20))
    start = data[:4096]  # AVIF and HEIF say there what is in the file
    return Header(has_exif=b"Exif" in start, has_profile=b"prof" in start)


def _jpeg(data: bytes) -> Header:
    quality = chroma = 0.0
    is_progressive = has_exif = has_profile = False
    end = len(data)
    for marker, start, end in jpeg_segments(data):
        body = data[start:end]
        if marker == 0xDB:
            quality = _quality(body) or quality
        elif marker in _STARTS_OF_FRAME:
            is_progressive = marker in _PROGRESSIVE
            chroma = _pixels_a_colour(body)
        elif marker == 0xE1:
            has_exif |= body.startswith(b"Exif\0")
        elif marker == 0xE2:
            has_profile |= body.startswith(b"ICC_PROFILE\0")
    return Header("JPEG", quality, chroma, is_progressive, has_exif, has_profile, end)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the body of every segment up to the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            yield marker, at + 4, end
            if marker == 0xDA:
                return
            at = end


def _quality(tables: bytes) -> float:
    """Quality of the luminance table (number 0) in a DQT segment; 0 if it is not there.

    libjpeg multiplies the standard table by 50 / quality below 50, by 2 - quality / 50 above. The
    sum is the same in any order of the table, so it tells the factor; entries that were cut at 255
    make qualities below 20 look some points better.
    """
    at = 0
    while at < len(tables):
        bytes_each, number = 1 + (tables[at] >> 4 & 1), tables[at] & 15
        entries = tables[at + 1 : at + 1 + 64 * bytes_each]
        if number == 0 and len(entries) == 64 * bytes_each:
            total = sum(
                int.from_bytes(entries[i : i + bytes_each], "big")
                for i in range(0, len(entries), bytes_each)
            )
            factor = total / _STANDARD_SUM
            quality = 100 - 50 * factor if factor <= 1 else 50 / factor
            return min(100.0, max(1.0, quality))
        at += 1 + 64 * bytes_each
    return 0.0


def _pixels_a_colour(frame: bytes) -> float:
    """From the sampling factors of the components; 1 for a grey picture."""
    n_components = frame[5] if len(frame) > 5 else 0
    factors = [(byte >> 4) * (byte & 15) for byte in frame[7::3][:n_components]]
    return max(factors) / max(1, min(factors)) if factors else 0.0


def _png(data: bytes) -> Header:
    is_interlaced = data[28:29] == b"\x01"
    has_exif = has_profile = False
    n_other, at = 0, 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        has_exif |= kind == b"eXIf"
        has_profile |= kind == b"iCCP"
        n_other += 0 if kind == b"IDAT" else 12 + length
        at += 12 + length
    return Header(
        "PNG",
        is_progressive=is_interlaced,
        has_exif=has_exif,
        has_profile=has_profile,
        metadata_bytes=min(n_other, len(data)),
    )
