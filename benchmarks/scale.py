"""Memory and time of `clipaudit score`, from a thousand pictures to a million.

    python -m benchmarks scale [1000 10000 100000 1000000] [--json FILE] [--keep FOLDER]

Small pictures of 16 × 16 pixels, all different, in webdataset's tar shards of 1,000; an encoder of
`resnet-tiny` with random weights, in one pass a picture (`--method norm`), and a file of JSON lines
as the result. Each number of pictures is scored twice, in processes of their own: when nothing is
known, and when the store knows all. Time is that of the processor, in this process and those that
it started; memory is the largest resident set of the main process, and the largest sum over all of
them. A million needs 4 GB of disk and, on two cores, half an hour.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.cases.pictures import tiny_encoder
from benchmarks.cases.processes import ROOT
from benchmarks.written import write_document
from clipaudit.seeding import stream

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_SHARD = 1_000
_SIDE = 16
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run took.

    Attributes:
        n_pictures: Pictures that were scored.
        is_known: Whether all were in the store.
        wall_s: Seconds from start to end.
        processor_s: Seconds of all cores, in all processes.
        own_mb: Largest resident set of the main process, in MB.
        all_mb: Largest sum over it and the processes that it started.
    """

    n_pictures: int
    is_known: bool
    wall_s: float
    processor_s: float
    own_mb: float
    all_mb: float


def main(arguments: list[str]) -> int:
    """Measure, print and write; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sizes", nargs="*", type=_thousands, default=_SIZES, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for shards, made once")
    options = parser.parse_args(arguments)
    found: list[Spent] = []
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        encoder = tiny_encoder(Path(name))
        make_shards(folder, max(options.sizes))
        print("| pictures | known | time | processor time a picture | memory | with decoders |")
        print("|---|---|---|---|---|---|", flush=True)
        for size in options.sizes:
            for is_known in (False, True):
                found.append(_score(folder, size, encoder, Path(name), is_known=is_known))
                print(_line(found[-1]), flush=True)
    if options.json:
        write_document(options.json, {"runs": [asdict(spent) for spent in found]})
    return 0


def _thousands(text: str) -> int:
    number = int(text)
    if number < 1 or number % _SHARD:
        raise argparse.ArgumentTypeError(f"must be a multiple of {_SHARD:,}")
    return number


def make_shards(folder: Path, n_pictures: int) -> None:
    """Tar shards of different pictures; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, n_pictures, _SHARD):
        path = _shard(folder, first)
        if path.exists():
            continue
        unfinished = path.with_suffix(".part")
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as shard:
            for number, data in enumerate(_pictures(first), first):
                member = tarfile.TarInfo(f"{number:09}.png")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
        unfinished.rename(path)


def _pictures(first: int) -> Iterator[bytes]:
    """PNG files of smooth noise."""
    generator = stream(0, str(first), "pictures of a shard")
    for _ in range(_SHARD):
        few = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(few).resize((_SIDE, _SIDE)).save(file, "PNG", compress_level=1)
        yield file.getvalue()


def _shard(folder: Path, first: int) -> Path:
    return folder / f"{first // _SHARD:05}.tar"


def _score(folder: Path, size: int, encoder: str, place: Path, *, is_known: bool) -> Spent:
    shards = [_shard(folder, first) for first in range(0, size, _SHARD)]
    command = [sys.executable, "-m", "clipaudit", "score", *map(str, shards), "--quiet"]
    command += ["--encoder", encoder, "--offline", "--method", "norm"]
    command += ["-o", str(place / "rows.jsonl")]
    cache = place / f"cache of {size}"
    began = time.perf_counter()
    before = os.times()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "CLIPAUDIT_CACHE_DIR": str(cache)},
        stdout=subprocess.DEVNULL,
    ) as process:
        own, together = _watch(process)
    after = os.times()
    if process.returncode:
        raise SystemExit(f"clipaudit ended with exit code {process.returncode}")
    processor_s = sum(after[2:4]) - sum(before[2:4])
    with (place / "rows.jsonl").open(encoding="utf-8") as file:
        n_rows = sum(1 for _ in file) - 1
    if n_rows != size:
        raise SystemExit(f"there are {n_rows} rows for {size} pictures")
    wall_s = time.perf_counter() - began
    return Spent(size, is_known, wall_s, processor_s, own / 1e6, together / 1e6)


def _watch(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The largest resident set of a process, and the largest sum over all below it, in bytes."""
    own = together = 0
    main = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            now = main.memory_info().rss
            below = sum(_resident(child) for child in main.children(recursive=True))
        except psutil.NoSuchProcess:
            break
        own, together = max(own, now), max(together, now + below)
        time.sleep(_LOOK_EVERY_S)
    process.wait()
    return own, together


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _line(spent: Spent) -> str:
    each_ms = 1000 * spent.processor_s / spent.n_pictures
    known = "all" if spent.is_known else "none"
    return (
        f"| {spent.n_pictures:,} | {known} | {spent.wall_s:.1f} s | {each_ms:.2f} ms "
        f"| {spent.own_mb:.0f} MB | {spent.all_mb:.0f} MB |"
    )
