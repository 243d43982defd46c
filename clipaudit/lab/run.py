"""Runs a matrix: splits, then all encoders, several at a time, then what follows from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from clipaudit.encoders.devices import resolve
from clipaudit.errors import ClipAuditError, InputError, UsageError, nearest
from clipaudit.files import cache_dir, make_folder, refuse_links, replace_file
from clipaudit.lab.collecting import collect, is_ready
from clipaudit.lab.plan import data_sets, make_plan
from clipaudit.lab.results import (
    Results,
    read_results,
    results_file,
    with_earlier,
    write_results,
)
from clipaudit.lab.splits import make_split, read_split, split_folder
from clipaudit.lab.worker import ERROR
from clipaudit.shadow.datasets import ShadowData, open_data
from clipaudit.shadow.training_folder import LOG, has_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipaudit.lab.cells import Plan
    from clipaudit.lab.matrix import Matrix
    from clipaudit.lab.scale import Scale
    from clipaudit.lab.splits import LabSplit
    from clipaudit.lab.units import Unit

State = Literal["there", "waiting", "running", "done", "failed"]

_POLL_S = 0.5
_PATIENCE_S = 20.0
_TAIL_BYTES = 4096
_WORKER_LOG = "worker.log"


@dataclass(frozen=True, slots=True)
class LabConfig:
    """How to run a matrix.

    Attributes:
        matrix: What is to be run.
        scale: Name of one of the matrix's scales.
        lab: Folder for all that is made; what is there is not made again.
        data: Paths of data sets by name, in place of those that the matrix names.
        jobs: Encoders at a time; None takes one a processor core, or one in all on a GPU.
        device: Where encoders are trained.
        only: Experiments to run, by name or kind; empty runs all.
    """

    matrix: Matrix
    scale: str
    lab: Path
    data: Mapping[str, str] = field(default_factory=dict)
    jobs: int | None = None
    device: str = "auto"
    only: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """How far one encoder is.

    Attributes:
        unit: The encoder.
        state: State of the encoder: `there` needs nothing, `done` was made in this run.
        epoch: Epochs done.
        loss: Loss in the last of them; None before the first.
        since: Time at which it was started, by `time.monotonic`.
        seconds: How long it took or has been taking.
        error: What went wrong, and what to do.
    """

    unit: Unit
    state: State
    epoch: int = 0
    loss: float | None = None
    since: float = 0.0
    seconds: float = 0.0
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of a matrix came to.

    Attributes:
        results: Results of all cells that could be filled.
        file: Where they are written.
        n_filled: How many cells could be filled.
        n_encoders: How many encoders the matrix needs.
        failed: Encoders that could not be made.
        exit_code: Exit code of the first that failed; 0 where none did.
    """

    results: Results
    file: Path
    n_filled: int
    n_encoders: int
    failed: tuple[Progress, ...]
    exit_code: int


def run_lab(
    config: LabConfig,
    on_split: Callable[[str, int, LabSplit], None] = lambda data, seed, split: None,
    on_progress: Callable[[list[Progress]], None] = lambda progress: None,
) -> Ran:
    """Run all that a matrix names, and is not there yet.

    An encoder that fails is reported and does not keep the others from being made.

    Args:
        config: What, how large and where.
        on_split: Called for every split, new or found.
        on_progress: Called about twice a second with the state of every encoder.

    Raises:
        ClipAuditError: The matrix does not fit, a data set is missing or too small, another run
            is at work in the same folder, there is a link in it, or the disk is full.
    """
    matrix, scale = _chosen(config)
    refuse_links(config.lab)
    make_folder(config.lab)
    lock = FileLock(config.lab / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"another `clipaudit lab run` is at work in {config.lab}",
            "Wait until it ends, stop it, or pass another --output.",
        ) from error
    except OSError as error:
        raise UsageError(
            f"{config.lab} cannot be written to: {error.strerror or error}",
            "Name another folder with -o.",
        ) from error
    try:
        splits = _splits(config, matrix, scale, on_split)
        plan = make_plan(matrix, scale, config.lab, splits)
        progress, exit_code = _make_all(plan, config, on_progress)
        device = str(resolve(config.device))
        results = collect(plan, matrix, config.scale, device)
        file = _write(config, results)
    finally:
        lock.release()
    failed = tuple(encoder for encoder in progress if encoder.state == "failed")
    n_filled = sum(is_ready(cell, plan) for cell in plan.cells)
    return Ran(results, file, n_filled, len(plan.units), failed, exit_code)


