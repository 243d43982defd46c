import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipaudit.errors import EncoderError
from clipaudit.pictures.base import BadImage, Frame, Limits
from clipaudit.pictures.decode_worker import WorkerSettings
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.messages import read_message, write_message, write_wanted
from clipaudit.pictures.preparing import Wanted, prepare
from tests.made.picture_files import encoded, photo
from tests.made.present import present

ROOT = Path(__file__).parents[3]
LIMITS = Limits()
FRAME = Frame(16, "bicubic")
WANTED = Wanted((FRAME,))
UNIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")


JPEG = encoded(photo(), "JPEG")


def reason_of(future):
    with pytest.raises(BadImage) as caught:
        future.result(timeout=60)
    return caught.value.reason


def until(condition):
    """Wait for another process to get somewhere."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def pool():
    with DecoderPool(2, LIMITS) as pool:
        yield pool


@pytest.fixture
def worker():
    """A pool with one worker, which is ready."""
    with DecoderPool(1, LIMITS) as pool:
        pool.submit(JPEG, WANTED).result()
        yield pool


def test_workers_give_what_prepare_gives(pool):
    files = [encoded(photo(20 + i, 30), form) for i in range(10) for form in ("JPEG", "PNG", "GIF")]
    files.append(encoded(Image.new("RGBA", (5, 5)), "PNG"))
    futures = [pool.submit(data, WANTED) for data in files]
    for data, future in zip(files, futures, strict=True):
        expected = prepare(data, WANTED, LIMITS)
        got = future.result()
        np.testing.assert_array_equal(got.images[FRAME], expected.images[FRAME])
        assert got.images[FRAME].flags.writeable
        assert (got.width_px, got.height_px) == (expected.width_px, expected.height_px)
        assert (got.format, got.notes) == (expected.format, expected.notes)


def test_one_request_gives_every_frame_and_the_appearance(pool):
    frames = (Frame(5, "nearest"), FRAME, Frame(7, "lanczos"))
    for wanted in (Wanted(), Wanted(frames), Wanted(frames[:1], appearance=True)):
        expected = prepare(JPEG, wanted, LIMITS)
        got = pool.submit(JPEG, wanted).result()
        assert list(got.images) == list(wanted.frames)
        for frame in wanted.frames:
            np.testing.assert_array_equal(got.images[frame], expected.images[frame])
        assert got.facts.phash == expected.facts.phash
        assert (got.facts.appearance is None) == (not wanted.appearance)
        if wanted.appearance:
            for name in ("statistics", "embedding"):
                there, here = (getattr(one.facts.appearance, name) for one in (got, expected))
                np.testing.assert_array_equal(there, here)
                assert there.dtype == here.dtype


def test_no_workers_decode_within_submit():
    with DecoderPool(0, LIMITS) as pool:
        expected = prepare(JPEG, WANTED, LIMITS)
        np.testing.assert_array_equal(
            pool.submit(JPEG, WANTED).result().images[FRAME], expected.images[FRAME]
        )
        assert reason_of(pool.submit(b"<html>", WANTED)) == "not_an_image"


def test_workers_give_the_same_reasons(pool):
    for data in (b"", b"<html>", JPEG[: len(JPEG) // 2], b"%PDF-1.7"):
        with pytest.raises(BadImage) as expected:
            prepare(data, WANTED, LIMITS)
        with pytest.raises(BadImage) as got:
            pool.submit(data, WANTED).result()
        assert got.value.args == expected.value.args


@settings(max_examples=100)
@given(st.data())
def test_whatever_is_written_over_a_good_file_a_worker_answers(pool, data):
    form = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000"]))
    file = bytearray(encoded(photo(24, 16), form))
    for _ in range(data.draw(st.integers(1, 5))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    error = pool.submit(bytes(file), WANTED).exception(timeout=60)
    assert error is None or isinstance(error, BadImage)


MISBEHAVING = """
import os, sys
from clipaudit.pictures.messages import read_message, write_message
requests, replies = sys.stdin.buffer, sys.stdout.buffer
write_message(replies, {"ready": True})
good = {"width_px": 1, "height_px": 1, "format": "PNG", "notes": [], "phash": 1}
while True:
    _, data = read_message(requests)
    if data == b"abort":
        os.abort()
    if data == b"exit":
        os._exit(0)
    if data == b"babble":
        os.write(1, b"bla" * 100_000)
    if data == b"half":
        os.write(1, b"\\0\\0\\0\\x02\\0\\0\\0\\0\\0\\0\\0\\x05{}")
        os._exit(1)
    if data == b"list":
        os.write(1, b"\\0\\0\\0\\x02\\0\\0\\0\\0\\0\\0\\0\\0[]")
    if data == b"too few":
        write_message(replies, good, b"123")
    if data == b"no fields":
        write_message(replies, {}, bytes(16 * 16 * 3))
    write_message(replies, good, bytes(16 * 16 * 3))
