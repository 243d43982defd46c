"""Stage 1, many files at once: bytes → prepared pictures, in processes that may crash.

A codec reads what strangers wrote. So each picture is decoded in a process of its own kind
(`decode_worker`), which may crash, hang or run out of memory: the file is tried once more while no
other is decoded, for it may have been another's fault; then that one file becomes a `BadImage`. The
process is replaced, and the rest goes on, however often that happens.

The workers are plain subprocesses, not `multiprocessing`: that would import the caller's script
again, and forking a process that runs torch's threads is unsafe.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decode_process import DecodeProcess
from clipaudit.pictures.decode_worker import WorkerSettings
from clipaudit.pictures.memory import available_bytes
from clipaudit.pictures.preparing import Prepared, Wanted, prepare

_TICK_S = 0.1
_LONGEST_TICK_S = 1.0
_BYTES_PER_PIXEL = 32
"""What the hungriest codec, JPEG 2000, was seen to need, with some room."""
_MEMORY_SHARE = 0.5
"""How much of the available memory decoding may take; the encoder needs the rest."""
_LEAST_MEMORY_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class _Job:
    data: bytes
    wanted: Wanted
    future: Future[Prepared]


class DecoderPool:
    """Processes that decode pictures, and give what is wanted of them.

    >>> from PIL import Image
    >>> from io import BytesIO
    >>> from clipaudit.pictures.base import Frame
    >>> file = BytesIO()
    >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
    >>> frame = Frame(224, "bicubic")
    >>> with DecoderPool(1, Limits()) as pool:
    ...     picture = pool.submit(file.getvalue(), Wanted((frame,))).result()
    >>> picture.images[frame].shape, picture.width_px
    ((224, 224, 3), 640)

    Leaving the context ends the processes at once, drops what is queued and cancels what is in
    work. They also end when this process does, however it ends.

    Args:
        n_workers: Processes; 0 decodes within `submit`, without any protection from crashes
            and hangs, which helps to debug.
        limits: How much one file may cost.
        command: What to run in place of the worker that comes with this package, to which its
            settings are added as the last argument; speaks the same frames.

    Raises:
        ValueError: A negative number of workers.
    """

    def __init__(
        self,
        n_workers: int,
        limits: Limits,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        if n_workers < 0:
            raise ValueError(f"n_workers must not be below 0, got {n_workers}")
        self._limits = limits
        available = available_bytes()
        # -P: a folder of pictures that holds a json.py must not run it.
        program = command or [sys.executable, "-P", "-m", "clipaudit.pictures.decode_worker"]
        usual, alone = (
            [*program, _settings(limits, available, n_at_once).to_json()]
            for n_at_once in (n_workers, 1)
        )
        self._has_more_memory_alone = usual != alone
        self._turns = _Turns()
        has_worked = threading.Event()
        self._workers = [DecodeProcess(usual, alone, has_worked) for _ in range(n_workers)]
        # Every worker has its next file at hand; who offers more has to wait.
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=max(2 * n_workers, 1))
        self._is_closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._has_files = threading.Event()

    def __enter__(self) -> Self:
        """Wait for files; the workers' processes start, all at once, at the first."""
        for worker in self._workers:
            self._start(self._serve, worker)
        if self._workers:
            self._start(self._watch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the present workers."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    def submit(self, data: bytes, wanted: Wanted = Wanted()) -> Future[Prepared]:
        """What is wanted of the picture in a file's bytes, as soon as a worker has made it.

        Waits while two files a worker are queued already, so files do not pile up in memory;
        results do, unless the caller takes them.

        Returns:
            A future that gives a `Prepared`, or raises `BadImage` (as `decoding.decode`, and
            `timeout` or `decoder_crashed`), `EncoderError` where workers do not even start, or
            `CancelledError` where the pool was closed.

        Raises:
            ValueError: The pool is closed, or was not entered.
        """
        future: Future[Prepared] = Future()
        if not self._workers:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(prepare(data, wanted, self._limits))
            except BadImage as bad:
                future.set_exception(bad)
            return future
        while True:
            if self._is_closed.is_set() or not self._threads:
                raise ValueError("the pool is not open")
            with contextlib.suppress(queue.Full):
                self._jobs.put(_Job(data, wanted, future), timeout=_LONGEST_TICK_S)
                self._has_files.set()
                break
        if self._is_closed.is_set():  # closed by another thread, which may have missed this one
            future.cancel()  # it stays in the queue, behind what wakes the threads up
        return future

    def close(self) -> None:
        """End the workers at once; what is queued or in work is cancelled. Safe to repeat."""
        self._is_closed.set()
        self._has_files.set()
        self._drop_queued()
        with contextlib.suppress(queue.Full):  # then there is enough in it to wake every thread
            for _ in self._workers:
                self._jobs.put_nowait(None)
        for worker in self._workers:
            worker.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._drop_queued()

    def _start(self, target: Callable[..., None], *args: DecodeProcess) -> None:
        # Daemons, so that a pool that nobody closed does not keep the program from ending.
        thread = threading.Thread(target=target, args=args, name="clipaudit-decode", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, worker: DecodeProcess) -> None:
        """Feed one worker; the only thread that starts its process, reads from it and reaps it."""
        self._has_files.wait()
        if not self._is_closed.is_set():
            with contextlib.suppress(OSError):  # shows again, and is reported, at its first file
                worker.start()
        while (job := self._jobs.get()) is not None:
            if self._is_closed.is_set():
                job.future.cancel()
                break
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                job.future.set_result(self._prepare(worker, job))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's to see
                job.future.set_exception(CancelledError() if self._is_closed.is_set() else error)
        worker.discard()

    def _prepare(self, worker: DecodeProcess, job: _Job) -> Prepared:
        """What a worker makes of a file; where it died, or lacked memory, once more and alone."""
        timeout_s = self._limits.decode_timeout_s
        try:
            with self._turns.shared():
                return worker.prepare(job.data, job.wanted, timeout_s)
        except BadImage as bad:
            may_succeed = bad.reason == "decoder_crashed" or (
                bad.reason == "out_of_memory" and self._has_more_memory_alone
            )
            if not may_succeed or self._is_closed.is_set():
                raise
        with self._turns.alone():
            return worker.prepare(job.data, job.wanted, timeout_s, is_alone=True)

    def _watch(self) -> None:
        """Count every worker's time down; one that has none left is killed.

        In ticks, none of which counts for more than a second: time for which this process was
        suspended is nobody's fault.
        """
        last = time.monotonic()
        while not self._is_closed.wait(_TICK_S):
            now = time.monotonic()
            for worker in self._workers:
                worker.spend(min(now - last, _LONGEST_TICK_S))
            last = now

    def _drop_queued(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.future.cancel()


class _Turns:
    """Who may decode: many at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_busy = 0
        self._is_taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._n_busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_busy -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Once all others are done, and before they go on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True
            self._changed.wait_for(lambda: not self._n_busy)
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


def _settings(limits: Limits, available: int | None, n_at_once: int) -> WorkerSettings:
    """What one of several workers may take: what a picture may need, or its share of the memory."""
    needed = limits.max_pixels * _BYTES_PER_PIXEL + 2 * limits.most_file_bytes
    if available is not None and n_at_once:
        share = int(available * _MEMORY_SHARE) // n_at_once
        # Coarse, so that memory that comes and goes makes no difference.
        needed = min(needed, max(share // _LEAST_MEMORY_BYTES, 1) * _LEAST_MEMORY_BYTES)
    return WorkerSettings(max_pixels=limits.max_pixels, max_memory_bytes=needed)