def read_plan(config: LabConfig) -> Plan:
    """The plan of a matrix whose splits are all drawn; opens no data set.

    Raises:
        UsageError: The matrix has no such scale, data set or experiment.
        InputError: A split is missing or broken.
    """
    matrix, scale = _chosen(config)
    splits = {
        (name, seed): read_split(
            split_folder(
                config.lab, name, scale.split, scale.size_px, seed, matrix.captions.get(name)
            )
        )
        for name in data_sets(matrix)
        for seed in scale.seeds
    }
    return make_plan(matrix, scale, config.lab, splits)


def _chosen(config: LabConfig) -> tuple[Matrix, Scale]:
    """Pick the experiments and the scale that were asked for."""
    matrix = config.matrix
    if config.scale not in matrix.scale:
        raise UsageError(
            f"the matrix {matrix.name} has no scale {config.scale}",
            f"Choose one of {', '.join(matrix.scale)}.",
        )
    for name in config.data:
        if name not in matrix.data:
            raise UsageError(
                f"the matrix {matrix.name} has no data set {name}",
                f"It has {', '.join(matrix.data)}: --data {next(iter(matrix.data))}=PATH.",
            )
    names = {name for entry in matrix.experiment for name in (entry.name, entry.kind)}
    for name in config.only:
        if name not in names:
            near = nearest(name, sorted(names), limit=3) or sorted(names)
            raise UsageError(
                f"the matrix {matrix.name} has no experiment {name}",
                f"Choose among {', '.join(near)}.",
            )
    if config.only:
        wanted = tuple(
            entry for entry in matrix.experiment if {entry.name, entry.kind} & set(config.only)
        )
        matrix = matrix.model_copy(update={"experiment": wanted})
    return matrix, matrix.scale[config.scale]


def _splits(
    config: LabConfig,
    matrix: Matrix,
    scale: Scale,
    on_split: Callable[[str, int, LabSplit], None],
) -> dict[tuple[str, int], LabSplit]:
    """The splits of all data sets and seeds; a data set is opened only where one is missing."""
    splits: dict[tuple[str, int], LabSplit] = {}
    for name in data_sets(matrix):
        opened: list[ShadowData] = []

        def open_set(name: str = name, opened: list[ShadowData] = opened) -> ShadowData:
            if not opened:
                source = config.data.get(name, matrix.data[name])
                opened.append(open_data(source, name, cache_dir() / "data"))
            return opened[0]

        captions = matrix.captions.get(name)
        for seed in scale.seeds:
            folder = split_folder(config.lab, name, scale.split, scale.size_px, seed, captions)
            split = make_split(folder, name, open_set, scale.split, scale.size_px, seed, captions)
            splits[name, seed] = split
            on_split(name, seed, split)
    return splits


