"""Machines as they come: no home, a full disk, a closed stream, little address space, a `~`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipaudit.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
CLIPAUDIT = f"{sys.executable} -m clipaudit"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses /dev/full and prlimit")


@pytest.fixture
def shell(world, tmp_path):
    """Run a line of bash, in which $CLIPAUDIT and $SCORE are commands; gives what came out."""

    def run(line, *, env=None, without=()):
        environment = {
            **os.environ,
            "CLIPAUDIT": CLIPAUDIT,
            "SCORE": f"{CLIPAUDIT} score {world.pictures} {' '.join(world.arguments())}",
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": world.pythonpath,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "HF_HUB_OFFLINE": "1",
            **(env or {}),
        }
        for name in without:
            environment.pop(name, None)
        return subprocess.run(
            ["bash", "-c", line],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


# --- standard streams ----------------------------------------------------------------------------

PRINTING = [
    "--version",
    "--help",
    "score --help",
    "inferrers list",
    "inferrers show cifar10-v",
    "cache info",
    "cache info --json",
    "cache clear",
    "calibrations list",
    "encoders show ViT-B-32/openai",
    "lab show {root}/docs/lab-cpu --no-draw",
    "build-eval -k otter --dry-run",
]


@pytest.mark.parametrize("words", PRINTING)
@pytest.mark.parametrize(
    ("where", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "it is closed")],
)
def test_output_that_cannot_be_written_is_exit_4_and_a_line(shell, words, where, reason):
    done = shell(f"$CLIPAUDIT {words.format(root=ROOT)} {where}")
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith(f"error: cannot write to standard output: {reason}\nhint:  ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("style", ["table", "csv", "json"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_the_file_of_a_result_is_there_all_the_same(shell, tmp_path, where, style, unbuffered):
    env = {"PYTHONUNBUFFERED": unbuffered}
    done = shell(f"$SCORE -q -f {style} -o result.json {where}", env=env)
    assert done.returncode == 4, done.stderr
    assert "cannot write to standard output" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"rows"' in (tmp_path / "result.json").read_text()


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_messages_that_cannot_be_written_end_no_run(shell, tmp_path, where):
    (tmp_path / "cache").write_text("in the way, so that there is a warning")
    done = shell(f"$SCORE -f csv {where}")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 13


def test_closed_streams_are_no_place_for_messages_in_the_store(shell):
    assert shell("$SCORE <&- >&- 2>&-").returncode == 4
    assert shell("$CLIPAUDIT cache info").returncode == 0


def test_a_closed_standard_input_is_an_input_that_cannot_be_read(shell):
    done = shell("$SCORE --from-file - <&-")
    assert done.returncode == 3
    assert "cannot read the list -" in done.stderr


@pytest.mark.parametrize("words", ["--version", "--help", "cache info", "inferrers list"])
def test_a_reader_that_goes_away_is_141_whatever_was_printed(shell, words):
    done = shell(f"$CLIPAUDIT {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) in [(141, ""), (0, "")]  # it may have been quicker


# --- a home --------------------------------------------------------------------------------------

NOBODY = "unshare -U --map-user=12345 --map-group=12345 env -u HOME -u XDG_CACHE_HOME"


@pytest.fixture
def homeless(shell, tmp_path):
    """Run a command as a user whom the system does not know, without HOME."""
    if not shutil.which("unshare") or shell("unshare -U true").returncode:
        pytest.skip("unshare is not allowed here")
    tmp_path.chmod(0o777)

    def run(line):
        done = shell(f"{NOBODY} {line}", without=["CLIPAUDIT_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE"])
        assert not (tmp_path / "~").exists()
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize("words", ["", "--no-cache"])
def test_without_a_home_scoring_goes_on(homeless, words):
    done = homeless(f"$SCORE -f csv {words}")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 13
    assert "going on without calibrations: no home folder: " in done.stderr
    assert ("going on without the store: no home folder: " in done.stderr) is not bool(words)
    assert "Set CLIPAUDIT_CACHE_DIR to a folder that you may write to." in done.stderr


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        ("cache info", "CLIPAUDIT_CACHE_DIR"),
        ("cache clear", "CLIPAUDIT_CACHE_DIR"),
        ("calibrations show a", "CLIPAUDIT_CACHE_DIR"),
        ("calibrations remove a", "CLIPAUDIT_CACHE_DIR"),
        ("calibrate --nonmembers .", "CLIPAUDIT_CACHE_DIR"),
        ("score . --encoder ViT-B-32/openai", "HF_HOME"),
        ("score . --encoder torchvision:resnet18/IMAGENET1K_V1", "TORCH_HOME"),
        ("score '~/a.png'", "~/a.png"),
        ("score . -o '~/a.json'", "~/a.json"),
    ],
)
def test_what_needs_a_home_says_how_to_do_without(homeless, tmp_path, world, words, variable):
    shutil.copy(next(world.pictures.iterdir()), tmp_path / "a.png")
    done = homeless(f"$CLIPAUDIT {words}")
    assert done.returncode == 4
    assert "\nerror: no home folder: " in "\n" + done.stderr  # after what the store says of it
    assert variable in done.stderr


def test_without_a_home_the_doctor_says_so(homeless):
    done = homeless("$CLIPAUDIT doctor")
    assert done.returncode in {0, 4}
    assert "no home folder" in done.stdout
    assert "→ Set CLIPAUDIT_CACHE_DIR to a folder" in done.stdout


def test_without_a_home_lists_are_empty(homeless):
    done = homeless("$CLIPAUDIT calibrations")
    assert done.returncode == 0
    assert done.stdout.startswith("No calibration is kept")


# --- ~ -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["--out=~/r.json", "-o '~/r.json'", "--out '~'/r.json"])
def test_a_tilde_that_no_shell_expanded_is_the_home(shell, tmp_path, words):
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home), "CLIPAUDIT_CACHE_DIR": "~/clip-cache"}
    done = shell(f"$SCORE -q -f csv {words}", env=env)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "~").exists()
    assert sorted(path.name for path in home.iterdir()) == ["clip-cache", "r.json"]
    assert [*(home / "clip-cache").glob("features-v*.sqlite")]


@pytest.mark.parametrize(
    "words",
    [
        "lookup --urls=~/list.txt --metadata=~/list.csv",
        "lookup '~/a.png' -m '~/list.csv'",
        "report '~/r.json' --out=~/again.csv",
        "inferrers show '~/v'",
        "build-eval --keywords=~/words.txt --source=folder:~/p --output=~/set --dry-run",
        "lab run encodermi '--data=cifar10=~/nothing.zip' '--output=~/lab'",
    ],
)
def test_every_option_that_names_a_file_knows_the_tilde(shell, world, tmp_path, words):
    home = tmp_path / "home"
    (home / "p").mkdir(parents=True)
    (home / "list.txt").write_text("https://example.org/a.jpg\n")
    (home / "words.txt").write_text("otter\n")
    (home / "list.csv").write_text("url\nhttps://example.org/a.jpg\n")
    shutil.copy(next(world.pictures.iterdir()), home / "a.png")
    shutil.copytree(world.inferrers / "v", home / "v")
    env = {"HOME": str(home)}
    assert shell("$SCORE -q --out=~/r.json", env=env).returncode == 0
    done = shell(f"$CLIPAUDIT {words}", env=env)
    assert "~" not in done.stderr.replace("'~", "")
    assert not (tmp_path / "~").exists()
    if "lab" in words:
        assert f"{home}/nothing.zip" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_a_name_that_only_starts_with_a_tilde_is_a_name(shell, tmp_path, world):
    shutil.copy(next(world.pictures.iterdir()), tmp_path / "~$a.png")
    done = shell(f"$CLIPAUDIT score '~$a.png' {' '.join(world.arguments())} -q -f csv")
    assert done.returncode == 0, done.stderr
    assert "\n~$a.png," in done.stdout


# --- address space -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"encoders", "cache"}))
@pytest.mark.parametrize("kilobytes", [100_000, 600_000])
def test_too_little_address_space_is_exit_4_and_a_line(shell, name, kilobytes):
    done = shell(f"ulimit -v {kilobytes}; $CLIPAUDIT {name} --help")
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith("error: the address space is limited to ")
    assert "Raise `ulimit -v`" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("kilobytes", [1_000_000, 2_000_000, 3_000_000, 3_200_000])
@pytest.mark.parametrize("words", ["$CLIPAUDIT doctor", "$SCORE"])
def test_too_little_for_torch_is_said_before_it_is_loaded(shell, words, kilobytes):
    done = shell(f"ulimit -v {kilobytes}; {words}")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "needs 3." in done.stderr
