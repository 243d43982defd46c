"""What clipaudit costs: every step against the naive way and the floor, timed in turn.

    python -m benchmarks [CASE ...] [--quick] [--json FILE] [--plot FILE.svg]
    python -m benchmarks gpu [--json FILE]
    python -m benchmarks precision PICTURES [--json FILE]
    python -m benchmarks scale [N ...] [--json FILE]

Runs on any machine and needs no network; pictures and encoders are made on the spot. Each way of a
case runs once to warm up and to be compared, since a benchmark that computes something else says
nothing; then the ways take turns. Quote the ratios: seconds differ from machine to machine.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import CASES, find_case
from benchmarks.contest import DifferentResultError, Measured, measure, table
from benchmarks.written import plot, write_json

_ROUNDS, _QUICK_ROUNDS = 5, 2


def main(arguments: list[str]) -> int:
    """Run the cases that are named, or all; gives the exit code."""
    if arguments[:1] == ["gpu"]:
        from benchmarks import gpu

        return gpu.main(arguments[1:])
    if arguments[:1] == ["precision"]:
        from benchmarks import precision

        return precision.main(arguments[1:])
    if arguments[:1] == ["scale"]:
        from benchmarks import scale

        return scale.main(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.list:
        for name in CASES:
            print(f"{name:12} {find_case(name).about}")
        return 0
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory() as scratch:
        # Nothing of the user's is read or written, and an encoder is exported once for all cases.
        os.environ["CLIPAUDIT_CACHE_DIR"] = str(Path(scratch) / "cache")
        for name in options.cases or CASES:
            case = find_case(name)
            for size in case.quick_sizes if options.quick else case.sizes:
                print(f"{name}, {size:,} {case.unit} …", file=sys.stderr, flush=True)
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    try:
                        measured.append(measure(name, case, size, rounds, Path(folder)))
                    except DifferentResultError as error:
                        print(f"error: {error}", file=sys.stderr)
                        return 1
    print(table(measured))
    if options.json:
        write_json(options.json, measured, rounds)
    if options.plot:
        options.plot.write_text(plot(measured), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "cases", nargs="*", type=_case, metavar="CASE", help=f"{', '.join(CASES)}; default: all"
    )
    parser.add_argument("--list", action="store_true", help="say what the cases are, and stop")
    parser.add_argument("--quick", action="store_true", help="one small size a case, two rounds")
    parser.add_argument("--rounds", type=_positive, help="rounds after the first; default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every time of every round")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="cost against size")
    return parser


def _case(name: str) -> str:
    if name not in CASES:
        known = difflib.get_close_matches(name, CASES, 1) or CASES
        raise argparse.ArgumentTypeError(f"no case is called {name!r}; try {', '.join(known)}")
    return name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
