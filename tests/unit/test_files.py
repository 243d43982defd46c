"""`clipaudit.files`; the tests of reports try the same on real reports, disks and rights."""

import errno
import subprocess
import sys

import pytest

from clipaudit.files import (
    FileError,
    append_line,
    make_folder,
    remove_leftovers,
    replace_file,
    replacing,
)


def test_a_file_is_replaced_in_full(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"2")
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), SystemExit(143)])
def test_what_goes_wrong_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(path) as file:  # noqa: PT012 - it has to begin
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EFBIG, "Free some space"),
        (errno.EROFS, "Name another place"),
        (errno.EIO, "Name another place"),
    ],
)
def test_what_the_system_says_is_passed_on_with_what_to_do(tmp_path, number, advice):
    path = tmp_path / "file"
    with pytest.raises(FileError, match="cannot write") as caught, replacing(path):
        raise OSError(number, "as the system says")
    assert "as the system says" in str(caught.value)
    assert repr(str(path)) in str(caught.value)
    assert caught.value.hint.startswith(advice)
    assert caught.value.exit_code == 4
    assert not list(tmp_path.iterdir())


def test_lines_are_added_at_the_end(tmp_path):
    path = tmp_path / "log"
    append_line(path, "one ü")
    append_line(path, "two")
    assert path.read_bytes() == "one ü\ntwo\n".encode()


def test_a_folder_is_made_with_those_above_it_and_may_be_there(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("act", [make_folder, lambda path: append_line(path, "x")])
def test_a_file_in_the_way_is_an_error_of_ours(tmp_path, act):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        act(tmp_path / "file" / "inside")


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from clipaudit.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    (tmp_path / "below").mkdir()
    kept = tmp_path / "below" / "kept.tmp"
    kept.write_bytes(b"mine")
    target = tmp_path / "below" / "file"
    subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert len(list(kept.parent.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert list(kept.parent.iterdir()) == [kept]
