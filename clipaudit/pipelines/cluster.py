"""Blocks of work → their results, in the order of the blocks, by the machines of a Ray cluster.

What the work is, this module does not know: a worker opens a stage once and puts blocks through it.

Plain actors, and not operators of Ray Data, for three reasons. Ray Data wants its whole input
listed before it starts, and here blocks are found while others are worked on. A worker's error
would come out as one of Ray's, in the middle of a plan, and here it must be the user's, with the
name of the machine. And a block must be done again after a machine died, but not for ever where it
is the block that ends each worker; Ray Data has no such limit.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clipaudit.encoders.third_party import first_line
from clipaudit.errors import ClipAuditError, EncoderError, extra_imports
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Block = TypeVar("Block")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_IN_FLIGHT = 2
"""Blocks a worker has at a time: one in work, and the next one."""
_AHEAD = 16
"""Blocks a worker, on average, that may be done before an earlier one is."""
_MOST_TRIES = 3
"""How often a block may end a worker, and a worker end while it starts."""
_LOOK_EVERY_S = 5.0
_TICK_S = 1.0
_PATIENCE_S = 60.0
_ANSWER_S = 10.0
_HINT = (
    "`ray status` on its head says whether it runs; its nodes need the same versions of Ray and "
    "Python as this machine. Without --ray-address, Ray runs on this machine alone."
)


def require_ray() -> None:
    """Check that Ray is there, before anything is loaded.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read as a cluster starts: nothing is sent out
    with extra_imports("--engine ray"):
        import ray  # noqa: F401


@contextmanager
def connect(address: str | None) -> Iterator[None]:
    """A connection to a Ray cluster; without an address, one of this machine alone for so long.

    Where the program is connected to a cluster already, that one is taken, and left as it is.

    Raises:
        EncoderError: It cannot be reached, or does not start.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    from ray._private import worker

    if address:
        _require_answer(address)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            logging_level=logging.CRITICAL,
            log_to_driver=False,  # it would print into results
        )
    except Exception as error:
        what = f"the Ray cluster {address} cannot be reached" if address else "Ray does not start"
        raise EncoderError(f"{what}: {first_line(error)}", _HINT) from error
    if is_main:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
    # Ray says on stdout, among results, that a node went away. There is no public switch; where
    # this one is gone, only that is back.
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = True


def _require_answer(address: str) -> None:
    """That somebody listens at an address; Ray would try for minutes.

    Raises:
        EncoderError: Nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return  # a word, such as auto, for which Ray looks on this machine
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise EncoderError(f"the Ray cluster {address} does not answer: {error}", _HINT) from error


def in_order(
    blocks: Iterable[Block],
    open_stage: Callable[[], Callable[[Block], Result]],
    *,
    takes_gpus: bool,
) -> Iterator[Result]:
    """What the stage makes of each block, on all machines of the cluster, in the order of blocks.

    There is a worker a GPU where the cluster has some and they are wanted, and one a machine
    otherwise. It has an equal share of the machine's processors, so that Ray gives it as many
    threads. Machines that join are put to work. The blocks of a worker that ends are done again by
    others; no result is lost, and none comes twice.

    Args:
        blocks: Taken as they are needed, in the calling thread.
        open_stage: Called once in each worker; its module must be there, too.
        takes_gpus: Whether the stage works on a GPU where there is one.

    Raises:
        ClipAuditError: What a stage raised, with the name of its machine in the hint; or a block
            ends every worker, or no machine can work.
    """
    work = _Work(iter(blocks), open_stage, takes_gpus)
    try:
        yield from work.results()
    finally:
        work.stop()