"""


@UNIX
def test_a_killed_worker_costs_no_good_picture(worker):
    (pid,) = worker.pids
    os.kill(pid, signal.SIGSTOP)  # so that it dies in the middle of the next file
    first, second = worker.submit(JPEG, WANTED), worker.submit(JPEG, WANTED)
    until(first.running)
    os.kill(pid, signal.SIGKILL)
    for future in (first, second):
        assert future.result(timeout=60).images[FRAME].shape == (16, 16, 3)
    assert worker.pids != (pid,)


@UNIX
def test_a_worker_that_died_between_two_files_costs_none(worker):
    (pid,) = worker.pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid))
    assert [worker.submit(JPEG, WANTED).exception(timeout=60) for _ in range(3)] == [None] * 3


@UNIX
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSEGV])
def test_workers_that_are_killed_one_after_another_cost_files_and_not_the_run(kind):
    n_killed = 0
    with DecoderPool(2, LIMITS) as pool:
        pool.submit(JPEG, WANTED).result(timeout=60)
        futures: list[Any] = []
        waiting = [JPEG] * 60
        deadline = time.monotonic() + 100
        while waiting or not all(future.done() for future in futures):
            assert time.monotonic() < deadline
            for pid in pool.pids[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, kind)
                    n_killed += 1
            while waiting and sum(not future.done() for future in futures) < 3:
                futures.append(pool.submit(waiting.pop(), WANTED))
            time.sleep(0.15)
        problems = [future.exception() for future in futures]
        assert n_killed > 4
        assert {type(problem) for problem in problems} <= {type(None), BadImage}
        assert problems.count(None) >= 30
        assert pool.submit(JPEG, WANTED).exception(timeout=60) is None


def test_a_file_that_kills_is_tried_alone_and_costs_no_other(tmp_path):
    """Each worker notes when it begins and ends; the second try of the bad file is by itself."""
    log = tmp_path / "log"
    script = tmp_path / "worker.py"
    script.write_text(
        MISBEHAVING.replace(
            "    if data ==", f"    open({str(log)!r}, 'ab').write(data + b' ')\n    if data ==", 1
        )
    )
    with DecoderPool(3, LIMITS, command=[sys.executable, str(script)]) as pool:
        futures = [pool.submit(data, WANTED) for data in (b"good", b"abort", b"good", b"good")]
        assert reason_of(futures[1]) == "decoder_crashed"
        assert [future.exception(timeout=60) for future in futures[2:]] == [None, None]
    assert log.read_text().split().count("abort") == 2


@LINUX
def test_the_memory_of_all_workers_is_a_share_of_what_is_there():
    with DecoderPool(4, Limits(max_pixels=10**12)) as pool:
        pool.submit(JPEG, WANTED).result(timeout=60)
        asked = [json.loads(psutil.Process(pid).cmdline()[-1]) for pid in pool.pids]
    shares = [settings["max_memory_bytes"] for settings in asked]
    assert 0 < sum(shares) <= 0.6 * psutil.virtual_memory().total


@UNIX
def test_a_hang_costs_one_file():
    limits = Limits(decode_timeout_s=1.5)
    with DecoderPool(1, limits) as pool:
        pool.submit(JPEG, WANTED).result()
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        # Larger than any pipe holds, so sending it hangs as well.
        hung, next_one = pool.submit(JPEG + bytes(1_000_000), WANTED), pool.submit(JPEG, WANTED)
        assert reason_of(hung) == "timeout"
        assert is_gone(pid)
        assert next_one.exception(timeout=60) is None


def test_a_worker_that_makes_no_sense_is_replaced(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(MISBEHAVING)
    with DecoderPool(1, LIMITS, command=[sys.executable, str(script)]) as pool:
        for data in (b"abort", b"exit", b"babble", b"half", b"list", b"too few", b"no fields"):
            futures = [pool.submit(data, WANTED), pool.submit(b"good", WANTED)]
            assert reason_of(futures[0]) == "decoder_crashed", data
            assert futures[1].result(timeout=60).images[FRAME].shape == (16, 16, 3)


def test_workers_that_do_not_start_are_an_error_with_a_next_step(tmp_path):
    for command in ([sys.executable, "-c", "raise SystemExit"], [str(tmp_path / "gone")]):
        with DecoderPool(1, LIMITS, command=command) as pool:
            with pytest.raises(EncoderError) as caught:
                pool.submit(JPEG, WANTED).result(timeout=60)
            assert "decode_worker" in caught.value.hint


@UNIX
def test_ctrl_c_does_not_reach_the_workers(worker):
    (pid,) = worker.pids
    assert os.getpgid(pid) != os.getpgrp()
    os.kill(pid, signal.SIGINT)
    worker.submit(JPEG, WANTED).result(timeout=60)
    assert worker.pids == (pid,)


def test_closing_ends_everything_at_once():
    began = time.monotonic()
    with DecoderPool(2, LIMITS) as pool:
        pool.submit(JPEG, WANTED).result()
        pids = pool.pids
        if os.name == "posix":
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)  # busy for ever
        futures = [pool.submit(JPEG, WANTED) for _ in range(4)]
    assert time.monotonic() - began < 10
    for pid in pids:
        assert not psutil.pid_exists(pid)  # reaped: not even a zombie
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=0)
    with pytest.raises(ValueError, match="not open"):
        pool.submit(JPEG, WANTED)
    pool.close()


def test_a_pool_that_was_not_entered_takes_nothing():
    with pytest.raises(ValueError, match="not open"):
        DecoderPool(1, LIMITS).submit(JPEG, WANTED)


def test_an_error_in_the_block_ends_the_workers_too():
    pids: tuple[int, ...] = ()
    with contextlib.suppress(KeyboardInterrupt), DecoderPool(1, LIMITS) as pool:
        pool.submit(JPEG, WANTED).result()
        pids = pool.pids
        raise KeyboardInterrupt
    assert pids
    assert not any(map(psutil.pid_exists, pids))


@UNIX
def test_submit_waits_while_enough_is_queued(worker):
    (pid,) = worker.pids
    os.kill(pid, signal.SIGSTOP)
    futures = [worker.submit(JPEG, WANTED)]
    until(futures[0].running)
    futures += [worker.submit(JPEG, WANTED) for _ in range(2)]
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(worker.submit, JPEG, WANTED)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        os.kill(pid, signal.SIGCONT)
        futures.append(waiting.result(timeout=60))
    assert [future.exception(timeout=60) for future in futures] == [None] * 4


def test_a_queued_file_can_be_cancelled(worker):
    if os.name == "posix":
        os.kill(worker.pids[0], signal.SIGSTOP)
    first, second = worker.submit(JPEG, WANTED), worker.submit(JPEG, WANTED)
    if os.name == "posix":
        until(first.running)
        assert second.cancel()
        os.kill(worker.pids[0], signal.SIGCONT)
    first.result(timeout=60)
    worker.submit(JPEG, WANTED).result(timeout=60)


# No `if __name__ == "__main__"`: it runs once, where multiprocessing would run it in each worker.
PARENT = """
import sys, signal, os
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.base import Limits
pool = DecoderPool(2, Limits()).__enter__()
data = sys.stdin.buffer.read(int(sys.argv[1]))
for future in [pool.submit(data) for _ in range(4)]:
    future.result()
