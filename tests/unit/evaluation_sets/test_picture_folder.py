"""Folders of this machine: what a keyword gives, names of every kind, and dates in pictures."""

import json
import os
import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from clipaudit_crawlers.base import Query
from PIL import Image

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.picture_folder import PictureFolder
from tests.made.set_pictures import NO_WEB

NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture(autouse=True)
def no_network(socket_disabled):
    """No test here opens a socket."""


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def open_folder(path):
    return PictureFolder.open(NO_WEB, {}, str(path))


def search(source, keyword="otter", limit=1000):
    return list(source.search(Query(keyword=keyword, limit=limit)))


def ids(source, keyword="otter", limit=1000):
    return [record.source_id for record in search(source, keyword, limit)]


# --- what a keyword gives ------------------------------------------------------------------------


def test_a_subfolder_that_is_named_like_the_keyword_gives_it(tmp_path):
    write(tmp_path, "otter/2.jpg", "otter/1.png", "seal/3.jpg", "loose.jpg")
    source = open_folder(tmp_path)
    assert ids(source) == ["otter/1.png", "otter/2.jpg"]
    assert ids(source, "seal") == ["seal/3.jpg"]
    assert ids(source) == ids(source), "as often as it is asked"


@pytest.mark.parametrize(
    "name", ["aquarium_fish", "Aquarium Fish", "AQUARIUM-FISH", "aquarium  fish"]
)
@pytest.mark.parametrize("keyword", ["aquarium_fish", "aquarium fish", "Aquarium-Fish"])
def test_spellings_of_a_keyword_are_one(tmp_path, name, keyword):
    write(tmp_path, f"{name}/1.jpg", "aquarium/2.jpg", "fish/3.jpg", "aquariumfish/4.jpg")
    assert len(search(open_folder(tmp_path), keyword)) == 1


def test_two_subfolders_may_be_one_keyword_s(tmp_path):
    write(tmp_path, "sea_otter/1.jpg", "Sea-Otter/2.jpg")
    assert ids(open_folder(tmp_path), "sea otter") == ["Sea-Otter/2.jpg", "sea_otter/1.jpg"]


def test_what_lies_deeper_belongs_to_it_too(tmp_path):
    write(tmp_path, "n01/images/b/2.jpg", "n01/images/a.jpg", "n01/z.jpg", "n02/n01/x.jpg")
    assert ids(open_folder(tmp_path), "n01") == [
        "n01/images/a.jpg",
        "n01/images/b/2.jpg",
        "n01/z.jpg",
    ]


def test_without_subfolders_the_pictures_are_dealt_out_to_the_keywords(tmp_path):
    names = [f"{n}.jpg" for n in range(8)]
    source = open_folder(write(tmp_path, *names))
    searches = [
        source.search(Query(keyword=keyword, limit=2, place=place, n_places=3))
        for place, keyword in enumerate(("otter", "seal", "crab"))
    ]
    last = [one.source_id for one in searches[2]]  # who asks first does not count
    assert last == [names[2], names[5]]
    assert [one.source_id for one in searches[0]] == [names[0], names[3]], "up to its limit"
    assert [one.source_id for one in searches[1]] == [names[1], names[4]]


def test_the_order_is_that_of_the_names_whatever_was_written_first(tmp_path):
    names = ["b.jpg", "B.jpg", "a.jpg", "10.jpg", "9.jpg", "é.jpg"]
    assert ids(open_folder(write(tmp_path, *names))) == [
        *("10.jpg", "9.jpg", "B.jpg", "a.jpg", "b.jpg", "%C3%A9.jpg")
    ]


def test_hidden_files_and_litter_are_passed_over(tmp_path):
    write(tmp_path, "1.jpg", ".hidden.jpg", "._1.jpg", "Thumbs.db", "desktop.ini")
    write(tmp_path, ".git/2.jpg", "@eaDir/3.jpg", "__MACOSX/4.jpg")
    assert ids(open_folder(tmp_path)) == ["1.jpg"]


