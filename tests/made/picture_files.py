"""Files of pictures, made with as little help from Pillow as can be."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG file by hand: rows of packed bytes, further chunks as (name, data)."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    middle = b"".join(chunk(*extra) for extra in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def photo(width=64, height=48):
    """Smooth, colourful, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    channels = [x, y, (x + y * y) / 2]
    return Image.fromarray((np.stack(channels, axis=-1) * 250).astype(np.uint8))


def tiff(pages, strips, order="<"):
    """A TIFF file by hand: tags of each page as {number: values}, and the data of all strips.

    Values above 65,535 and those of sizes and offsets are longs, others shorts; the strips of a
    page are named by number in its tag 273.
    """
    longs = {256, 257, 273, 278, 279, 330}
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    out = struct.pack(
        order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(b"".join(strips))
    )
    out += b"".join(strips)
    for number, tags in enumerate(pages):
        end = len(out) + 2 + 12 * len(tags) + 4
        entries, values = b"", b""
        for tag, given in sorted(tags.items()):
            held = [places[strip] for strip in given] if tag == 273 else given
            kind, letter = (4, "I") if tag in longs else (3, "H")
            packed = struct.pack(f"{order}{len(held)}{letter}", *held)
            if len(packed) > 4:
                values, packed = values + packed, struct.pack(order + "I", end + len(values))
            entries += struct.pack(order + "HHI", tag, kind, len(held)) + packed.ljust(4, b"\0")
        following = end + len(values) if number + 1 < len(pages) else 0
        out += struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following)
        out += values
    return out
