"""What the tests of `clipaudit score` share: an encoder, pictures, and ways to run the command.

`Probe` is an encoder as another package would bring it: `plugin` writes the metadata that
registers it under the scheme `probe`. It is a small fixed projection, and can be slow, short of
memory or broken on demand.

`WarmCommand` runs the command line in processes of their own that are forked from one which has
torch imported already: real signals, streams and exit codes at a tenth of the time. Whatever
concerns the start itself is tested on the installed command.
"""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZE_PX = 16
DIM = 24
N_VIEWS = 4
N_TRIALS = 2


class Probe:
    """An `Encoder` with habits: `probe:slow=0.1,most=20,error=cpu,black=nan`.

    size: side of its input. room: megabytes that the process may take from now on. slow: seconds
    a call. most: views a call, above which memory is short. error: `torch`, `cpu`
    or `python`, which is how it says so. black: what it makes of black views: `nan`, `inf`,
    `zero`, `constant`, `huge`, `odd` (nan in one of its numbers). bad: a fault of `_spoiled`, after
    so many `good` calls. Every call but the two that it is tried with adds a line with the number
    of its views to the file that PROBE_LOG names.
    """

    def __init__(self, name, options):
        import torch

        from clipaudit.encoders.base import EncoderInfo, InputSpec

        self.n_calls = 0
        self.habits = dict(habit.split("=") for habit in name.split(",") if habit != "plain")
        unknown = self.habits.keys() - {
            "size",
            "room",
            "slow",
            "most",
            "error",
            "black",
            "bad",
            "good",
        }
        assert not unknown, unknown
        if room := int(self.habits.get("room", 0)):
            _limit_memory(room)
        self.weights = torch.randn(48, DIM, generator=torch.Generator().manual_seed(0))
        self.device = torch.device("cpu")
        self.info = EncoderInfo(
            spec=f"probe:{name}",
            output=options.output or "embedding",
            input=InputSpec(
                int(self.habits.get("size", SIZE_PX)), (0.5,) * 3, (0.5,) * 3, "bicubic"
            ),
            dim=DIM,
            fingerprint="0123456789abcdef" * 4,
            backend="torch",
            device="cpu",
        )

    def embed(self, views):
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        self.n_calls += 1
        if self.n_calls > N_TRIALS and (log := os.environ.get("PROBE_LOG")):
            with Path(log).open("a") as lines:
                lines.write(f"{len(views)}\n")
        time.sleep(float(self.habits.get("slow", 0)))
        is_bad = self.n_calls > int(self.habits.get("good", 0)) and "bad" in self.habits
        if len(views) > int(self.habits.get("most", 10**9)):
            raise {
                "torch": torch.OutOfMemoryError("CUDA out of memory."),
                "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
                "python": MemoryError(),
                "other": RuntimeError("shapes cannot be multiplied"),
            }[self.habits.get("error", "torch")]
        made = (adaptive_avg_pool2d(views, 4).flatten(1) - 0.3) @ self.weights
        black = views.flatten(1).amax(dim=1) == 0
        match self.habits.get("black"):
            case "nan" | "inf" as value:
                made[black] = float(value)
            case "odd":
                made[black, 3] = float("nan")
            case "zero":
                made[black] = 0.0
            case "constant":
                made[black] = 0.7
            case "huge":
                made[black] *= 5e37
        return _spoiled(made, self.habits["bad"]) if is_bad else made


def _spoiled(made, habit):
    import torch

    match habit:
        case "half":
            return made[::2]
        case "twice":
            return made.repeat(2, 1)
        case "wide":
            return made.repeat(1, 2)
        case "none":
            return None
        case "random":
            return torch.rand(made.shape)
        case "raise":
            raise KeyError("a layer")
        case "hang":
            while True:
                time.sleep(0.01)
        case "pause":
            ctypes.CDLL(None).sleep(1000)
        case "abort" | "killed":  # the second as by a system that is short of memory
            ends = {"abort": os.abort, "killed": lambda: os.kill(os.getpid(), signal.SIGKILL)}
            ends[habit]()
        case "segfault":
            ctypes.string_at(0)
    raise AssertionError(habit)


def _limit_memory(megabytes):
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = held + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def plugin(folder):
    """Write the metadata of an installed package that registers `Probe`; gives its folder."""
    info = folder / "probe-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[clipaudit.encoders]\nprobe = {__name__}:Probe\n", encoding="utf-8"
    )
    return folder


def picture(number):
    """Smooth colours with some grain, never twice the same; shape (30, 40, 3), uint8."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((40, 30), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def draw_pictures(folder, n, first=0):
    """Files of that many different pictures, in order of their names."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.png" for number in range(first, first + n)]
    for number, path in enumerate(paths, first):
        Image.fromarray(picture(number)).save(path)
    return paths


