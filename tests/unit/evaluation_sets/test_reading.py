"""A folder of known pictures: its sides, its manifest, and what is wrong with it."""

import json
import os

import pytest

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.reading import read_set


@pytest.fixture
def folder(tmp_path):
    """Three files a side, as yet without a manifest."""
    for side in ("members", "nonmembers"):
        (tmp_path / side).mkdir()
        for number in range(3):
            (tmp_path / side / f"{number}.png").write_bytes(f"{side} {number}".encode())
    return tmp_path


def write_manifest(folder, *rows):
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "manifest.jsonl").write_text(text)


def row(path, label="member", original=None, parents=()):
    origins = [{"original_sha256": one} for one in parents]
    return {"path": path, "label": label, "original_sha256": original, "parents": origins}


def read(folder, limit=None):
    return read_set(folder, limit=limit, include_hidden=False)


def test_without_a_manifest_the_folders_say_it_all(folder):
    found = read(folder)
    assert found.members == tuple(str(folder / "members" / f"{n}.png") for n in range(3))
    assert {path.rpartition(os.sep)[0] for path in found.nonmembers} == {found.sides.nonmembers[0]}
    assert (found.label, dict(found.families), found.n_missing) == ("member", {}, 0)


def test_a_limit_holds_for_each_side(folder):
    found = read(folder, limit=2)
    assert (len(found.members), len(found.nonmembers)) == (2, 2)


@pytest.mark.parametrize("label", ["member", "potential-member"])
def test_the_manifest_tells_what_the_members_are(folder, label):
    write_manifest(
        folder,
        row("members/0.png", "member"),
        row("members/1.png", label),
        row("nonmembers/0.png", "non-member"),
    )
    assert read(folder).label == label


def test_pictures_of_one_photograph_are_a_family_by_way_of_others_too(folder):
    write_manifest(
        folder,
        row("members/0.png", original="p"),
        row("members/1.png", original="alone"),
        row("nonmembers/0.png", "non-member", parents="pq"),
        row("nonmembers/1.png", "non-member", parents="qr"),
        row("nonmembers/2.png", "non-member", parents="yz"),
    )
    families = read(folder).families
    related = [folder / "members/0.png", folder / "nonmembers/0.png", folder / "nonmembers/1.png"]
    assert families.keys() == set(map(str, related))
    assert len(set(families.values())) == 1


def test_families_are_found_under_any_name_of_the_folder(folder, monkeypatch):
    write_manifest(folder, row("members/0.png", original="p"), row("members/1.png", original="p"))
    monkeypatch.chdir(folder.parent)
    for name in (folder.name, f"./{folder.name}/", os.fsencode(folder)):
        found = read(name)
        assert found.families.keys() == set(found.members[:2])


def test_pictures_that_only_the_manifest_knows_are_counted(folder):
    write_manifest(folder, row("members/0.png"), row("members/gone.png"))
    assert read(folder).n_missing == 1


def test_a_folder_that_is_no_set_is_an_error_that_says_what_is_missing(folder):
    with pytest.raises(InputError, match=r"no folder members/ and no folder nonmembers/") as caught:
        read(folder / "members")
    assert "build-eval" in caught.value.hint
    (folder / "nonmembers").rename(folder / "others")
    with pytest.raises(InputError, match=r"has no folder nonmembers/$"):
        read(folder)


def test_a_manifest_that_contradicts_the_folders_is_an_error(folder):
    write_manifest(folder, row("members/0.png"), row("members/1.png", "non-member"))
    with pytest.raises(InputError, match=r"line 2 of .* calls 'members/1.png' a non-member"):
        read(folder)


@pytest.mark.parametrize(
    "text", ["no json", "[]", "{}", '{"path": 1, "label": "member"}', '{"path": "a", "label": "x"}']
)
def test_a_manifest_of_another_kind_is_an_error(folder, text):
    (folder / "manifest.jsonl").write_text(text)
    with pytest.raises(InputError, match="not a manifest that clipaudit wrote"):
        read(folder)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links_out_of_the_set_are_passed_over(folder, tmp_path_factory, caplog):
    private = tmp_path_factory.mktemp("private") / "mine.png"
    private.write_bytes(b"mine")
    (folder / "members" / "out.png").symlink_to(private)
    (folder / "members" / "over.png").symlink_to(folder / "nonmembers" / "1.png")
    names = [os.path.basename(path) for path in read(folder).members]  # noqa: PTH119
    assert names == ["0.png", "1.png", "2.png", "over.png"]
    assert "out.png is passed over: the link leads out" in caplog.text
    followed = read_set(folder, limit=None, include_hidden=False, follow_links=True)
    assert len(followed.members) == 5