class _Host:
    """What lives in a worker: the stage, once it is open."""

    def __init__(self, open_stage: Callable[[], Callable[[Any], Any]], folder: str) -> None:
        self._open_stage = open_stage
        self._folder = folder
        self._warnings = _Warnings()
        logging.getLogger("clipaudit").addHandler(self._warnings)

    def open(self) -> tuple[None, list[str]]:
        """Load what the stage needs; not in `__init__`, whose errors Ray gives as text."""
        try:
            os.chdir(self._folder)  # relative paths lead to where they led when they were typed
        except OSError as error:
            raise EncoderError(
                f"the folder {self._folder!r} is not there ({error.strerror})",
                "Pictures, encoders and inferrers must have the same paths on all machines.",
            ) from error
        self._stage = self._open_stage()
        return None, self._warnings.take()

    def run(self, block: Any) -> tuple[Any, list[str]]:
        """What the stage makes of a block, and what it warned of."""
        return self._stage(block), self._warnings.take()


class _Warnings(logging.Handler):
    """What was warned of in a worker, whose own streams nobody reads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._messages.append(record.getMessage())

    def take(self) -> list[str]:
        """The messages since the last time."""
        messages, self._messages = self._messages, []
        return messages


@dataclass(slots=True, eq=False)
class _Job(Generic[Block]):
    """A block on its way.

    Attributes:
        number: Its place in the order, from 0.
        block: The block.
        n_tries: How many workers ended over it.
    """

    number: int
    block: Block
    n_tries: int = 0


@dataclass(slots=True, eq=False)
class _Worker(Generic[Block]):
    """A worker, as seen from here.

    Attributes:
        actor: Ray's handle.
        node_id: Ray's name of its machine.
        address: IP address of its machine.
        jobs: What it has to do, the first in work.
        is_open: Whether it can take blocks.
    """

    actor: Any
    node_id: str
    address: str
    jobs: deque[_Job[Block]] = field(default_factory=deque)
    is_open: bool = False


class _Work(Generic[Block, Result]):
    """A run over all blocks: workers that come and go, and what they have in work."""

    def __init__(
        self,
        blocks: Iterator[Block],
        open_stage: Callable[[], Callable[[Block], Result]],
        takes_gpus: bool,
    ) -> None:
        self._blocks: Iterator[Block] | None = blocks
        self._open_stage = open_stage
        self._takes_gpus = takes_gpus
        self._workers: list[_Worker[Block]] = []
        self._pending: dict[Any, tuple[_Worker[Block], _Job[Block] | None]] = {}  # by Ray's answer
        self._again: deque[_Job[Block]] = deque()
        self._done: dict[int, Result] = {}
        self._n_taken = self._n_given = 0
        self._n_failed: Counter[str] = Counter()  # workers that ended as they started, by node
        self._looked_at = -_LOOK_EVERY_S
        self._waits_since = time.monotonic()
        self._warned: set[str] = set()

    def results(self) -> Iterator[Result]:
        while True:
            self._start_workers()
            self._hand_out()
            if self._blocks is None and not self._again and not any(w.jobs for w in self._workers):
                return
            self._collect()
            while self._n_given in self._done:
                self._n_given += 1
                yield self._done.pop(self._n_given - 1)

    def stop(self) -> None:
        import ray

        for worker in self._workers:
            with suppress(Exception):  # whatever Ray says: there is nothing more to be done
                ray.kill(worker.actor)

    def _start_workers(self) -> None:
        """One for each place that has none, now and then."""
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        hosts: Any = ray.remote(_Host)
        present = Counter(worker.node_id for worker in self._workers)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        with_gpus = [node for node in nodes if self._takes_gpus and _has(node, "GPU")]
        for node in with_gpus or nodes:
            node_id = node["NodeID"]
            n_places = _has(node, "GPU") if with_gpus else min(_has(node, "CPU"), 1)
            for _ in range(n_places - present[node_id]):
                if self._n_failed[node_id] >= _MOST_TRIES:
                    break
                actor = hosts.options(
                    num_cpus=_has(node, "CPU") // n_places,
                    num_gpus=1 if with_gpus else 0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
                ).remote(self._open_stage, str(Path.cwd()))
                worker: _Worker[Block] = _Worker(actor, node_id, node["NodeManagerAddress"])
                self._workers.append(worker)
                self._pending[actor.open.remote()] = worker, None
        if not self._workers:
            raise EncoderError(
                "no node of the Ray cluster can work: "
                + (
                    f"{count(self._n_failed.total(), 'worker')} ended while they were starting"
                    if self._n_failed
                    else "none has a processor for Ray"
                ),
                "`ray status` lists the nodes; often it is memory that they lack.",
            )

    def _hand_out(self) -> None:
        while True:
            free = [w for w in self._workers if w.is_open and len(w.jobs) < _IN_FLIGHT]
            job = self._next_job() if free else None
            if job is None:
                return
            worker = min(free, key=lambda known: len(known.jobs))
            worker.jobs.append(job)
            self._pending[worker.actor.run.remote(job.block)] = worker, job

    def _next_job(self) -> _Job[Block] | None:
        if self._again:
            return self._again.popleft()
        if self._blocks is None or self._n_taken - self._n_given >= _AHEAD * len(self._workers):
            return None
        for block in self._blocks:
            self._n_taken += 1
            return _Job(self._n_taken - 1, block)
        self._blocks = None
        return None

    def _collect(self) -> None:
        """Take what is ready, and wait for it a while."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not self._pending:  # every worker has ended, and others may start
            time.sleep(_TICK_S)
            return
        ready, _ = ray.wait([*self._pending], timeout=_TICK_S)
        for answer in ready:
            worker, job = self._pending.pop(answer)
            try:
                made, messages = ray.get(answer)
            except RayTaskError as error:
                raise _as_ours(error, worker.address) from error
            except RayError as error:
                self._replace(worker, error)
                continue
            if job is not None:
                worker.jobs.remove(job)
                self._done[job.number] = made
            worker.is_open = True
            for message in messages:
                if message not in self._warned:  # a hundred machines may say the same
                    logger.warning("node %s: %s", worker.address, message)
                self._warned.add(message)
        if any(worker.is_open for worker in self._workers):
            self._waits_since = time.monotonic()
        elif time.monotonic() - self._waits_since > _PATIENCE_S:
            self._waits_since = time.monotonic()
            logger.warning(
                "no worker has started for %.0f s: each needs all processors of its node, or a "
                "GPU, and other programs may have them; `ray status` says so",
                _PATIENCE_S,
            )

    def _replace(self, worker: _Worker[Block], error: Exception) -> None:
        """Give the blocks of a worker that ended to others."""
        import ray

        self._workers.remove(worker)
        self._pending = {key: of for key, of in self._pending.items() if of[0] is not worker}
        is_node_alive = any(n["NodeID"] == worker.node_id and n["Alive"] for n in ray.nodes())
        logger.info("%s: a worker ended: %s", worker.address, first_line(error))
        if not worker.is_open:
            self._n_failed[worker.node_id] += 1
            return
        logger.warning(
            "a worker on node %s ended, and its pictures are scored again elsewhere%s",
            worker.address,
            "" if is_node_alive else ": the node went away",
        )
        first = worker.jobs[0] if worker.jobs else None
        if first and is_node_alive:  # else it was not the block's fault
            first.n_tries += 1
            if first.n_tries >= _MOST_TRIES:
                raise EncoderError(
                    f"{first.n_tries} workers ended over the same pictures, the last on node "
                    f"{worker.address}: {first_line(error)}",
                    "Often a node lacks memory for the encoder: pass a smaller --batch-size, or "
                    "fewer --workers; what was computed is kept on the nodes.",
                )
        self._again.extendleft(reversed(worker.jobs))


def _has(node: dict[str, Any], resource: str) -> int:
    return int(node["Resources"].get(resource, 0))


def _as_ours(error: Any, address: str) -> BaseException:
    """A deliberate error of a worker, with its machine in the hint; another one as it is."""
    cause = error.cause
    if not isinstance(cause, ClipAuditError):
        return RuntimeError(f"on node {address}: {error}")
    cause.hint = f"It was raised on node {address} of the Ray cluster. {cause.hint}"
    cause.args = (str(cause), cause.hint)
    return cause
