import ast
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import clipaudit
from clipaudit import errors
from clipaudit._version import __version__
from clipaudit.cli.app import COMMANDS, EXIT_CODES, main
from clipaudit.features import store
from clipaudit.features.database import StoreUnavailable
from tests.made.present import present

ROOT = Path(clipaudit.__file__).parents[1]
CLIPAUDIT = [sys.executable, "-m", "clipaudit"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


@pytest.fixture(autouse=True)
def _keep_the_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    return end.value.code or 0, out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_in_the_list_what_its_own_help_says(capfd, name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert hasattr(importlib.import_module(module), attribute)
    code, out, _ = run(capfd, name, "--help")
    assert code == 0
    assert COMMANDS[name][1] in " ".join(out.split())


def test_help_lists_commands_and_exit_codes(capfd):
    code, out, _ = run(capfd, "--help")
    assert code == 0
    for name in COMMANDS:
        assert f" {name} " in out
    for error in (errors.UsageError, errors.InputError, errors.EncoderError, errors.SourceError):
        assert f"  {error.exit_code} " in EXIT_CODES
    for line in EXIT_CODES.splitlines():
        assert line.strip() in out


def test_version(capfd):
    assert run(capfd, "--version") == (0, f"clipaudit {__version__}\n", "")
    assert run(capfd, "-V") == (0, f"clipaudit {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["scroe"], ["--nope"], ["cache", "nope"], ["score", "-x"]])
def test_a_wrong_word_is_a_usage_error(capfd, arguments):
    code, out, err = run(capfd, *arguments)
    assert code == 2
    assert out == ""
    assert "Error" in err


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(capfd, monkeypatch, before, after):
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert run(capfd, "--version")[0] == 0
    assert os.environ["OMP_WAIT_POLICY"] == after


def test_the_nearest_command_is_offered(capfd):
    assert "Did you mean 'score'?" in run(capfd, "scroe")[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 2),
        (errors.InputError, 3),
        (errors.EncoderError, 4),
        (StoreUnavailable, 4),
        (errors.InferrerError, 5),
        (errors.SourceError, 6),
    ],
)
def test_every_deliberate_error_is_a_message_a_hint_and_its_code(capfd, monkeypatch, error, code):
    def fail():
        raise error("[red]what\x1b[2J", "do [/] this\udcff")

    monkeypatch.setattr(store, "default_path", fail)
    got, out, err = run(capfd, "cache", "info")
    assert (got, out) == (code, "")
    assert err == "error: [red]what\\x1b[2J\nhint:  do [/] this\\xff\n"


def test_a_bug_is_70_with_a_traceback_without_locals(capfd, monkeypatch):
    def fail():
        secret = "s3cr3t"
        raise RuntimeError(f"boom \x1b[2J {len(secret)}")

    monkeypatch.setattr(store, "default_path", fail)
    code, out, err = run(capfd, "cache", "info")
    assert (code, out) == (70, "")
    assert "RuntimeError: boom \\x1b[2J 6" in err
    assert "Please report it" in err
    assert "s3cr3t" not in err


def test_ctrl_c_in_a_command_is_130_without_a_traceback(capfd, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "default_path", stop)
    code, _, err = run(capfd, "cache", "info")
    assert (code, err) == (130, "stopped\n")


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_code(number, code):
    process = subprocess.Popen(
        [*CLIPAUDIT, "score", "--from-file", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    stdin = present(process.stdin).fileno()
    while not _reads(process.pid):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == b""
    assert b"Traceback" not in err
    assert stdin > 0


def _reads(pid):
    """Whether the process has installed its handlers and waits for its standard input."""
    try:
        with Path(f"/proc/{pid}/syscall").open() as file:  # read is 0, its file 0
            return file.read().split()[:2] in (["0", "0x0"], ["63", "0x0"])
    except OSError:
        pytest.skip("this system does not say what a process waits for")


@posix
def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [*CLIPAUDIT, "cache", "info"], stdout=write, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(write)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 141
    assert err == b""


def test_a_terminal_without_unicode_gets_escapes():
    done = subprocess.run(
        [*CLIPAUDIT, "doctor"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in {0, 4}
    assert b"\\u2192 " in done.stdout, "the arrow before an advice"
    assert b"Traceback" not in done.stderr


def test_click_is_never_imported_for_typer_carries_its_own():
    for file in (ROOT / "clipaudit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "click" for name in names), file