os.kill(pool.pids[0], signal.SIGSTOP)
print(*pool.pids, flush=True)
sys.stdin.buffer.read()
"""


@LINUX
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_workers_do_not_outlive_their_parent(how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(len(JPEG))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    present(parent.stdin).write(JPEG)
    present(parent.stdin).flush()
    pids = [int(pid) for pid in present(parent.stdout).readline().split()]
    assert len(pids) == 2
    if how == "killed":
        parent.kill()
    _, errors = parent.communicate(timeout=60)
    assert errors == b""
    assert until(lambda: all(map(is_gone, pids)))


def test_nothing_that_a_codec_prints_reaches_the_terminal(capfd):
    tiff = bytearray(encoded(photo(), "TIFF", compression="tiff_lzw"))
    files = [bytes(tiff)]
    for i in range(8, len(tiff), 7):  # libtiff complains about many of these, on stderr
        tiff_i = tiff.copy()
        tiff_i[i] ^= 0xFF
        files.append(bytes(tiff_i))
    with DecoderPool(2, LIMITS) as pool:
        for data in files:
            pool.submit(data, WANTED).exception(timeout=60)
    assert capfd.readouterr() == ("", "")


def test_no_module_is_taken_from_the_working_folder(tmp_path, monkeypatch):
    for name in ("json", "numpy", "PIL", "struct", "signal", "sitecustomize_x"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with DecoderPool(1, LIMITS) as pool:
        assert pool.submit(JPEG, WANTED).result(timeout=60).format == "JPEG"
    assert not (tmp_path / "taken").exists()


def test_a_raised_pixel_limit_holds_where_pillow_alone_would_refuse():
    side = 9_500  # above Pillow's limit, which is 9,459 squared
    data = encoded(Image.new("L", (side, side), 7), "PNG", compress_level=1)
    with DecoderPool(1, LIMITS) as pool:
        assert reason_of(pool.submit(data, WANTED)) == "too_many_pixels"
    with DecoderPool(1, Limits(max_pixels=side**2, decode_timeout_s=60)) as pool:
        prepared = pool.submit(data, WANTED).result()
    assert (prepared.images[FRAME] == 7).all()
    assert prepared.width_px == side


@LINUX
def test_a_picture_that_needs_too_much_memory_is_refused():
    megabyte = 2**20
    config = WorkerSettings(max_pixels=10**9, max_memory_bytes=40 * megabyte)
    worker = subprocess.Popen(
        [sys.executable, "-m", "clipaudit.pictures.decode_worker", config.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    stdin, stdout = present(worker.stdin), present(worker.stdout)
    with worker:
        assert read_message(stdout) == ({"ready": True}, bytearray())
        write_wanted(stdin, WANTED, encoded(Image.new("RGB", (4_000, 4_000)), "PNG"))
        header, _ = read_message(stdout)
        assert header["reason"] == "out_of_memory"
        write_wanted(stdin, WANTED, JPEG)  # and it still works
        header, pixels = read_message(stdout)
        assert header["format"] == "JPEG"
        assert len(pixels) == 16 * 16 * 3
        assert psutil.Process(worker.pid).memory_info().rss < 200 * megabyte
        present(worker.stdin).close()
        assert worker.wait(timeout=60) == 0


def test_a_worker_is_small():
    import_all = (
        "import clipaudit.pictures.decode_worker, sys\n"
        "print('torch' in sys.modules, len(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", import_all],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    has_torch, n_modules = answer.stdout.split()
    assert has_torch == "False"
    assert int(n_modules) < 400


def test_frames_survive_the_way():
    stream = io.BytesIO()
    write_message(stream, {"name": "ä\n"}, b"\0body\xff")
    write_message(stream, {})
    stream.seek(0)
    assert read_message(stream) == ({"name": "ä\n"}, bytearray(b"\0body\xff"))
    assert read_message(stream) == ({}, bytearray())
    with pytest.raises(EOFError):
        read_message(stream)
    cut = io.BytesIO(stream.getvalue()[:5])
    with pytest.raises(EOFError):
        read_message(cut)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="n_workers"):
        DecoderPool(-1, LIMITS)
    with pytest.raises(ValueError, match="size_px"):
        Wanted((Frame(0, "bicubic"),))
    with pytest.raises(ValueError, match="twice"):
        Wanted((FRAME, FRAME))


@LINUX
def test_workers_have_no_keys_in_their_environment(monkeypatch):
    secret = (
        *("FLICKR_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY"),
        *("OPENVERSE_CLIENT_SECRET", "CLIPAUDIT_PASSWORD", "brave_api_key", "APIKEY"),
    )
    for name in secret:
        monkeypatch.setenv(name, "hidden-value")
    monkeypatch.setenv("KEYBOARD_TOKENS", "plain-value")
    with DecoderPool(1, LIMITS) as pool:
        pool.submit(JPEG, WANTED).result(timeout=60)
        environment = Path(f"/proc/{pool.pids[0]}/environ").read_bytes()
    assert b"hidden-value" not in environment
    assert b"KEYBOARD_TOKENS=plain-value" in environment
    assert b"PATH=" in environment
