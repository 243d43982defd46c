"""The process that decodes pictures for `decoder_pool.DecoderPool`; it holds no other work.

`python -P -m clipaudit.pictures.decode_worker SETTINGS` reads files from stdin and writes
pictures to stdout until stdin ends. A codec that crashes, hangs or eats memory takes down this
process alone.

A message is a frame: the length of a JSON header (4 bytes, big-endian) and of a body (8 bytes),
then the header, then the body. To the worker: an empty header, and a file's bytes. From it: first
`{"ready": true}`; then for each file the fields of a `Prepared` and its pixels, or the fields of a
`BadImage`. No pickle: what a broken codec makes of this process must not reach the other one.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from clipaudit.pictures.base import BadImage, Interpolation, Limits
from clipaudit.pictures.decoding import prepare

LENGTHS = struct.Struct("!IQ")
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told when it starts, as JSON on its command line.

    Attributes:
        size_px: Side of the pictures that it gives.
        interpolation: How it resizes them.
        max_pixels: As in `Limits`.
        max_memory_bytes: Address space beyond what it holds when it is ready, but no more than
            half of the machine's memory; held to on Linux.
    """

    size_px: int
    interpolation: Interpolation
    max_pixels: int
    max_memory_bytes: int

    def to_json(self) -> str:
        """What `main` takes as its argument."""
        return json.dumps(asdict(self))


def write_frame(stream: IO[bytes], header: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Send one message.

    Raises:
        OSError: The other side is gone.
    """
    text = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(text), len(body)) + text)
    stream.write(body)
    stream.flush()


def read_frame(
    stream: IO[bytes], max_body_bytes: int | None = None
) -> tuple[dict[str, Any], bytearray]:
    """Receive one message.

    Raises:
        EOFError: The other side is gone, perhaps in the middle of a message.
        ValueError: It is no message, or a longer one than expected.
    """
    n_header, n_body = LENGTHS.unpack(_read_exactly(stream, LENGTHS.size))
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


def main() -> None:
    """Serve files until stdin ends, or the parent does."""
    requests, replies = _take_over_streams()
    _die_with_parent()
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    limits = Limits(max_pixels=settings.max_pixels)
    _set_up_pillow(settings)
    _limit_resources(settings)
    # By now everything is imported, so a file's time is its own.
    write_frame(replies, {"ready": True})
    while True:
        try:
            _, data = read_frame(requests)
        except EOFError:
            return
        try:
            picture = prepare(bytes(data), settings.size_px, settings.interpolation, limits)
        except BadImage as bad:
            write_frame(replies, {"reason": bad.reason, "explanation": bad.explanation})
        else:
            header = {
                "width_px": picture.width_px,
                "height_px": picture.height_px,
                "format": picture.format,
                "notes": picture.notes,
            }
            write_frame(replies, header, picture.image.data.cast("B"))


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes, out of reach of anything that a codec prints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide on
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    return requests, replies


def _die_with_parent() -> None:
    """Linux: be killed when the parent is, even in the middle of a picture.

    Elsewhere the end of stdin does it, after the picture in work.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _set_up_pillow(settings: WorkerSettings) -> None:
    """Settings of the whole process, which is why `decoding.py` leaves them alone."""
    from PIL import AvifImagePlugin, Image

    Image.MAX_IMAGE_PIXELS = settings.max_pixels
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a worker a core already
    _warm_up()


def _warm_up() -> None:
    """Load what a first picture would load."""
    with suppress(BadImage):
        prepare(b"GIF89a", 1, "bicubic", Limits())


def _limit_resources(settings: WorkerSettings) -> None:
    """No core dumps, and an honest `out_of_memory` in place of a machine that swaps."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            held = int(Path("/proc/self/statm").read_text().split()[0])
            page = resource.getpagesize()
            half = os.sysconf("SC_PHYS_PAGES") * page // 2
            limit = held * page + min(settings.max_memory_bytes, half)
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            if hard == resource.RLIM_INFINITY or limit < hard:
                resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
    # Nothing is left to flush or to clean up; a parent that closes a pool is waiting.
    os._exit(0)
