"""What goes through the pipes between a pool and the processes that decode for it.

A message is the length of a JSON header (4 bytes, big-endian) and of a body (8 bytes), then the
header, then the body. To a worker: the fields of a `Wanted`, and a file's bytes. From it: first
`{"ready": true}`; then for each file the fields of a `Prepared` and its arrays, or the fields of a
`BadImage`. No pickle: what a broken codec makes of a worker must not reach its parent.
"""

from __future__ import annotations

import json
import struct
from itertools import accumulate, pairwise
from typing import IO, Any

import numpy as np

from clipaudit.pictures.base import Frame
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance, PictureFacts, Prepared, Wanted
from clipaudit.pictures.random_embedding import DIM

_LENGTHS = struct.Struct("!IQ")
_MAX_HEADER_BYTES = 1 << 16
_STATISTICS_BYTES = 8 * len(STATISTICS)
_EMBEDDING_BYTES = 4 * DIM


def write_message(
    stream: IO[bytes], header: dict[str, Any], body: bytes | memoryview = b""
) -> None:
    """Send one message.

    Raises:
        OSError: The other side is gone.
    """
    text = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(text), len(body)) + text)
    stream.write(body)
    stream.flush()


def read_message(
    stream: IO[bytes], max_body_bytes: int | None = None
) -> tuple[dict[str, Any], bytearray]:
    """Receive one message.

    Raises:
        EOFError: The other side is gone, perhaps in the middle of a message.
        ValueError: It is no message, or a longer one than expected.
    """
    n_header, n_body = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    if n_header > _MAX_HEADER_BYTES or (max_body_bytes is not None and n_body > max_body_bytes):
        raise ValueError("a message is too long")
    header = json.loads(_read_exactly(stream, n_header))
    if not isinstance(header, dict):
        raise ValueError("a header is a JSON object")  # noqa: TRY004 - not a caller's mistake
    return header, _read_exactly(stream, n_body)


def _read_exactly(stream: IO[bytes], n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    view = memoryview(data)
    n_read = 0
    while n_read < n_bytes:
        n_new = stream.readinto(view[n_read:])  # type: ignore[attr-defined] # all ours have it
        if not n_new:
            raise EOFError
        n_read += n_new
    return data


def write_wanted(stream: IO[bytes], wanted: Wanted, data: bytes) -> None:
    """Send a file, and what is wanted of it.

    Raises:
        OSError: The other side is gone.
    """
    write_message(stream, {"frames": wanted.frames, "appearance": wanted.appearance}, data)


def read_wanted(header: dict[str, Any]) -> Wanted:
    """What the header of a message with a file asks for."""
    return Wanted(tuple(Frame(*frame) for frame in header["frames"]), header["appearance"])


def write_prepared(stream: IO[bytes], picture: Prepared) -> None:
    """Send what was made of a file.

    Raises:
        OSError: The other side is gone.
    """
    header = {
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "format": picture.format,
        "notes": picture.notes,
        "phash": picture.facts.phash,
    }
    arrays = [image.tobytes() for image in picture.images.values()]
    if picture.facts.appearance is not None:
        arrays += [
            picture.facts.appearance.statistics.astype("<f8").tobytes(),
            picture.facts.appearance.embedding.astype("<f4").tobytes(),
        ]
    write_message(stream, header, arrays[0] if len(arrays) == 1 else b"".join(arrays))


def prepared_bytes(wanted: Wanted) -> int:
    """How long the body of a message with a `Prepared` is."""
    return sum(_lengths(wanted))


def read_prepared(wanted: Wanted, header: dict[str, Any], body: bytearray) -> Prepared:
    """What was made of a file.

    Raises:
        ValueError: The body has another length than that of what was wanted, or the header
            makes no sense.
        KeyError: Something is not in the header.
    """
    if len(body) != prepared_bytes(wanted):
        raise ValueError(f"expected {prepared_bytes(wanted)} bytes, got {len(body)}")
    ends = accumulate(_lengths(wanted), initial=0)
    parts = [memoryview(body)[start:end] for start, end in pairwise(ends)]
    appearance = None
    if wanted.appearance:
        *parts, statistics, embedding = parts
        appearance = Appearance(
            np.frombuffer(statistics, "<f8").astype(np.float64),
            np.frombuffer(embedding, "<f4").astype(np.float32),
        )
    return Prepared(
        images={
            frame: np.frombuffer(part, np.uint8).reshape(frame.size_px, frame.size_px, 3)
            for frame, part in zip(wanted.frames, parts, strict=True)
        },
        width_px=header["width_px"],
        height_px=header["height_px"],
        format=header["format"],
        notes=tuple(header["notes"]),
        facts=PictureFacts(
            int(header["phash"]), header["width_px"] * header["height_px"], appearance
        ),
    )


def _lengths(wanted: Wanted) -> list[int]:
    of_frames = [3 * frame.size_px**2 for frame in wanted.frames]
    return of_frames + ([_STATISTICS_BYTES, _EMBEDDING_BYTES] if wanted.appearance else [])
