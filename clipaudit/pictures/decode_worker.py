"""The process that decodes pictures for `decoder_pool.DecoderPool`; it holds no other work.

`python -P -m clipaudit.pictures.decode_worker SETTINGS` reads files from stdin and writes
pictures to stdout until stdin ends. A codec that crashes, hangs or eats memory takes down this
process alone. What goes through the pipes is in `messages`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.messages import (
    read_message,
    read_wanted,
    write_message,
    write_prepared,
)
from clipaudit.pictures.preparing import Wanted, prepare


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits of a worker, as JSON on its command line.

    Attributes:
        max_pixels: As in `Limits`.
        max_memory_bytes: Address space beyond what it holds when it is ready, but no more than
            half of the machine's memory; held to on Linux.
    """

    max_pixels: int
    max_memory_bytes: int

    def to_json(self) -> str:
        """What `main` takes as its argument."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serve files until stdin ends, or the parent does."""
    requests, replies = _take_over_streams()
    _die_with_parent()
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    limits = Limits(max_pixels=settings.max_pixels)
    _set_up_pillow(settings)
    _limit_resources(settings)
    # By now everything is imported, so a file's time is its own.
    write_message(replies, {"ready": True})
    while True:
        try:
            header, data = read_message(requests)
        except EOFError:
            return
        try:
            picture = prepare(bytes(data), read_wanted(header), limits)
        except BadImage as bad:
            write_message(replies, {"reason": bad.reason, "explanation": bad.explanation})
        else:
            write_prepared(replies, picture)


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
        prepare(b"GIF89a", Wanted(), Limits())


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
