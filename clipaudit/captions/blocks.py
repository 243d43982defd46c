"""What a picture's file says in words: IPTC, XMP, EXIF and PNG texts; no pixel is decoded.

Everything is bounded, and nothing raises, whatever the bytes: what cannot be read is not there.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from clipaudit.captions.cleaning import MOST_BYTES
from clipaudit.pictures.headers import jpeg_segments
from clipaudit.pictures.png import SIGNATURE as PNG_SIGNATURE
from clipaudit.pictures.png import XMP_KEYWORD, chunks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["iptc", "xmp", "tiff", "description", "title"]

_MOST_BLOCKS = 64
"""So many texts of a PNG file are looked at, of which each may unpack to a million bytes."""

_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC_RESOURCE = 0x0404
_IMAGE_DESCRIPTION = 0x010E
_XMP_TAG = 700
_IPTC_TAG = 33723
_BYTES_EACH = {1: 1, 2: 1, 4: 4, 7: 1}
"""TIFF types that texts and blocks are stored as → size."""

_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_ALT_TEXT = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
_RDF_ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_DECLARATION = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_UTF8_IN_IPTC = b"\x1b%G"


@dataclass(frozen=True, slots=True)
class Words:
    """What a file says in words.

    Attributes:
        descriptions: Texts that say what the picture shows.
        titles: Its titles.
    """

    descriptions: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()


def words_in(data: bytes) -> Words:
    """What the bytes of a picture's file say in words."""
    descriptions: list[str] = []
    titles: list[str] = []
    for kind, block in _blocks(data):
        match kind:
            case "iptc":
                descriptions += _iptc_captions(block)
            case "xmp":
                said = _xmp_words(block)
                descriptions += said.descriptions
                titles += said.titles
            case "tiff":
                descriptions += map(_text, _values(block, _IMAGE_DESCRIPTION))
            case "description":
                descriptions.append(_text(block))
            case "title":
                titles.append(_text(block))
    return Words(tuple(descriptions), tuple(titles))


# --- finding the blocks --------------------------------------------------------------------------