def test_a_keyword_without_a_subfolder_says_once_which_there_are(tmp_path, caplog):
    source = open_folder(write(tmp_path, "2019/1.jpg", "2020/1.jpg"))
    assert ids(source) == ids(source, "seal") == []
    (said,) = caplog.messages
    assert "no subfolder for the keyword 'otter'" in said
    assert "'2019', '2020'" in said


def test_every_file_counts_whatever_its_ending(tmp_path):
    assert ids(open_folder(write(tmp_path, "a.heic", "b", "c.txt"))) == ["a.heic", "b", "c.txt"]


def test_links_are_followed_and_end(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, "1.jpg")
    write(there, "2.jpg")
    (here / "circle").symlink_to(here)
    (here / "other").symlink_to(there)
    (here / "gone").symlink_to(tmp_path / "nowhere")
    (here / "self").symlink_to("self")
    (there / "back").symlink_to(here)
    source = open_folder(here)
    assert ids(source, "other") == ["other/2.jpg", "other/back/1.jpg"]
    assert ids(source, "circle") == ["circle/1.jpg", "circle/other/2.jpg"]


def test_pipes_and_dead_links_are_passed_over_without_waiting(tmp_path, caplog):
    write(tmp_path, "1.jpg", "3.jpg")
    os.mkfifo(tmp_path / "2.jpg")
    (tmp_path / "4.jpg").symlink_to(tmp_path / "nowhere")
    assert ids(open_folder(tmp_path)) == ["1.jpg", "3.jpg"]
    assert "4.jpg is passed over: the link points to nothing" in caplog.text


def test_a_file_that_goes_away_meanwhile_is_passed_over(tmp_path, caplog):
    source = open_folder(write(tmp_path, "1.jpg", "2.jpg", "3.jpg"))
    records = source.search(Query(keyword="otter", limit=9))
    assert next(records).source_id == "1.jpg"
    (tmp_path / "2.jpg").unlink()
    assert [record.source_id for record in records] == ["3.jpg"]
    assert "2.jpg is passed over: no such file or directory" in caplog.text


@NOT_ROOT
def test_a_subfolder_that_may_not_be_read_is_passed_over(tmp_path, caplog):
    write(tmp_path, "otter/a/1.jpg", "otter/b/2.jpg")
    (tmp_path / "otter" / "a").chmod(0)
    assert ids(open_folder(tmp_path)) == ["otter/b/2.jpg"]
    assert "permission denied" in caplog.text
    (tmp_path / "otter" / "a").chmod(0o700)


# --- records -------------------------------------------------------------------------------------

NAMES = (
    b"plain.jpg",
    b"with space.jpg",
    b"percent%20.jpg",
    b"hash#1?x=2.jpg",
    "日本の風景画 🏞.jpg".encode(),
    b"new\nline\ttab.jpg",
    b"\xff\xfe not text.jpg",
    b"caf\xe9.jpg",
    b"%FF.jpg",
    b"-rf.jpg",
    b"[red].jpg",
    b"a\\b.jpg",
    b"semi;colon&amp.jpg",
    b"x" * 251 + b".jpg",
)


def test_every_name_leads_back_to_its_file(tmp_path):
    for name in NAMES:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    records = search(open_folder(tmp_path))
    assert len(records) == len({record.source_id for record in records}) == len(NAMES)
    came = set()
    for record in records:
        assert record.image_url.startswith("file:///")
        assert record.image_url.isascii()
        assert record.source_id.isascii()
        path = os.fsdecode(unquote_to_bytes(urlsplit(record.image_url).path))
        came.add(Path(path).read_bytes())
        assert record.size_bytes == Path(path).stat().st_size
        json.dumps(asdict(record), ensure_ascii=False).encode()
        assert record.title is None or record.title.isprintable()
    assert came == set(NAMES)


def test_a_record_names_the_source_and_nothing_that_is_not_known(tmp_path):
    (record,) = search(open_folder(write(tmp_path, "My Otter.jpg")))
    assert (record.source, record.title) == ("folder", "My Otter")
    for name in ("license", "author", "page_url", "uploaded", "taken", "sha256", "width_px"):
        assert getattr(record, name) is None


