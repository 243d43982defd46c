"""Nothing leaves the machine, seen from outside: by strace, and in an empty home folder.

A guard inside Python, as in `test_score_offline.py`, sees nothing of what libraries in C++ do:
onnxruntime looked up its makers' telemetry host, and wrote an id of the machine below ~/.cache.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.made import labs, lists
from tests.made.encoders import (
    from_folder,
    from_moco,
    from_onnx,
    from_shadow,
    from_state_dict,
)
from tests.made.score_runs import draw_pictures

STRACE = ("strace", "--seccomp-bpf", "-f", "-qq", "-e", "trace=%network")

LEAVES = re.compile(r"AF_INET|sin6?_addr|systemd/resolve|hosts\\0")
"""A socket that can leave the machine, and systemd-resolved and nscd, which look hosts up for
others; nscd is also asked for names of users."""

FONT_LISTS = (".cache/matplotlib/", ".config/matplotlib/", ".cache/fontconfig/")
"""Which fonts there are, as matplotlib and fontconfig note it for every program of the user."""

LINGERS_S = 20
"""How long a process with an ONNX encoder is watched. Unhindered, onnxruntime's first look-up
comes 12 s after the import."""

LINGER = f"""
import sys, time
import clipaudit
start = time.monotonic()
audit = clipaudit.score(sys.argv[1], encoder="onnx:" + sys.argv[2], n_views=4, workers=0,
                        inferrers=sys.argv[3], offline=True, use_store=False)
assert len(audit.scored) == 12
while time.monotonic() < start + {LINGERS_S}:
    time.sleep(0.1)
"""


@dataclass(frozen=True)
class Watched:
    """A command that ended, and what was seen of it from outside.

    Attributes:
        code: Its exit code.
        out: Its standard output.
        err: Its standard error.
        leaving: Calls of the system that reach for other machines.
        files: What was written below HOME.
    """

    code: int
    out: str
    err: str
    leaving: list[str]
    files: list[str]


class Watch:
    """A command, in an empty home and in an environment that asks for telemetry."""

    def __init__(self, folder, command, pythonpath, **env):
        self._home, self._log = folder / "home", folder / "calls"
        self._home.mkdir(parents=True)
        keep = ("PATH", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        environment |= {
            "HOME": str(self._home),
            "CLIPAUDIT_CACHE_DIR": str(folder / "cache"),
            "PYTHONPATH": pythonpath,
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "100",
            "ORT_DISABLE_TELEMETRY": "0",
            "HF_HUB_DISABLE_TELEMETRY": "0",
        }
        self._process = subprocess.Popen(
            [*STRACE, "-o", self._log, *map(str, command)],
            env=environment | env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self):
        """Wait for it."""
        try:
            out, err = self._process.communicate(timeout=200)
        finally:
            self._process.kill()
        calls = self._log.read_text(errors="replace").splitlines()
        files = [path.relative_to(self._home).as_posix() for path in self._home.rglob("*")]
        return Watched(
            self._process.returncode,
            out,
            err,
            [call for call in calls if LEAVES.search(call)],
            [name for name in files if (self._home / name).is_file()],
        )


@pytest.fixture(scope="module", autouse=True)
def _strace(tmp_path_factory):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path_factory.mktemp("strace") / "log"
    tried = subprocess.run(
        [*STRACE, "-o", log, sys.executable, "-c", ""],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"strace may not watch here: {tried.stderr.strip()[:200]}")


@pytest.fixture
def watched(world, tmp_path):
    """Run `clipaudit` and see that nothing leaves and nothing is written below HOME."""
    numbers = iter(range(9))

    def call(*arguments, allowed=(), **env):
        folder = tmp_path / f"watched-{next(numbers)}"
        command = [sys.executable, "-m", "clipaudit", *arguments]
        seen = Watch(folder, command, world.pythonpath, **env).end()
        assert seen.code == 0, seen.err
        assert seen.leaving == []
        assert [name for name in seen.files if not name.startswith(allowed or "//")] == []
        return seen

    return call


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory):
    return from_onnx(tmp_path_factory.mktemp("onnx"), untouched).spec


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of 84 small pictures."""
    return labs.draw_pictures(tmp_path_factory.mktemp("drawn"), 84, "drawn")


@pytest.fixture(scope="module")
def lingering(world, onnx_path, tmp_path_factory):
    """A process that keeps an ONNX encoder for a while; the other tests run meanwhile."""
    command = [sys.executable, "-c", LINGER, world.pictures, onnx_path, world.inferrers / "v"]
    return Watch(tmp_path_factory.mktemp("lingering"), command, world.pythonpath)


