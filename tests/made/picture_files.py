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
