"""What every step from a path to pixels shares: its problems, its limits and its types."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

Reason = Literal[
    "missing",  # nothing there, or a link that points to nothing
    "unreadable",  # there, but the system does not let us read it
    "outside",  # a link that leads out of the folder that was named
    "not_a_file",  # a pipe, a socket, a device, or a folder where a file was expected
    "changed",  # somebody wrote to it while it was read
    "empty",  # no bytes, or a folder without files
    "too_large",  # more bytes than Limits.most_file_bytes
    "too_many_pixels",  # more pixels than Limits.max_pixels
    "not_an_image",
    "unsupported",  # a picture, of a kind that is not read
    "truncated",
    "corrupt",
    "out_of_memory",
    "timeout",  # decoding took longer than Limits.decode_timeout_s
    "decoder_crashed",
    "no_embedding",  # a picture, but the encoder makes nothing usable of it
]


class Frame(NamedTuple):
    """Size and interpolation of the square that a picture is resized to for an encoder."""

    size_px: int
    interpolation: Interpolation


class BadImage(Exception):  # noqa: N818 - a finding about a file, not an error of the run
    """Why one file gives no picture; `str()` is `reason: explanation`.

    Attributes:
        reason: A stable code, for programs.
        explanation: Sentence for people; holds nothing that came out of the file.
    """

    def __init__(self, reason: Reason, explanation: str) -> None:
        super().__init__(reason, explanation)
        self.reason: Reason = reason
        self.explanation = explanation

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"


_LEAST_FILE_LIMIT = 100_000_000
_BYTES_PER_PIXEL = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may cost.

    Attributes:
        max_pixels: Width times height; the default is Pillow's own.
        max_file_bytes: Size of the file; None takes what so many pixels need in plain, four bytes
            each, and no less than 100 MB.
        decode_timeout_s: Wall time of one decoding in a `DecoderPool`; suspended time is not
            counted.
    """

    max_pixels: int = 89_478_485
    max_file_bytes: int | None = None
    decode_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.max_pixels, self.most_file_bytes, self.decode_timeout_s) <= 0:
            raise ValueError(f"every limit must be above 0, got {self}")

    @property
    def most_file_bytes(self) -> int:
        """How many bytes a file may have."""
        if self.max_file_bytes is not None:
            return self.max_file_bytes
        return max(_LEAST_FILE_LIMIT, _BYTES_PER_PIXEL * self.max_pixels)
