"""`clipaudit.files`; the tests of reports try the same on real reports, disks and rights."""

import errno
import subprocess
import sys
from dataclasses import dataclass

import pytest

from clipaudit.errors import InputError
from clipaudit.files import (
    FileError,
    FormatError,
    append_line,
    make_folder,
    read_json,
    refuse_link,
    refuse_links,
    remove_leftovers,
    replace_file,
    replacing,
)


@dataclass(frozen=True)
class Inner:
    name: str
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    n: int
    inner: tuple[Inner, ...]


def written(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_is_read_as_the_type_that_it_should_be(tmp_path):
    inner = '[{"name": "a"}, {"name": "é", "share": 1}]'
    path = written(tmp_path, f'{{"n": {2**80}, "inner": {inner}}}')
    assert read_json(path, Outer) == Outer(2**80, (Inner("a"), Inner("é", 1.0)))


def test_names_that_are_not_utf8_come_back(tmp_path):
    path = written(tmp_path, r'{"name": "caf\udce9 \ud83d\ude00 \\udce9"}')
    assert read_json(path, Inner) == Inner("caf\udce9 \U0001f600 \\udce9")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no JSON, or it is cut off"),
        (b'{"name": "a"', "cut off"),
        (b"\xff", "utf-8"),
        (b'\xef\xbb\xbf{"name": "a"}', "BOM"),
        (b"[" * 100_000, "cut off"),
        (b'{"name": "a", "deep": ' + b"[" * 500 + b"]" * 500 + b"}", "recursion|deep"),
        (b'{"name": "a", "share": NaN}', "NaN is not a number of JSON"),
        (b'{"name": "a", "share": 1e999}', "1e999 is not a number of JSON"),
        (b'{"name": "a", "share": 1' + b"0" * 400 + b"}", "not a number of JSON"),
        (b'{"name": "a", "share": 1' + b"0" * 5000 + b"}", "not a number of JSON"),
        (b'{"name": 1}', "^name: "),
        (b'{"name": "a", "share": "0.5"}', "^share: "),
        (b'{"name": "a", "share": true}', "^share: "),
        (b'{"share": 0.5}', "^name: Field required"),
        (b"[]", "object"),
        (b"null", "object"),
    ],
)
def test_what_is_not_of_the_type_is_an_error_with_its_place(tmp_path, content, words):
    with pytest.raises(ValueError, match=words):
        read_json(written(tmp_path, content), Inner)


def test_the_place_leads_to_the_value_within(tmp_path):
    with pytest.raises(ValueError, match=r"^inner\.1\.name: Field required"):
        read_json(written(tmp_path, '{"n": 1, "inner": [{"name": "a"}, {}]}'), Outer)


def test_unknown_fields_and_what_a_screen_obeys_are_refused_where_that_is_asked_for(tmp_path):
    path = written(tmp_path, r'{"name": "\u001b[2J", "more": 1}')
    assert read_json(path, Inner).name == "\x1b[2J"
    with pytest.raises(ValueError, match=r"^more: "):
        read_json(path, Inner, unknown="forbid")
    with pytest.raises(ValueError, match="no text to show") as caught:
        read_json(path, Inner, printable=True)
    assert "\x1b" not in str(caught.value)


def test_a_format_must_be_the_one_that_is_read(tmp_path):
    path = written(tmp_path, '{"format": 1, "name": "a"}')
    assert read_json(path, Inner, version=1, unknown="forbid") == Inner("a")
    with pytest.raises(FormatError, match="it has format 1, and this clipaudit reads 2"):
        read_json(path, Inner, version=2)
    for odd in ('{"name": "a"}', '{"format": true, "name": "a"}', "[]"):
        with pytest.raises(ValueError, match="does not say its format"):
            read_json(written(tmp_path, odd), Inner, version=1)


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


# --- links ----------------------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path):
    """A file and a folder elsewhere, which nobody may touch."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "diary").write_text("mine")
    return folder


def test_a_file_takes_the_place_of_a_link_and_what_that_points_to_stays(tmp_path, theirs):
    theirs.joinpath("diary").chmod(0o600)
    link, usual = tmp_path / "link", tmp_path / "usual"
    link.symlink_to(theirs / "diary")
    usual.touch()
    replace_file(link, b"new")
    assert (theirs / "diary").read_text() == "mine"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert link.stat().st_mode == usual.stat().st_mode  # and not those of a file of another


def test_a_file_takes_the_place_of_a_link_to_nothing(tmp_path, theirs):
    link = tmp_path / "link"
    link.symlink_to(theirs / "new")
    replace_file(link, b"new")
    assert link.read_bytes() == b"new"
    assert not (theirs / "new").exists()


def test_a_folder_that_is_a_link_leads_to_its_files(tmp_path, theirs):
    (tmp_path / "out").symlink_to(theirs)
    make_folder(tmp_path / "out")
    replace_file(tmp_path / "out" / "file", b"new")
    assert (theirs / "file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["diary", "new"])
def test_no_line_is_added_through_a_link(tmp_path, theirs, name):
    link = tmp_path / "log"
    link.symlink_to(theirs / name)
    with pytest.raises(InputError, match="is a link") as caught:
        append_line(link, "theirs")
    assert "Remove the link" in caught.value.hint
    assert [path.read_text() for path in theirs.iterdir()] == ["mine"]


@pytest.mark.parametrize("target", ["theirs", "theirs/diary", "nowhere", "a/b"])
def test_links_below_a_folder_are_refused_by_name(tmp_path, theirs, target):
    place = tmp_path / "root" / "a" / "b"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="is a link") as caught:
        refuse_links(tmp_path / "root")
    assert repr(str(place)) in str(caught.value)


def test_what_is_not_there_and_what_is_no_link_is_not_refused(tmp_path, theirs):
    (theirs / "hard").hardlink_to(theirs / "diary")
    (tmp_path / "here").symlink_to(theirs)
    for folder in (theirs, tmp_path / "here", tmp_path / "nowhere", theirs / "diary"):
        refuse_links(folder)
    for path in (theirs, theirs / "hard", tmp_path / "nowhere"):
        refuse_link(path)