def _blocks(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    if data.startswith(b"\xff\xd8\xff"):
        yield from _in_jpeg(data)
    elif data.startswith(PNG_SIGNATURE):
        yield from _in_png(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield from _in_webp(data)
    elif data[:4] in {b"II*\0", b"MM\0*"}:
        yield "tiff", data
        yield from (("xmp", block) for block in _values(data, _XMP_TAG))
        yield from (("iptc", block) for block in _values(data, _IPTC_TAG))
    else:
        yield from _packet(data)


def _in_jpeg(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    for marker, start, end in jpeg_segments(data):
        body = data[start:end]
        if marker == 0xE1 and body.startswith(b"Exif\0"):
            yield "tiff", body[6:]
        elif marker == 0xE1 and body.startswith(_XMP_IN_JPEG):
            yield "xmp", body.removeprefix(_XMP_IN_JPEG)
        elif marker == 0xED and body.startswith(_PHOTOSHOP):
            yield from _in_photoshop(body)


def _in_photoshop(body: bytes) -> Iterator[tuple[Kind, bytes]]:
    at = len(_PHOTOSHOP)
    while at + 12 <= len(body) and body[at : at + 4] == b"8BIM":
        resource = int.from_bytes(body[at + 4 : at + 6], "big")
        at += 6 + (body[at + 6] + 2) // 2 * 2  # a name, with its length, of an even size
        length = int.from_bytes(body[at : at + 4], "big")
        if resource == _IPTC_RESOURCE:
            yield "iptc", body[at + 4 : at + 4 + length]
        at += 4 + length + length % 2


def _in_png(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    n_texts = 0
    for kind, start, end in chunks_of(data):
        body = data[start + 8 : end - 4]
        if kind == b"eXIf":
            yield "tiff", body
        elif kind in {b"tEXt", b"zTXt", b"iTXt"} and n_texts < _MOST_BLOCKS:
            n_texts += 1
            keyword, _, rest = body.partition(b"\0")
            text = _png_text(kind, rest)
            if keyword + b"\0" == XMP_KEYWORD:
                yield "xmp", text
            elif keyword.lower() == b"description":
                yield "description", text
            elif keyword.lower() == b"title":
                yield "title", text


def _png_text(kind: bytes, rest: bytes) -> bytes:
    """The text behind a keyword, unpacked; in UTF-8. Empty where it is damaged or huge."""
    if kind == b"tEXt":
        return rest.decode("latin-1").encode()
    if kind == b"zTXt":
        return _unpacked(rest[1:]).decode("latin-1").encode()
    is_packed = rest[:1] == b"\1"
    *_, text = rest[2:].split(b"\0", 2)  # behind the language, and the keyword in it
    return _unpacked(text) if is_packed else text


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MOST_BYTES)
    except zlib.error:
        return b""
    return text if unpacker.eof else b""


def _in_webp(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length] if kind in {b"EXIF", b"XMP "} else b""
        if kind == b"EXIF":
            yield "tiff", body.removeprefix(b"Exif\0\0")
        elif kind == b"XMP ":
            yield "xmp", body
        at += 8 + length + length % 2


def _packet(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    """The XMP packet of a file of another kind, where it lies unpacked."""
    start = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", start, start + MOST_BYTES)
    if 0 <= start < end:
        yield "xmp", data[start : end + len(b"</x:xmpmeta>")]


# --- reading them --------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    """A text, which should be ASCII or UTF-8, up to the byte that ends it."""
    plain = data.partition(b"\0")[0][: MOST_BYTES + 1]
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("cp1252", "replace")


def _values(data: bytes, wanted: int) -> Iterator[bytes]:
    """The value of a tag in the first directory of a TIFF file, which EXIF data are, too."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    if at + 2 > len(data):
        return
    (n_entries,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, min(at + 2 + 12 * n_entries, len(data) - 11), 12):
        tag, kind, n_values, place = struct.unpack_from(f"{order}HHII", data, entry)
        size = n_values * _BYTES_EACH.get(kind, 0)
        if tag == wanted and 0 < size <= MOST_BYTES:
            start = entry + 8 if size <= 4 else place
            yield data[start : start + size]
            return


def _iptc_captions(block: bytes) -> Iterator[str]:
    """The captions (2:120) among IPTC's data sets."""
    is_utf8 = False
    at = 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", block, at + 1)
        if length & 0x8000:  # an extended size: more than a caption may have
            return
        value = block[at + 5 : at + 5 + length]
        if (record, number) == (1, 90):
            is_utf8 = value == _UTF8_IN_IPTC
        elif (record, number) == (2, 120):
            yield value.decode("utf-8", "replace") if is_utf8 else _text(value)
        at += 5 + length


def _xmp_words(packet: bytes) -> Words:
    """Alternative text, description and title; in the default language, where there are several."""
    if len(packet) > MOST_BYTES:
        return Words()
    encoding = "utf-16" if packet[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    text = packet.decode(encoding, "replace").strip("\ufeff\0 \r\n\t")
    text = re.sub(r"^<\?xpacket[^>]*>\s*", "", text)
    text = re.sub(r"^<\?xml [^>]*\?>\s*", "", text)
    if _DECLARATION.search(text):  # entities, which XMP has no use for, may blow up
        return Words()
    try:
        root = ET.fromstring(text)  # noqa: S314 - no entity is declared, and it is small
    except (ET.ParseError, ValueError, RecursionError):
        return Words()
    descriptions = [
        *_property(root, _ALT_TEXT),
        *_property(root, f"{_DUBLIN_CORE}description"),
    ]
    return Words(tuple(descriptions), tuple(_property(root, f"{_DUBLIN_CORE}title")))


def _property(root: ET.Element, name: str) -> list[str]:
    found = [element.attrib[name] for element in root.iter() if name in element.attrib]
    for element in root.iter(name):
        items = [*element.iter(_RDF_ITEM)]
        default = [item for item in items if item.get(_LANGUAGE) == "x-default"]
        chosen = (default or items or [element])[0]
        found.append(chosen.text or "")
    return found
