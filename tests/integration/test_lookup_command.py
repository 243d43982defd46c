"""`clipaudit lookup` as it was installed: what it opens, what it takes, and odd names."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import psutil
import pytest
from PIL import Image

from clipaudit.pipelines.lookup import LookupConfig, lookup
from tests.made import lists
from tests.made.socket_guard import write_guard

PEAK = """
import atexit
from pathlib import Path

@atexit.register
def _write_peak():
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        Path(os.environ["PEAK_FILE"]).write_text(lines["VmHWM"].split()[0])
"""
"""The most memory that the process held, in kB. What `wait4` tells begins with the parent's."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX names and signals")


@pytest.fixture
def command(tmp_path):
    """Start the command that pip installed, in a process that ends when it opens a socket."""
    script = shutil.which("clipaudit", path=str(Path(sys.executable).parent))
    assert script, "the command is not installed beside this Python"
    guarded = write_guard(tmp_path / "guarded", PEAK)
    environment = {
        **os.environ,
        "PYTHONPATH": str(guarded),
        "PYTHONWARNINGS": "error",
        "PEAK_FILE": str(tmp_path / "peak"),
        "COLUMNS": "100",
    }

    def start(*arguments):
        return subprocess.Popen(
            [script, "lookup", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


def ended(process):
    """Exit code, standard output and standard error."""
    out, err = process.communicate()
    return process.returncode, out, err.decode()


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """A million rows like those of DataComp."""
    path = tmp_path_factory.mktemp("million") / "list.parquet"
    duckdb.execute(
        f"""COPY (SELECT md5('uid' || i) AS uid,
            'https://images' || (i % 5000) || '.example.org/photos/' || i || '.jpg' AS url,
            'a caption of number ' || i AS text, md5('a' || i) || md5('b' || i) AS sha256,
            left(md5('h' || i), 16) AS image_phash
            FROM range(1000000) t(i)) TO '{path}' (FORMAT parquet)"""
    )
    return path


def test_no_socket_is_opened_and_memory_stays_small(command, million, tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    url = "http://www.images123.example.org/photos/500123.jpg#top"
    flickr = "https://live.staticflickr.com/1/617_0a1b2c_b.jpg"
    code, out, err = ended(
        command(
            *(str(tmp_path / "red.png"), url, flickr, "--domain", "images7.example.org"),
            *("-m", str(million), "-f", "json"),
        )
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [one["status"] for one in found["answers"]] == ["not_listed", "listed", "not_listed"]
    assert found["answers"][1]["matches"][0]["row"] == 500_123
    assert found["sites"][0]["n_rows"] == 200
    if sys.platform == "linux":
        assert int((tmp_path / "peak").read_text()) < 600e3


@pytest.mark.disable_socket
def test_in_this_process_no_socket_is_opened(socket_disabled, tmp_path):
    listed = lists.datacomp(tmp_path / "a.parquet", range(9))
    found = lookup([lists.url(3)], LookupConfig(metadata=(listed,), domains=("example.org",)))
    assert found[0].status == "listed"
    assert found.sites[0].n_rows == 9


@posix
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_names_that_are_no_text_come_through_every_format(command, tmp_path, form):
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [b"\xff.png", b"=cmd().png", b"a\nb.png", b"\x1b[2J.png", b"[red].png"]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "plain.png")
        shutil.copy(tmp_path / "plain.png", folder / os.fsdecode(name))
    listed = lists.datacomp(tmp_path / "a.parquet", range(3))
    code, out, err = ended(command(str(folder), "-m", str(listed), "-f", form))
    assert (code, err) == (0, "")
    assert b"\x1b" not in out
    text = out.decode()
    if form == "json":
        answers = json.loads(text)["answers"]
        exact = [base64.b64decode(answer["asked_b64"]) for answer in answers if answer["asked_b64"]]
        assert [name.rpartition(b"/")[2] for name in exact] == [b"\xff.png"]
        assert len(answers) == len(names)


@posix
def test_ctrl_c_ends_it_without_a_traceback(command, million):
    """Sixty names of one file, each searched by itself, take long enough to be amid them."""
    files = [million.with_name(f"{number}.parquet") for number in range(60)]
    for file in files:
        file.hardlink_to(million)
    options = [part for file in files for part in ("-m", str(file))]
    process = command("--domain", "example.org", *options)
    running = psutil.Process(process.pid)
    while not any(file.path.endswith(".parquet") for file in running.open_files()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, out, err = ended(process)
    assert (code, out) == (130, b""), err
    assert err == "stopped\n"
    assert time.monotonic() - began < 5
