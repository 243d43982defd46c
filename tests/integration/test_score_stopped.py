"""Runs that are stopped: by kill -9, by Ctrl-C, by SIGTERM, by a reader that goes away."""

import json
import os
import pty
import random
import select
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.made.present import present
from tests.made.score_runs import N_VIEWS, children, clean, draw_pictures, records, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

N_PICTURES, BATCH = 30, 3


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "pictures"
    draw_pictures(folder, N_PICTURES)
    return folder


@pytest.fixture
def go(run, many):
    """Start or do a run over all pictures, in small batches."""

    def call(*arguments, start=False, encoder="probe:slow=0.02", **how):
        options = ("-f", "json", f"--batch-size={BATCH}", *arguments)
        return run(many, *options, encoder=encoder, start=start, **how)

    return call


def scores(done):
    return {row["path"]: row["findings"][0]["score"] for row in done.document["rows"]}


def gone(pids):
    give_up = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < give_up, "a decoder outlived its run"
        time.sleep(0.01)


def test_a_run_that_is_killed_at_any_moment_goes_on_where_it_was(go, tmp_path, calls):
    undisturbed = scores(clean(go("--no-cache")))
    (tmp_path / "calls").unlink()
    rng = random.Random(0)
    batch_views = BATCH * (N_VIEWS + 1)
    n_killed = 0
    for moment in (0, 1, 2, 4, 6):
        running = go(start=True)
        wait_for(lambda moment=moment: len(calls()) >= moment, running)
        time.sleep(rng.uniform(0, 0.04))  # anywhere within a batch: forward pass, write, decoding
        running.signal(signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
        n_killed += 1
        path = tmp_path / "cache" / "features-v3.sqlite"
        if path.exists():
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    before = sum(calls())
    done = clean(go())
    assert done.err == ""
    assert scores(done) == pytest.approx(undisturbed, rel=0, abs=1e-5)
    known = done.document["run"]["n_from_store"]
    assert known % BATCH == 0
    assert sum(calls()) - before == (N_PICTURES - known) * (N_VIEWS + 1)
    # What was computed twice: at most the batch in flight of each run that was killed.
    assert sum(calls()) <= N_PICTURES * (N_VIEWS + 1) + n_killed * batch_views
    assert known > 0
    assert clean(go()).document["run"]["n_from_store"] == N_PICTURES


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_prints_what_is_done_and_the_next_run_goes_on(go, calls, workers, tmp_path):
    out = tmp_path / "partial.csv"
    running = go(f"--workers={workers}", "-o", out, start=True)
    wait_for(lambda: len(calls()) >= 4, running)
    decoders = children(running.pid)
    assert len(decoders) == workers
    running.signal(signal.SIGINT)
    done = clean(running.wait(), 130)
    gone(decoders)
    rows = done.document["rows"]
    assert done.document["run"]["interrupted"] is True
    assert 3 * BATCH <= len(rows) < N_PICTURES
    assert len(rows) % BATCH == 0
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert len(records(out.read_text())) == len(rows)

    again = clean(go())
    assert again.document["run"]["n_from_store"] >= len(rows)
    assert again.document["run"]["interrupted"] is False
    assert again.document["rows"][: len(rows)] == rows


def test_ctrl_c_says_in_the_table_that_it_is_partial(go, calls):
    running = go("-f", "table", start=True)
    wait_for(lambda: len(calls()) >= 2, running)
    running.signal(signal.SIGINT)
    done = clean(running.wait(), 130)
    assert b"stopped before its end" in done.out


def test_ctrl_c_ends_a_run_that_waits_for_slow_decoders(run, tmp_path, calls):
    """The thread that reads ahead is in the middle of handing over a file then."""
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(14):
        Image.new("RGB", (5000, 4000), (number, 0, 99)).save(folder / f"{number:02}.jpg")
    running = run(folder, "-f", "json", "--workers=1", "--batch-size=3", start=True)
    wait_for(lambda: len(calls()) >= 2, running)
    running.signal(signal.SIGINT)
    done = clean(running.wait(seconds=10), 130)
    assert 3 <= len(done.document["rows"]) < 14


def test_a_second_ctrl_c_makes_no_noise(go, calls):
    running = go(start=True)
    wait_for(lambda: len(calls()) >= 2, running)
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    clean(running.wait(), 130)


def test_ctrl_c_while_the_encoder_is_loaded_ends_quietly(installed, world, tmp_path):
    """The command that pip installed, from its first import of torch on."""
    script = present(shutil.which("clipaudit", path=str(Path(sys.executable).parent)))
    environment = {**os.environ, "PYTHONPATH": world.pythonpath}
    environment["CLIPAUDIT_CACHE_DIR"] = str(tmp_path / "cache")
    process = subprocess.Popen(
        [script, "score", world.pictures, *world.arguments()],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    give_up = time.monotonic() + 60
    while "libtorch" not in maps.read_text():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err == b"stopped\n"


def test_sigterm_ends_a_run_and_keeps_what_is_done(go, calls):
    running = go("--workers=2", start=True)
    wait_for(lambda: len(calls()) >= 4, running)
    decoders = children(running.pid)
    running.signal(signal.SIGTERM)
    clean(running.wait(), 143)
    gone(decoders)
    assert clean(go()).document["run"]["n_from_store"] >= 3 * BATCH


def test_decoders_end_with_a_run_that_is_killed(go, calls):
    running = go("--workers=2", start=True)
    wait_for(lambda: len(calls()) >= 2, running)
    decoders = children(running.pid)
    assert len(decoders) == 2
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    gone(decoders)


def test_a_reader_that_goes_away_ends_it_quietly(world, tmp_path):
    command = shlex.join(["clipaudit", "score", str(world.pictures), *world.arguments()])
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ["/bin/bash", "-c", f"{command} -f csv | head -1; echo ${{PIPESTATUS[0]}}"],
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": world.pythonpath,
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    header, code = done.stdout.splitlines()
    assert header.startswith("path,")
    assert code in {"0", "141"}  # 0 where all fits into the pipe before the reader goes
    assert done.stderr == ""


def test_on_a_terminal_the_bar_is_on_stderr_and_the_result_alone_on_stdout(
    installed, world, many, tmp_path
):
    ours, theirs = pty.openpty()
    script = present(shutil.which("clipaudit", path=str(Path(sys.executable).parent)))
    environment = {**os.environ, "PYTHONPATH": world.pythonpath, "TERM": "xterm-256color"}
    environment.update({"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "120"})
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [
                *(script, "score", many, *world.arguments(encoder="probe:slow=0.15")),
                *("-f", "json", "--workers=1", f"--batch-size={BATCH}"),
            ],
            env=environment,
            stdout=out,
            stderr=theirs,
            stdin=subprocess.DEVNULL,
        )
    os.close(theirs)
    drawn = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            drawn += os.read(ours, 1 << 16)
        except OSError:  # Linux: the other side is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = drawn.decode()
    assert "loading the encoder" in text
    assert "images/s" in text
    assert f"/{N_PICTURES}" in text  # how many there are
    assert "0:00:0" in text  # the time that is left
    document = json.loads((tmp_path / "out").read_text())
    assert len(document["rows"]) == N_PICTURES