def untouched(_module):
    """The weights stay as they are."""


# --- the watch itself ----------------------------------------------------------------------------


@pytest.mark.usefixtures("lingering")
@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.getaddrinfo('example.invalid', 443)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))",
        "import os, sys; os.system(sys.executable + ' -c \"import socket; socket.socket()\"')",
    ],
    ids=["look-up", "connection", "subprocess"],
)
def test_the_watch_sees_what_leaves(tmp_path, code):
    """Else the next tests would prove nothing."""
    assert Watch(tmp_path, [sys.executable, "-c", code], "").end().leaving


def test_the_watch_sees_what_onnxruntime_writes_when_it_is_left_alone(tmp_path):
    """If this fails, onnxruntime has lost its telemetry, or has moved its files."""
    if sys.platform != "linux":
        pytest.skip("strace is Linux's")
    code = "import onnxruntime"
    seen = Watch(tmp_path, [sys.executable, "-c", code], "").end()
    assert any(name.endswith("deviceid") for name in seen.files)


# --- what users run ------------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [(), ("--offline",)], ids=["online", "offline"])
def test_nothing_leaves_a_score_of_an_onnx_file(watched, world, onnx_path, offline):
    options = world.arguments("v", encoder=f"onnx:{onnx_path}")
    seen = watched("score", world.pictures, *options, *offline, "-f", "csv")
    assert seen.out.count("\n") == 13


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (from_folder, ("--backend=torch",)),
        (from_folder, ("--backend=onnx", "--offline")),
        (from_state_dict, ("--architecture=torchvision:resnet18", "--workers=1")),
        (from_moco, ("--architecture=timm:resnet10t", "--offline")),
    ],
    ids=["open_clip", "an export to ONNX", "torchvision", "timm"],
)
def test_nothing_leaves_a_score_of_weights_that_are_here(watched, world, tmp_path, make, options):
    made = make(tmp_path, untouched)
    arguments = (f"--encoder={made.spec}", f"--output={made.output}", *options)
    rows = watched("score", world.pictures, *arguments, "-f", "csv").out.splitlines()[1:]
    assert len({row.partition(",")[0] for row in rows}) == 12


def test_nothing_leaves_doctor(watched):
    assert "onnxruntime" in watched("doctor").out


def test_nothing_leaves_a_score_of_a_shadow_encoder_and_its_report(watched, world, tmp_path):
    options = world.arguments("v", encoder=from_shadow(tmp_path, untouched).spec)
    result = tmp_path / "result.json"
    watched("score", world.pictures, *options, "-o", result)
    watched("report", result, allowed=FONT_LISTS)
    assert result.with_suffix(".html").exists()


def test_nothing_leaves_an_evaluation(watched, world, onnx_path, tmp_path):
    draw_pictures(tmp_path / "set" / "members", 24)
    draw_pictures(tmp_path / "set" / "nonmembers", 24, first=100)
    options = world.arguments("v", encoder=f"onnx:{onnx_path}")
    watched("evaluate", tmp_path / "set", *options, "-o", tmp_path / "figures.json")


def test_nothing_leaves_training(watched, drawn, tmp_path):
    options = (
        *("--data-name", "drawn", "--size", "16", "--members", "25", "--nonmembers", "20"),
        *("--architecture", "resnet-tiny", "--epochs", "2", "--batch-size", "10", "--views", "4"),
        *("--kind", "T", "--encoder-output", "embedding", "--device", "cpu"),
    )
    watched("train", drawn, "-o", tmp_path / "run", *options)


def test_nothing_leaves_a_lab_and_its_workers(watched, drawn, tmp_path):
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(labs.SMALL.replace("epochs = 120", "epochs = 3").replace("120]", "3]"))
    options = ("--only=views", f"--data=drawn={drawn}", "--device=cpu", "--jobs=1")
    watched("lab", "run", matrix, "-o", tmp_path / "lab", *options)
    watched("lab", "show", tmp_path / "lab", allowed=FONT_LISTS)


def test_nothing_leaves_a_lookup(watched, tmp_path):
    listed = lists.datacomp(tmp_path / "a.parquet", range(9))
    assert "listed" in watched("lookup", lists.url(3), "-m", listed, "-f", "json").out


def test_nothing_leaves_while_an_onnx_encoder_stays_loaded(lingering):
    seen = lingering.end()
    assert seen.code == 0, seen.err
    assert (seen.leaving, seen.files) == ([], [])
