"""Building an evaluation set, against a server on this machine; needs a checkout with tests."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from urllib.request import urlopen

from benchmarks.build_eval import build
from benchmarks.cases.processes import ROOT, require_equal
from benchmarks.contest import Case, Contest, Way, Workplace

_JOBS = 8


def _prepare(size: int, place: Workplace) -> Contest:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.services.openverse", "--side", "640"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    place.stack.enter_context(server)
    place.stack.callback(server.terminate)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    numbers = count()
    threads = place.stack.enter_context(ThreadPoolExecutor(_JOBS))

    def build_with(jobs: int) -> Path:
        folder = place.folder / str(next(numbers))
        build(address, folder, size, jobs)
        return folder

    def fetch(url: str) -> None:
        with urlopen(url) as answer:
            answer.read()

    made = build_with(_JOBS)  # the server keeps what it has painted
    (log,) = (made / "sources").glob("*.jsonl")
    urls = [row["url"] for row in _rows(log)]
    return Contest(
        (
            Way("product", f"--jobs {_JOBS}", lambda: _hashes(build_with(_JOBS))),
            Way("naive", "--jobs 1", lambda: _hashes(build_with(1))),
            Way(
                "floor",
                f"the downloads alone, {_JOBS} at a time",
                lambda: [*threads.map(fetch, urls)],
            ),
        ),
        require_equal,
    )


def _hashes(folder: Path) -> list[str]:
    """Path and hash of every picture of a set."""
    rows = _rows(folder / "manifest.jsonl")
    return sorted(f"{row['path']} {row['sha256']}" for row in rows)


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


CASE = Case("pictures of 640 px from a server", "pictures", (30, 90), (30,), _prepare)
