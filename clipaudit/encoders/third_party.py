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

_LOUD = ("huggingface_hub", "transformers")
"""They have a handler of their own. The one logs each of its five retries, and how they end, our
error says; the other what it thinks of a configuration."""


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings are dropped, and log lines reach only handlers that were there before."""
    silent = logging.NullHandler()
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    root.addHandler(silent)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        root.removeHandler(silent)


def one_line(error: BaseException) -> str:
    """All that an error says, as far as it can be quoted."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is short enough to quote."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
