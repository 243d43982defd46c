"""Crashes of compiled code in one thread, survived by the others until the process has ended.

A library that calls abort(), or reads where it may not, ends the whole process, and rows that are
done would never be printed. Here the thread in which that happens is stopped where it is, for
good, and the thread that waits for it goes on. After that the process is good for little more
than to print and to end. There is no such thing on Windows, and none against SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL")
    if os.name == "posix"
]
_SIZE_OF_SIGACTION = 512
"""More than any system has; what is in it only goes back where it came from."""

_one_at_a_time = threading.Lock()


class CrashError(Exception):
    """Compiled code crashed; the message is the signal's name."""


class CrashGuard:
    """While it is up, a crash in the thread that put it up is told, and goes no further.

    The handlers are the whole process's, so there is one guard at a time; a second one does
    nothing.

    Args:
        tell: Gets the error, in the thread that crashed, which never goes on after that.
    """

    def __init__(self, tell: Callable[[CrashError], None]) -> None:
        self._tell = tell
        self._others: list[int] = []
        self._is_up = False
        self._before = {
            number: ctypes.create_string_buffer(_SIZE_OF_SIGACTION) for number in _SIGNALS
        }
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._stop)

    def put_up(self) -> None:
        """Take the signals."""
        if not _SIGNALS or not _one_at_a_time.acquire(blocking=False):
            return
        self._is_up = True
        mine = threading.get_ident()
        self._others = [
            thread.ident or 0 for thread in threading.enumerate() if thread.ident != mine
        ]
        libc = ctypes.CDLL(None)
        for number, before in self._before.items():
            libc.sigaction(number, None, before)
            libc.signal(number, self._handler)

    def take_down(self) -> None:
        """Give the signals back to who had them."""
        if not self._is_up:
            return
        libc = ctypes.CDLL(None)
        for number, before in self._before.items():
            libc.sigaction(number, before, None)
        self._is_up = False
        _one_at_a_time.release()

    def _stop(self, number: int) -> None:
        if threading.get_ident() in self._others:  # not the encoder: it ends as it would have
            for known, before in self._before.items():
                ctypes.CDLL(None).sigaction(known, before, None)
            signal.raise_signal(number)
            return
        self._tell(CrashError(signal.Signals(number).name))
        while True:
            time.sleep(3600)
