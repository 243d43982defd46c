"""Calls that may take so long and no longer, whatever they do: in a thread that can be left behind.

A model may loop for ever, in Python, in a graph or in a library of C++. The calling thread waits
for a second one, so it goes on when the time is over, and Ctrl-C reaches it at once.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import weakref
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clipaudit.encoders.crashes import CrashError, CrashGuard
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_GRACE_S = 5.0
"""Seconds that a call gets to end by itself once it is given up."""

_here = threading.local()


class OutOfTimeError(Exception):
    """A call took longer than it may."""


class _Call(Generic[T]):
    """A call, and what comes of it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.function: Callable[[], T] | None = function
        self.cancel: Callable[[], object] | None = None
        self.is_done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.guard = CrashGuard(self._crash)

    def run(self) -> None:
        """Call it; the function, which may hold much memory, is let go."""
        assert self.function is not None
        _here.call = self
        self.guard.put_up()
        try:
            self.result = self.function()
        except BaseException as error:  # noqa: BLE001 - the calling thread raises it
            self.error = error
        finally:
            self.guard.take_down()
            _here.call = self.function = None
            self.is_done.set()

    def _crash(self, error: CrashError) -> None:
        self.error = error
        self.is_done.set()


class PatientThread:
    """A thread for the calls of one encoder, one after another."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[], T], timeout_s: float) -> T:
        """What a function returns or raises.

        Raises:
            OutOfTimeError: It took longer. It is told to stop, and left behind if it does not.
            CrashError: Compiled code crashed in it.
        """
        if self._calls is None:
            self._calls = SimpleQueue()
            self._thread = threading.Thread(target=_work, args=(self._calls,), daemon=True)
            self._thread.start()
            weakref.finalize(self, self._calls.put, None)
        call = _Call(function)
        self._calls.put(call)
        try:
            if not call.is_done.wait(min(timeout_s, threading.TIMEOUT_MAX)):
                raise OutOfTimeError
        except BaseException as reason:
            self._give_up(call, reason)
            raise
        # Taken out of the call, which would hold the error, its frames and all their tensors.
        error, call.error = call.error, None
        if isinstance(error, CrashError):
            call.guard.take_down()
            _leave_without_waiting(self._forget(), EncoderError.exit_code)
        if error is not None:
            try:
                raise error
            finally:
                del error
        return call.result  # type: ignore[return-value]  # a call without error has one

    def _give_up(self, call: _Call[Any], reason: BaseException) -> None:
        thread = self._forget()
        if call.cancel is not None:
            call.cancel()
        # Asks Python code to end, at its next instruction; compiled code takes no notice.
        ident = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        try:
            thread.join(_GRACE_S)
        finally:
            if thread.is_alive():
                _leave_without_waiting(thread, _exit_code(reason))

    def _forget(self) -> threading.Thread:
        """The thread, which takes no further call; the next one starts another."""
        thread, calls = self._thread, self._calls
        self._thread = self._calls = None
        assert thread is not None
        assert calls is not None
        calls.put(None)
        return thread


def on_time_out(cancel: Callable[[], object]) -> None:
    """Name what ends the call that is running in this thread, should its time be over."""
    call: _Call[Any] | None = getattr(_here, "call", None)
    if call is not None:
        call.cancel = cancel


def _work(calls: SimpleQueue[_Call[Any] | None]) -> None:
    while (call := calls.get()) is not None:
        call.run()
        del call


def _leave_without_waiting(thread: threading.Thread, exit_code: int) -> None:
    """Have the process end without tearing libraries down below a thread, which would crash."""

    def leave() -> None:
        if thread.is_alive():
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(exit_code)

    atexit.register(leave)


def _exit_code(reason: BaseException) -> int:
    if isinstance(reason, KeyboardInterrupt):
        return 130
    if isinstance(reason, SystemExit) and isinstance(reason.code, int):
        return reason.code
    return EncoderError.exit_code
