"""Pictures a second of `clipaudit build-eval` against a server on this machine.

    python benchmarks/build_eval.py [--pictures 300] [--side 640] [--jobs 1 2 4 8]

It shows the cost of the tool alone, with the network's left out: search, checks of addresses,
downloads, decoding in processes of their own, hashes, files that reach the disk. The server is a
process of its own and has painted every picture before the clock starts. Every number of jobs
builds the same set anew; compare the rows of one run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--side", type=int, default=640, help="mean longer side in pixels")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4, 8])
    args = parser.parse_args()
    command = [sys.executable, "-m", "tests.services.openverse", "--side", str(args.side)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            seconds_of(url, args.pictures, 8)  # the server keeps what it has painted
            print(f"{args.pictures} pictures of {args.side} px, {os.cpu_count()} cores\n")
            print("| jobs | seconds | pictures/s |\n|---|---|---|")
            for jobs in args.jobs:
                seconds = seconds_of(url, args.pictures, jobs)
                print(f"| {jobs} | {seconds:.1f} | {args.pictures / seconds:.1f} |", flush=True)
        finally:
            server.terminate()


def seconds_of(url: str, n_pictures: int, jobs: int) -> float:
    """Seconds of a build in a process of its own, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build(url, Path(folder) / "set", n_pictures, jobs)
        return time.perf_counter() - started


def build(url: str, folder: Path, n_pictures: int, jobs: int) -> None:
    """Build the set of so many originals, in a process of its own."""
    keywords = ",".join(f"word {number}" for number in range(n_pictures // 30))
    command = [sys.executable, "-m", "clipaudit", "build-eval", "-k", keywords, "--quiet"]
    command += ["--allow-private", "--jobs", str(jobs), "-o", str(folder)]
    environ = {**os.environ, "CLIPAUDIT_OPENVERSE_URL": url}
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