def _make_all(
    plan: Plan, config: LabConfig, on_progress: Callable[[list[Progress]], None]
) -> tuple[list[Progress], int]:
    """Make every unit that is not done, each in a process of its own."""
    progress = [
        Progress(unit, "there" if unit.is_done else "waiting") for unit in plan.units.values()
    ]
    waiting = [encoder for encoder in progress if encoder.state == "waiting"]
    jobs = config.jobs or _jobs(config.device)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    running: dict[str, tuple[Progress, subprocess.Popen[bytes]]] = {}
    exit_code = 0
    try:
        while waiting or running:
            while len(running) < jobs and (encoder := _next(waiting, running)):
                waiting.remove(encoder)
                encoder.state, encoder.since = "running", time.monotonic()
                running[encoder.unit.key] = encoder, _start(encoder.unit, threads, config.device)
            time.sleep(_POLL_S)
            for key, (encoder, process) in list(running.items()):
                _follow(encoder)
                code = process.poll()
                if code is not None:
                    del running[key]
                    _finish(encoder, process, code)
                    if encoder.state == "failed":
                        exit_code = exit_code or _exit_code(code)
            on_progress(progress)
    finally:
        _stop([process for _, process in running.values()])
    on_progress(progress)
    return progress, exit_code


def _next(
    waiting: list[Progress], running: Mapping[str, tuple[Progress, subprocess.Popen[bytes]]]
) -> Progress | None:
    """The first encoder that can be made: not one whose base is still to come."""
    for encoder in waiting:
        base = encoder.unit.base
        if base is None or has_encoder(base.parent):
            return encoder
    # A base that failed: its worker will say that it is not there.
    return waiting[0] if waiting and not running else None


def _exit_code(code: int) -> int:
    """Exit code of the lab, by a worker's: 1 is a traceback, so a bug, and below 0 is a signal."""
    if code == 1:
        return ClipAuditError.exit_code
    return code if code > 0 else 4


def _jobs(device: str) -> int:
    return (os.cpu_count() or 1) if resolve(device).type == "cpu" else 1


def _start(unit: Unit, threads: int, device: str) -> subprocess.Popen[bytes]:
    """Start a worker. It hears no Ctrl-C of the terminal: the lab ends it, after an epoch."""
    make_folder(unit.folder)
    (unit.folder / ERROR).unlink(missing_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "clipaudit.lab.worker", str(threads), device]
    replace_file(unit.folder / _WORKER_LOG, b"")
    with (unit.folder / _WORKER_LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, and words of ours
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it is gone already, which is found out soon enough
        process.stdin.write(unit.as_json().encode())
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process


def _follow(encoder: Progress) -> None:
    """Read how far a worker is from the end of its log."""
    encoder.seconds = time.monotonic() - encoder.since
    try:
        with (encoder.unit.folder / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
        last = json.loads(lines[-1])
        encoder.epoch, encoder.loss = last["number"], last["loss"]
    except (OSError, ValueError, IndexError, KeyError):
        return  # there is no whole line yet


def _finish(encoder: Progress, process: subprocess.Popen[bytes], code: int) -> None:
    if code == 0:
        encoder.state = "done"
        return
    encoder.state = "failed"
    try:
        report = json.loads((encoder.unit.folder / ERROR).read_text(encoding="utf-8"))
        encoder.error = report["message"], report["hint"]
    except (OSError, ValueError, KeyError):
        how = f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"
        log = encoder.unit.folder / _WORKER_LOG
        advice = f"Its checkpoint is kept: run the same command again. {log} has its last words"
        encoder.error = (
            f"the worker of {encoder.unit.folder} is gone: {how}",
            f"{advice}; if memory was short, lower --jobs.",
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs; checkpoints are written so that nothing is lost but a minute."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + _PATIENCE_S
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write(config: LabConfig, results: Results) -> Path:
    """Write results; those of experiments that were left out this time stay as they were.

    Where no cell could be filled, earlier results stay too.
    """
    path = results_file(config.lab, results)
    if not path.exists():
        return write_results(config.lab, results)
    if not results.outcomes:
        return path
    with suppress(InputError):  # of another version, or broken: replaced
        order = [entry.name for entry in config.matrix.experiment]
        others = [name for name in order if name not in results.experiments]
        results = with_earlier(results, read_results(path), others)
        experiments = results.experiments
        experiments = {name: experiments[name] for name in order if name in experiments}
        results = replace(results, experiments=experiments)
    return write_results(config.lab, results)
