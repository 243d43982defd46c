"""One decoding process after another, and the talk with the present one; for `decoder_pool`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipaudit.errors import EncoderError
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.messages import prepared_bytes, read_message, read_prepared, write_wanted
from clipaudit.pictures.preparing import Prepared, Wanted

_STARTUP_TIMEOUT_S = 60.0
_GOING_TIMEOUT_S = 0.1
_SECRET = re.compile(
    r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE
)
"""Names of variables whose values a codec that was taken over must not find."""
_MOST_STARTS = 20
"""How often a worker that is killed before it is ready is started anew for one file."""


class DecodeProcess:
    """One worker process after another, and the talk with the present one.

    One thread starts, asks and discards; others may only `spend` its time and `stop` it.
    """

    def __init__(
        self, command: Sequence[str], command_alone: Sequence[str], has_worked: threading.Event
    ) -> None:
        self._command = self._usual_command = command
        self._command_alone = command_alone
        self._has_worked = has_worked  # of the whole pool: whether any worker was ever ready
        self._lock = threading.Lock()  # for all of the following
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._is_stopped = False
        self._left_s: float | None = None  # None while it has nothing to do
        self._is_overdue = False

    @property
    def pid(self) -> int | None:
        """Id of the present process, if there is one."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start a process, unless there is one; does not wait until it is ready.

        Raises:
            OSError: There is no memory, no process left, no such program.
        """
        with self._lock:
            if self._process is None and not self._is_stopped:
                self._is_ready = False
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    **_out_of_reach_of_ctrl_c(),
                )

    def prepare(
        self, data: bytes, wanted: Wanted, timeout_s: float, *, is_alone: bool = False
    ) -> Prepared:
        """Have one file decoded.

        Raises:
            BadImage: What the worker says, or `timeout` or `decoder_crashed`.
            EncoderError: No worker of the pool ever started.
        """
        command = self._command_alone if is_alone else self._usual_command
        if command != self._command:
            self.discard()
            self._command = command
        self._make_ready()
        try:
            header, body = self._exchange((wanted, data), timeout_s)
            if "reason" in header:
                problem = BadImage(header["reason"], header["explanation"])
            else:
                return read_prepared(wanted, header, body)
        except TimeoutError as error:
            raise BadImage("timeout", f"decoding took longer than {timeout_s:g} s") from error
        except (
            OSError,
            EOFError,
            ValueError,
            TypeError,
            KeyError,
        ) as error:  # what it sent makes no sense
            self.discard()
            raise BadImage("decoder_crashed", "decoding it crashed the decoder") from error
        raise problem

    def spend(self, seconds: float) -> None:
        """Take from the time that is left for the file in work; kill what has none."""
        with self._lock:
            if self._left_s is not None and self._process is not None:
                self._left_s -= seconds
                if self._left_s <= 0:
                    self._left_s = None
                    self._is_overdue = True
                    self._process.kill()

    def stop(self) -> None:
        """Kill the process, and start no other."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def discard(self) -> bool:
        """Kill and reap the process; the next file gets a new one.

        Returns:
            Whether something else had killed it before.
        """
        with self._lock:
            process, self._process = self._process, None
            self._is_ready = False
        if process is None:
            return False
        was_killed = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            was_killed = process.wait(_GOING_TIMEOUT_S) < 0
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent yet cannot be
                    pipe.close()
        process.wait()
        return was_killed

    def _make_ready(self) -> None:
        for n_tries in range(1, _MOST_STARTS + 1):
            try:
                self.start()
                if self._is_ready:
                    return
                header, _ = self._exchange(None, _STARTUP_TIMEOUT_S)
                self._is_ready = header == {"ready": True}
            except (OSError, EOFError, ValueError):
                pass
            if self._is_ready:
                self._has_worked.set()
                return
            was_killed = self.discard()
            # A start may fail for a reason that has passed, such as no memory.
            if self._is_stopped or (n_tries > 1 and not was_killed):
                break
        if self._has_worked.is_set():  # it can be done, and perhaps for the next file
            raise BadImage("decoder_crashed", "the process that decodes it was killed")
        raise EncoderError(
            "the process that decodes pictures does not start",
            "`python -m clipaudit.pictures.decode_worker` shows why; --workers 0 does without.",
        )

    def _exchange(
        self, question: tuple[Wanted, bytes] | None, timeout_s: float
    ) -> tuple[dict[str, Any], bytearray]:
        """Send a file, if there is one, and receive a message.

        Raises:
            TimeoutError: It took too long; the process is gone.
            OSError, EOFError, ValueError: The process is gone, or makes no sense.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        with self._lock:
            self._is_overdue = False
            self._left_s = timeout_s
        try:
            n_expected = 0
            if question is not None:
                write_wanted(process.stdin, *question)
                n_expected = prepared_bytes(question[0])
            return read_message(process.stdout, n_expected)
        finally:
            with self._lock:
                self._left_s = None
                is_overdue = self._is_overdue
            if is_overdue:  # killed, even if it was just done
                self.discard()
                raise TimeoutError


def _environment() -> dict[str, str]:
    """Ours without keys; with the way to this package, and no threads that are of no use."""
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    home = Path(__file__).resolve().parents[2]
    if home.name not in ("site-packages", "dist-packages"):  # a checkout: found by its path
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(home), *([known] if known else [])])
    for library in ("OPENBLAS", "OMP", "MKL"):
        environment[f"{library}_NUM_THREADS"] = "1"
    return environment


def _out_of_reach_of_ctrl_c() -> dict[str, Any]:
    """How to start a process that the terminal does not interrupt: the parent decides."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"process_group": 0}
