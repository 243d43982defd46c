import io
import os
from pathlib import Path

import pytest

from clipaudit.errors import InputError
from clipaudit.pictures.base import Limits
from clipaudit.pictures.finding import draw_files, find_images, read_path_list
from clipaudit.pictures.reading import read_file
from tests.made.present import present

LIMITS = Limits()


POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX file systems only")


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_found(folder, *paths, **options):
    found = list(find_images(paths or [folder], **options))
    assert all(one.problem is None for one in found), found
    return [os.path.relpath(one.path, folder) for one in found]


def test_folders_are_walked_by_name(tmp_path):
    tree(tmp_path, "b/2.png", "b/1.png", "a.png", "c.txt", "Z.png", "b/deep/er/x", "b0")
    expected = ["Z.png", "a.png", "b/1.png", "b/2.png", "b/deep/er/x", "b0", "c.txt"]
    assert names_found(tmp_path) == [str(Path(name)) for name in expected]


def test_paths_come_back_as_they_were_given(tmp_path, monkeypatch):
    tree(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    assert [found.path for found in find_images(["in"])] == [str(Path("in/a.png"))]
    assert [found.path for found in find_images([Path("in/a.png")])] == [str(Path("in/a.png"))]
    assert [found.path for found in find_images([b"in/a.png"])] == ["in/a.png"]


def test_hidden_files_and_litter_are_passed_over_in_folders_only(tmp_path):
    litter = [".git/x", ".hidden.png", "._a.png", "@eaDir/a.png", "node_modules/b/c.png"]
    litter += ["System Volume Information/x", "Thumbs.db", ".DS_Store"]
    tree(tmp_path, "a.png", *litter)
    assert names_found(tmp_path) == ["a.png"]
    assert len(names_found(tmp_path, include_hidden=True)) == 1 + len(litter)
    named = [tmp_path / ".hidden.png", tmp_path / "@eaDir", tmp_path / ".git"]
    assert len(names_found(tmp_path, *named)) == 3


def test_missing_paths_and_empty_folders_are_listed(tmp_path):
    (tmp_path / "bare" / "below").mkdir(parents=True)
    found = list(find_images([tmp_path / "gone", tmp_path / "bare"]))
    assert [present(one.problem).reason for one in found] == ["missing", "empty"]
    tree(tmp_path, "bare/a.png")
    assert len(list(find_images([tmp_path / "bare", tmp_path / "bare"]))) == 1


def test_what_is_given_twice_is_listed_once(tmp_path, monkeypatch):
    tree(tmp_path, "a/b/1.png", "a/2.png")
    monkeypatch.chdir(tmp_path)
    both = [str(Path("a/2.png")), str(Path("a/b/1.png"))]
    for arguments in (
        ["a", "a"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["a", "a/2.png", "a/b/1.png"],
        ["a/2.png", "a/b/1.png", "a"],
        ["a/2.png", "./a/2.png", str(tmp_path / "a/2.png"), "a/b"],
    ):
        paths = [found.path for found in find_images(arguments)]
        real = sorted(os.path.relpath(path) for path in paths)
        assert real == both, arguments


@POSIX
def test_links_are_followed_once(tmp_path):
    tree(tmp_path, "real/1.png", "z/only.png", "hard.png")
    os.link(tmp_path / "hard.png", tmp_path / "hard-2.png")
    (tmp_path / "real" / "up").symlink_to(tmp_path)  # a loop
    (tmp_path / "aa").symlink_to(tmp_path / "z")  # a second way, met before the first
    (tmp_path / "linked.png").symlink_to(tmp_path / "real" / "1.png")
    (tmp_path / "real" / "linked.png").symlink_to(tmp_path / "real" / "1.png")
    assert names_found(tmp_path) == ["aa/only.png", "hard-2.png", "hard.png", "linked.png"]


@POSIX
def test_links_that_lead_out_of_the_folder_are_listed_and_not_followed(tmp_path):
    tree(tmp_path, "mine/1.png", "mine/sub/2.png", "private/3.png", "private/deep/4.png")
    mine = tmp_path / "mine"
    (mine / "file.png").symlink_to(tmp_path / "private" / "3.png")
    (mine / "folder").symlink_to(tmp_path / "private")
    (mine / "sub" / "up").symlink_to("../..")
    (mine / "over").symlink_to(mine / "hop")  # a link to a link that leads out
    (mine / "hop").symlink_to("../private/deep")
    (mine / "inside.png").symlink_to("sub/2.png")
    (tmp_path / "mine-too").mkdir()
    (mine / "namesake").symlink_to(tmp_path / "mine-too")
    found = {
        Path(one.path).relative_to(mine).as_posix(): one.problem and one.problem.reason
        for one in find_images([mine], follow_links=False)
    }
    links = dict.fromkeys(["file.png", "folder", "sub/up", "over", "hop", "namesake"], "outside")
    assert found == {"1.png": None, "inside.png": None} | links
    (linked,) = find_images([mine / "file.png"], follow_links=False)  # named, so it is meant
    assert linked.problem is None
    within = {one.problem for one in find_images([mine / "hop"], follow_links=False)}
    assert within == {None}
    every = find_images([mine], follow_links=False, within=[tmp_path])
    assert {one.problem for one in every} == {None}


@POSIX
def test_links_to_nothing_are_listed(tmp_path):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = {Path(one.path).name: present(one.problem).reason for one in find_images([tmp_path])}
    assert found == {"dangling.png": "missing", "self.png": "unreadable"}


NASTY = [b"new\nline.png", b"\x1b[2Jescape.png", b"-x.png", b"not utf-8 \xff.png", b"[red].png"]


NASTY += [
    "naïve.png".encode(),
    "nai\u0308ve.png".encode(),
    b" ",
    b"a\\b",
    b"=cmd()",
    b"\xed\xa0\x80",
]


@POSIX
def test_every_name_survives(tmp_path):
    folder = os.fsencode(tmp_path)
    for name in NASTY:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = [os.fsencode(one.path) for one in find_images([tmp_path])]
    assert found == [folder + b"/" + name for name in sorted(NASTY)]
    assert all(read_file(os.fsdecode(path), LIMITS) == b"x" for path in found)
    listed = io.BytesIO(b"\0".join(found))
    assert [os.fsencode(path) for path in read_path_list(listed)] == found


def test_files_are_found_as_they_are_asked_for(tmp_path):
    tree(tmp_path, "a.png", "b.png")
    found = find_images(iter([tmp_path / "a.png", tmp_path / "b.png"]))
    next(found)
    (tmp_path / "b.png").unlink()
    assert present(next(found).problem).reason == "missing"


def test_lists_of_paths():
    def listed(data):
        return list(read_path_list(io.BytesIO(data)))

    assert listed(b"a.png\nb c.png\n\n./d") == ["a.png", "b c.png", "./d"]
    assert listed(b"\xef\xbb\xbfa.png\r\nb.png\r\n") == ["a.png", "b.png"]
    assert listed(b"a\nb\0c\0") == ["a\nb", "c"]
    assert listed(b"") == []
    assert listed(b"bad \xff.png\n") == ["bad \udcff.png"]
    many = [f"folder/{i}.png" for i in range(20_000)]
    assert listed("\n".join(many).encode()) == many
    with pytest.raises(InputError, match="UTF-16"):
        listed("a.png\r\n".encode("utf-16"))


def test_a_draw_depends_on_the_seed_alone_and_keeps_the_order(tmp_path):
    tree(tmp_path, *(f"{number:03}.png" for number in range(200)))
    found = [*find_images([tmp_path])]
    drawn = [*draw_files(found, 20, 0)]
    assert len(drawn) == 20
    assert drawn == sorted(drawn, key=found.index)
    assert drawn == [*draw_files(iter(found), 20, 0)]
    assert drawn != [*draw_files(found, 20, 1)]
    assert [*draw_files(found, None, 0)] == [*draw_files(found, 500, 0)] == found
    times = [sum(one in draw_files(found, 20, seed) for seed in range(300)) for one in found[::40]]
    assert all(10 < n < 60 for n in times), times  # 30 are expected, 5 either way are usual
