"""What third parties say while they build a model: kept off the screen, or put in a line.

open_clip logs on the root logger, which makes Python install a handler there, and torch.onnx,
timm and torchvision warn about their own internals. None of it is news to a user: what is, we
raise as an error.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings are dropped, and log lines reach only handlers that were there before."""
    silent = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is short enough to quote."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