def make_inferrers(folder, n_views=N_VIEWS):
    """Folders `v`, `s`, `t` (cosine) and `p` (T on Pearson), fitted to made-up features."""
    import numpy as np

    from clipaudit.features.signals import Similarity, n_pairs
    from clipaudit.features.views import ENCODERMI
    from clipaudit.inferrers.base import Inferrer, Kind, Reads
    from clipaudit.inferrers.deepset import DeepSetRule
    from clipaudit.inferrers.library import save
    from clipaudit.inferrers.rules import Rule
    from clipaudit.inferrers.threshold import MeanRule
    from clipaudit.inferrers.vector import VectorRule
    from tests.made.inferrers import toy_card

    rng = np.random.default_rng(0)
    is_member = np.arange(40) < 20
    levels = np.where(is_member, 0.75, 0.55)[:, None]
    features = rng.normal(levels, 0.15, (40, n_pairs(n_views))).clip(-1, 1).astype(np.float32)
    rules: dict[str, tuple[Kind, Similarity, Rule, float]] = {
        "v": ("V", "cosine", VectorRule.train(features, is_member, 0), 0.0),
        "s": ("S", "cosine", DeepSetRule.train(features, is_member, 0), 0.0),
        "t": ("T", "cosine", MeanRule(), 0.65),
        "p": ("T", "pearson", MeanRule(), 0.65),
    }
    for name, (kind, similarity, rule, threshold) in rules.items():
        reads = Reads(similarity, n_views, ENCODERMI.id, "embedding")
        card = toy_card(name, kind, reads, threshold, size_px=SIZE_PX)
        save(Inferrer(card, rule), folder / name)
    return folder


# --- running the command -------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: bytes
    err: str

    @property
    def document(self):
        """Its JSON."""
        return json.loads(self.out)

    @property
    def rows(self):
        """The rows of its JSON, by the last part of their paths."""
        return {row["path"].rpartition("/")[2]: row for row in self.document["rows"]}


def records(text):
    """The rows of a CSV document."""
    return list(csv.DictReader(io.StringIO(text)))


def clean(done, code=0):
    """The exit code is as expected, and nothing looks like an accident."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert "Warning" not in done.err
    return done


def refused(done, code):
    """An error with a hint, and nothing on stdout."""
    clean(done, code)
    assert done.out == b""
    assert done.err.startswith("error: ")
    assert "\nhint:  " in done.err
    return done.err


@dataclass
class Running:
    """A command in a process group of its own, as a shell would start it."""

    pid: int
    scratch: Path
    _server: WarmCommand = field(repr=False)

    def signal(self, number):
        """To the whole group, which is what a terminal does with Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def is_alive(self):
        """Whether it still runs; one that ended and was not waited for does not."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"

    def wait(self, seconds=60):
        """What came out; a run that does not end is killed, and a failure."""
        give_up = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < give_up:
            time.sleep(0.01)
        hangs = self.is_alive()
        if hangs:
            self.signal(signal.SIGKILL)
        code = self._server.ask({"wait": self.pid})
        assert not hangs, f"the run did not end within {seconds} s"
        return Done(
            code,
            (self.scratch / "out").read_bytes(),
            (self.scratch / "err").read_text(errors="surrogateescape"),
        )


def wait_for(condition, running, seconds=30):
    """Look again and again until something is so; a run that ends before is a failure."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert running.is_alive(), "the run was over too early"
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.002)


def children(pid):
    """Process ids of the decoders of a run, on Linux."""
    tasks = Path(f"/proc/{pid}/task")
    return sorted(
        {int(one) for each in tasks.iterdir() for one in (each / "children").read_text().split()}
    )


class WarmCommand:
    """`clipaudit` again and again, each time forked from a process that has imported torch."""

    def __init__(self, scratch, path):
        self._scratch = scratch
        self._n = 0
        environment = {**os.environ, "PYTHONPATH": path}
        ours, theirs = os.pipe(), os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(ours[0]), str(theirs[1])],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=ROOT,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._requests = os.fdopen(ours[1], "w")
        self._answers = os.fdopen(theirs[0])

    def ask(self, request):
        """Send a request to the server, and wait for its answer."""
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        return json.loads(self._answers.readline())

    def start(self, *arguments, stdin=b"", env=None, cwd=None):
        self._n += 1
        scratch = self._scratch / str(self._n)
        scratch.mkdir()
        (scratch / "in").write_bytes(stdin)
        given = [os.fspath(one) if isinstance(one, os.PathLike) else str(one) for one in arguments]
        request = {
            "scratch": str(scratch),
            "argv": given,
            "env": env or {},
            "cwd": str(cwd or ROOT),
        }
        return Running(self.ask(request), scratch, self)

    def __call__(self, *arguments, **how):
        return self.start(*arguments, **how).wait()

    def close(self):
        self._requests.close()
        self._answers.close()
        self._process.wait(timeout=20)


def serve(requests, answers):
    """The server: fork for each request; returns in the child alone, ready to run the command."""
    import gc

    import torch

    import clipaudit.cli.app
    import clipaudit.cli.score
    import clipaudit.inferrers.library
    import clipaudit.pipelines.score
    import clipaudit.reports.audit.json_document
    import clipaudit.reports.audit.table  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()  # what is shared with the children stays shared
    with os.fdopen(requests) as lines, os.fdopen(answers, "w") as replies:
        for line in lines:
            request = json.loads(line)
            if "wait" in request:
                _, status = os.waitpid(request["wait"], 0)
                answer = os.waitstatus_to_exitcode(status)
            elif pid := os.fork():
                answer = pid
            else:
                break
            replies.write(f"{answer}\n")
            replies.flush()
        else:
            raise SystemExit
    _become(request)


def _become(request):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    scratch = Path(request["scratch"])
    for number, name in enumerate(("in", "out", "err")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        opened = os.open(scratch / name, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["clipaudit", *request["argv"]]


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
    from clipaudit.cli.app import main

    main()
