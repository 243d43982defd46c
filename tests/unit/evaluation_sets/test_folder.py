"""A set's folder: one set each, a journal that survives kills, originals that nobody changed."""

import hashlib
import json
from dataclasses import replace

import pytest

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.folder import SetFolder, picture_name
from tests.made.set_pictures import failed, fetched

FACTS = {"keywords": ["otter"], "size_px": 224, "source": "openverse"}


@pytest.fixture
def folder(tmp_path):
    return SetFolder(tmp_path / "set")


def come(data):
    return replace(fetched("one"), sha256=hashlib.sha256(data).hexdigest())


def test_a_new_folder_is_made_and_the_same_set_goes_on_in_it(folder):
    with folder.opened(FACTS):
        assert not folder.is_finished
    with SetFolder(folder.path).opened(dict(reversed(FACTS.items()))):
        pass


def test_another_set_is_refused_and_the_difference_is_named(folder):
    with folder.opened(FACTS):
        pass
    with (
        pytest.raises(InputError, match="another set") as caught,
        folder.opened({**FACTS, "size_px": 96}),
    ):
        pass
    assert "size_px: 224 there, 96 asked for" in str(caught.value)
    assert "keywords" not in str(caught.value)


def test_a_folder_with_other_files_is_left_alone(folder):
    folder.path.mkdir()
    (folder.path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt"), folder.opened(FACTS):
        pass
    assert [path.name for path in folder.path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    folder.path.write_text("mine")
    with pytest.raises(InputError, match="cannot be the folder"), folder.opened(FACTS):
        pass


def test_two_builds_do_not_work_in_one_folder(folder):
    with (
        folder.opened(FACTS),
        pytest.raises(InputError, match="another build"),
        SetFolder(folder.path).opened(FACTS),
    ):
        pass


def test_a_broken_description_of_the_set_is_an_error_with_a_way_out(folder):
    with folder.opened(FACTS):
        pass
    (folder.path / "set.json").write_text("[1")
    with pytest.raises(InputError, match="cannot be read") as caught, folder.opened(FACTS):
        pass
    assert "-o" in caught.value.hint


def test_how_downloads_ended_is_known_to_the_next_run(folder):
    good, bad = come(b"a picture"), failed("two", "http-404")
    with folder.opened(FACTS):
        folder.keep(good, b"a picture")
        folder.keep(bad)
    again = SetFolder(folder.path)
    with again.opened(FACTS):
        assert again.outcome(good.url) == good
        assert again.outcome(bad.url) == bad
        assert again.outcome("https://pictures.test/three.jpg") is None
        assert again.original(good) == b"a picture"


def test_the_last_word_on_a_url_counts(folder):
    bad, good = failed("one", "timeout", is_transient=True), come(b"a picture")
    with folder.opened(FACTS):
        folder.keep(bad)
        folder.keep(good, b"a picture")
    again = SetFolder(folder.path)
    with again.opened(FACTS):
        assert again.outcome(good.url) == good


def test_a_line_that_a_kill_cut_short_is_cut_off_at_every_byte(folder):
    with folder.opened(FACTS):
        folder.keep(failed("one", "http-404"))
        folder.keep(failed("zwei-é", "http-410"))
    journal = folder.path / "sources" / "downloads.jsonl"
    whole = journal.read_bytes()
    first_ends = whole.index(b"\n") + 1
    for cut in range(first_ends, len(whole)):
        journal.write_bytes(whole[:cut])
        again = SetFolder(folder.path)
        with again.opened(FACTS):
            assert again.outcome(failed("one", "").url) is not None
            assert again.outcome(failed("zwei-é", "").url) is None
            again.keep(failed("three", "http-404"))
        lines = journal.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["url"].rpartition("/")[2] for line in lines] == [
            "one.jpg",
            "three.jpg",
        ]


@pytest.mark.parametrize("line", ["[1, 2]", "{}", "nonsense", '{"ended": "eaten", "url": "x"}'])
def test_a_journal_that_somebody_wrote_in_is_an_error_with_its_line(folder, line):
    with folder.opened(FACTS):
        folder.keep(failed("one", "http-404"))
    with (folder.path / "sources" / "downloads.jsonl").open("a") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(InputError, match="line 2"), folder.opened(FACTS):
        pass


def test_an_original_that_was_changed_or_taken_away_is_noticed(folder):
    good = come(b"a picture")
    with folder.opened(FACTS):
        folder.keep(good, b"a picture")
        path = folder.path / "sources" / "originals" / good.sha256
        path.write_bytes(b"another")
        with pytest.raises(InputError, match="not what was downloaded"):
            folder.original(good)
        path.unlink()
        with pytest.raises(InputError, match="cannot read"):
            folder.original(good)


def test_a_page_is_kept_whole_or_not_at_all(folder):
    with folder.opened(FACTS):
        assert folder.pages.read("a1b2") is None
        folder.pages.write("a1b2", b'{"results": []}')
        assert SetFolder(folder.path).pages.read("a1b2") == b'{"results": []}'


def test_pictures_that_left_the_set_leave_its_folder(folder):
    with folder.opened(FACTS):
        names = [picture_name(data) for data in (b"one", b"two")]
        for name, data in zip(names, (b"one", b"two"), strict=True):
            folder.write(f"members/{name}", data)
        folder.keep_only("members", {names[1]})
    assert [path.name for path in (folder.path / "members").iterdir()] == [names[1]]


@pytest.mark.parametrize("name", ["holiday.png", f"{'a' * 32}.png"])
def test_a_picture_that_the_set_did_not_write_is_never_deleted(folder, name):
    with folder.opened(FACTS):
        old = picture_name(b"old")
        folder.write(f"members/{old}", b"old")
        foreign = folder.path / "members" / name
        foreign.write_bytes(b"mine")
        with pytest.raises(InputError, match=name) as caught:
            folder.keep_only("members", set())
        assert "Move" in caught.value.hint
        assert foreign.read_bytes() == b"mine"
        foreign.unlink()
        folder.keep_only("members", set())
    assert not list((folder.path / "members").iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *("members", "nonmembers", "sources", "sources/pages", "sources/originals"),
        *("set.json", "manifest.parquet", "manifest.jsonl", "README.md", "ATTRIBUTION.md"),
        *("sources/.lock", "sources/downloads.jsonl", "sources/pages/a1b2.json"),
        *("members/a.png", ".clipaudit-0.tmp", "sources/originals/ab"),
    ],
)
def test_a_set_with_a_link_anywhere_in_it_is_not_touched(folder, tmp_path, name):
    with folder.opened(FACTS):
        folder.write("members/a.png", b"png")
    elsewhere, place = tmp_path / "elsewhere", folder.path / name
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.write_text("mine")
    place.symlink_to(elsewhere)
    before = snapshot(elsewhere)
    with pytest.raises(InputError, match="is a link") as caught, folder.opened(FACTS):
        pass
    assert repr(str(place)) in str(caught.value)
    assert snapshot(elsewhere) == before


def test_a_set_may_be_in_a_folder_that_is_a_link(folder, tmp_path):
    (tmp_path / "disk").mkdir()
    folder.path.symlink_to(tmp_path / "disk")
    with folder.opened(FACTS):
        pass
    with SetFolder(folder.path).opened(FACTS):
        folder.write("members/a.png", b"png")
    assert (tmp_path / "disk" / "members" / "a.png").read_bytes() == b"png"


def snapshot(path):
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in files}


def test_a_set_is_finished_by_its_manifest(folder):
    with folder.opened(FACTS):
        folder.write("manifest.parquet", b"rows")
        assert folder.is_finished
        folder.unfinish()
        assert not folder.is_finished
