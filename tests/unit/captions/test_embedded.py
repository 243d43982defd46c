"""Captions in the metadata of pictures, as programs write them and as attackers would."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from clipaudit.captions.blocks import words_in
from clipaudit.captions.embedded import EmbeddedCaptions

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description rdf:about="">
<dc:description><rdf:Alt><rdf:li xml:lang="de">Ein Otter</rdf:li>
<rdf:li xml:lang="x-default">An otter, swimming</rdf:li></rdf:Alt></dc:description>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Otter</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def picture(style: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, style, **options)
    return file.getvalue()


def described(text: str | bytes) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = text
    return exif


def captions(data: bytes) -> tuple[str, ...]:
    return EmbeddedCaptions().captions_of("a.jpg", data)


def with_iptc(*values: bytes, is_utf8: bool) -> bytes:
    sets = b"\x1c\x01\x5a\x00\x03\x1b%G" if is_utf8 else b""
    for value in values:
        sets += b"\x1c\x02\x78" + len(value).to_bytes(2, "big") + value
    block = b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x02ab"
    block += b"8BIM\x04\x04\x05title" + len(sets).to_bytes(4, "big") + sets
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    jpeg = picture("JPEG")
    return jpeg[:2] + segment + jpeg[2:]


def with_xmp(style: str, packet: bytes) -> bytes:
    if style == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", packet.decode())
        return picture(style, pnginfo=texts)
    return picture(style, **({"tiffinfo": {700: packet}} if style == "TIFF" else {"xmp": packet}))


@pytest.mark.parametrize("style", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_xmp_is_read_in_the_default_language(style):
    data = with_xmp(style, XMP.encode())
    assert captions(data) == ("An otter, swimming", "Otter")


@pytest.mark.parametrize("style", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_description_of_exif_is_read(style):
    assert captions(picture(style, exif=described("A seal on ice"))) == ("A seal on ice",)


def test_descriptions_come_before_titles_and_none_comes_twice():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Otter")
    texts.add_itxt("Description", "Ein Otter schläft", zip=True)
    texts.add_text("Comment", "of no use")
    texts.add_text("description", "Ein Otter schläft", zip=True)
    assert captions(picture("PNG", pnginfo=texts)) == ("Ein Otter schläft", "Otter")


@pytest.mark.parametrize(
    ("value", "is_utf8"), [("Zoë".encode(), True), ("Zoë".encode(), False), (b"Zo\xeb", False)]
)
def test_the_caption_of_iptc_is_read_in_its_encoding(value, is_utf8):
    assert captions(with_iptc(value, b"and another", is_utf8=is_utf8)) == ("Zoë", "and another")


@pytest.mark.parametrize(
    "text",
    [
        "OLYMPUS DIGITAL CAMERA",
        "SONY DSC",
        "DCIM\\100MEDIA\\DJI_0042.JPG",
        "a.jpg",
        "   ",
        "default",
        "Created with GIMP",
    ],
)
def test_what_a_camera_or_a_program_wrote_is_no_caption(text):
    assert captions(picture("JPEG", exif=described(text))) == ()


def test_entities_are_never_expanded():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + XMP.split("?>", 1)[
        1
    ].replace("An otter", "&b;")
    assert captions(picture("JPEG", xmp=bomb.encode())) == ()
    assert captions(picture("JPEG", xmp=b"\xff\xfe" + bomb.encode("utf-16-le"))) == ()


def test_texts_that_unpack_to_very_much_are_not_unpacked():
    packed = zlib.compress(b"a" * 50_000_000, 9)
    chunk = b"zTXt" + b"Description\0\0" + packed
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png = picture("PNG")
    assert captions(png[:33] + whole * 300 + png[33:]) == ()


@given(st.data())
@settings(max_examples=150)
def test_no_bytes_make_it_raise(data):
    style = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]))
    whole = bytearray(picture(style, xmp=XMP.encode(), exif=described("A dog")))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    words_in(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_what_is_not_there_is_counted():
    source = EmbeddedCaptions()
    source.captions_of("a.png", picture("PNG"))
    source.captions_of("b.jpg", picture("JPEG", exif=described("SONY DSC")))
    assert source.facts.source == "embedded metadata"
    assert source.facts.notes == (
        (
            "Embedded captions: 1 picture with a description that a camera or a program wrote, "
            "which is not used"
        ),
        "Embedded captions: 2 pictures without one",
    )