def test_a_path_may_be_relative_or_begin_at_home(tmp_path, monkeypatch):
    write(tmp_path, "pictures/1.jpg")
    expected = search(open_folder(tmp_path / "pictures"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert search(open_folder("pictures")) == expected
    assert search(open_folder("~/pictures")) == expected
    assert search(open_folder("pictures/../pictures/.")) == expected


# --- when a picture was made ---------------------------------------------------------------------

MODIFIED = 0x0132


def picture_with(path, **tags):
    exif = Image.Exif()
    exif[MODIFIED] = "2030:01:01 00:00:00"  # when somebody last changed it, which says nothing
    details = exif.get_ifd(0x8769)
    details.update({int(tag[1:], 16): value for tag, value in tags.items()})
    Image.new("RGB", (4, 4), "teal").save(path, exif=exif.tobytes())


def taken(folder):
    return [record.taken for record in search(open_folder(folder))]


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".tif", ".png", ".avif"])
def test_the_moment_of_exposure_is_read_from_every_format_that_has_it(tmp_path, ending):
    picture_with(tmp_path / f"1{ending}", x9003="2019:07:14 12:34:56", x9011="+02:00")
    picture_with(tmp_path / f"2{ending}", x9003="2019:07:14 12:34:56")
    picture_with(tmp_path / f"3{ending}")
    Image.new("RGB", (4, 4)).save(tmp_path / f"4{ending}")
    assert taken(tmp_path) == ["2019-07-14T12:34:56+02:00", "2019-07-14T12:34:56", None, None]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("2019:07:14 12:34:56\0", "2019-07-14T12:34:56"),
        ("2019-07-14T12:34:56", "2019-07-14T12:34:56"),
        ("2019:07:14", "2019-07-14"),
        ("2019:07:14 12:34", "2019-07-14"),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2019:02:30 12:00:00", None),
        ("2019:07:14 25:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_is_one_or_is_left_out(tmp_path, said, read):
    picture_with(tmp_path / "1.jpg", x9003=said)
    assert taken(tmp_path) == [read]


@pytest.mark.parametrize("offset", ["", "Z", "+99:99", "   :  ", "02:00"])
def test_an_odd_offset_leaves_the_clock_alone(tmp_path, offset):
    picture_with(tmp_path / "1.jpg", x9003="2019:07:14 12:34:56", x9011=offset)
    assert taken(tmp_path)[0] in {"2019-07-14T12:34:56", None}


def test_what_is_no_picture_or_a_broken_one_has_no_date(tmp_path):
    picture_with(tmp_path / "good.jpg", x9003="2019:07:14 12:34:56")
    good = (tmp_path / "good.jpg").read_bytes()
    at = good.index(b"2019:07")
    for number, data in enumerate(
        [b"", b"no picture", good[:at], good[:at] + b"\xff" * 40 + good[at + 40 :], good[:30]]
    ):
        (tmp_path / f"a{number}.jpg").write_bytes(data)
    big = b"BM" + b"\xff" * 60
    (tmp_path / "bomb.bmp").write_bytes(big)
    dates = taken(tmp_path)
    assert dates[-1] == "2019-07-14T12:34:56"
    assert set(dates[:-1]) == {None}


def test_a_picture_that_is_enormous_is_not_decoded_for_its_date(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 12:34:56"
    header = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"eXIf", exif.tobytes()[6:]), (b"IDAT", b"no pixels"))
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert taken(tmp_path) == ["2019-07-14T12:34:56"]


# --- folders that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "does not say which folder"),
        ("not-there", "no such file"),
        ("file.jpg", "cannot be read: not a directory"),
        ("empty", "holds no files"),
        ("hidden", "holds no files"),
        ("a\0b", "null"),
        ("loop", "loop"),
    ],
)
def test_a_folder_that_is_none_is_an_error(tmp_path, monkeypatch, argument, said):
    write(tmp_path, "file.jpg", "hidden/.1.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        open_folder(argument)
    assert said in str(caught.value).lower()
    assert caught.value.hint.endswith(".")


@NOT_ROOT
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path):
    write(tmp_path, "shut/1.jpg")
    (tmp_path / "shut").chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        open_folder(tmp_path / "shut")
    (tmp_path / "shut").chmod(0o700)
