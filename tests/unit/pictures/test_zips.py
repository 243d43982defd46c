"""Zip archives of pictures: what is listed, what is read, and what is wrong with hostile ones."""

import os
import stat
import struct
import zipfile
import zlib
from contextlib import suppress

import pytest

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id, hash_file, read_file
from tests.made.present import present
from tests.made.shards import samples, write_shard, write_zip

LIMITS = Limits()


def listed(path, **options):
    return [
        (os.path.relpath(found.path, path.parent), found.problem and found.problem.reason)
        for found in find_images([path], **options)
    ]


def reason_of(path, place=None, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        read_file(path, limits, place)
    return caught.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_pictures_of_a_zip_file_are_listed_and_read_in_its_order(tmp_path, method):
    noise = os.urandom(3_000_000)
    files = [("b.jpg", b"1"), ("a.png", b"22" * 90_000), ("c/d.webp", noise), ("c/d.txt", b"text")]
    archive = write_zip(tmp_path / "s.zip", files, method)
    assert listed(archive) == [
        ("s.zip/b.jpg", None),
        ("s.zip/a.png", None),
        ("s.zip/c/d.webp", None),
    ]
    for found, (_, data) in zip(find_images([archive]), files, strict=False):
        assert read_file(found.path, LIMITS, found.place) == data
        assert read_file(found.path, LIMITS) == data
        assert hash_file(found.path)[0] == content_id(data)
    assert read_file(f"{archive}/c/d.txt", LIMITS) == b"text"
    named = [*find_images([f"{archive}/c/d.webp", f"{archive}/gone.jpg"])]
    assert [found.problem and found.problem.reason for found in named] == [None, "missing"]


def test_what_is_no_picture_is_counted_and_names_lead_nowhere(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    archive = tmp_path / "s.zip"
    with zipfile.ZipFile(archive, "w") as file:
        link = zipfile.ZipInfo("1.jpg")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("folder/", b"")
        file.writestr("../secret.jpg", b"2")
        file.writestr(f"{tmp_path}/secret.jpg", b"3")
        for name in ("inner.zip", "inner.tar", "x.npy", "__MACOSX/._1.jpg", ".hidden.jpg"):
            file.writestr(name, b"x")
    notes: list[str] = []
    found = [*find_images([archive], on_note=notes.append)]
    assert [read_file(one.path, LIMITS, one.place) for one in found] == [b"2", b"3"]
    assert [read_file(one.path, LIMITS) for one in found] == [b"2", b"3"]
    assert notes == [
        f"{archive}: 4 files passed over (1 a link or a device, 3 neither a picture nor a caption)"
    ]
    assert len(listed(archive, include_hidden=True)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.zip", "secret.jpg"]


def test_of_two_files_with_one_name_the_first_is_taken(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = write_zip(tmp_path / "s.zip", [("1.jpg", b"first"), ("1.jpg", b"second")])
    assert listed(archive) == [("s.zip/1.jpg", None), ("s.zip/1.jpg", "unsupported")]
    assert read_file(f"{archive}/1.jpg", LIMITS) == b"first"


def test_encrypted_and_strangely_packed_files_are_rows_with_a_reason(tmp_path):
    archive = write_zip(tmp_path / "s.zip", [("1.jpg", b"x" * 99), ("2.jpg", b"y")])
    data = bytearray(archive.read_bytes())
    first = data.index(b"PK\1\2")
    data[first + 8] |= 1
    second = data.index(b"PK\1\2", first + 1)
    data[second + 10] = 99
    archive.write_bytes(data)
    found = [*find_images([archive])]
    assert "encrypted" in present(found[0].problem).explanation
    assert "deflate" in present(found[1].problem).explanation
    assert reason_of(f"{archive}/1.jpg") == "missing", "nothing lies there that can be read"


def test_a_bomb_is_not_unpacked_beyond_its_limit_nor_beyond_what_it_says(tmp_path):
    bomb = write_zip(tmp_path / "bomb.zip", [("1.png", bytes(50_000_000)), ("2.png", b"2")])
    assert bomb.stat().st_size < 100_000
    found = [*find_images([bomb])]
    assert reason_of(found[0].path, found[0].place, Limits(max_file_bytes=1000)) == "too_large"
    assert read_file(found[1].path, LIMITS, found[1].place) == b"2"
    data = bytearray(bomb.read_bytes())
    entry = data.index(b"PK\1\2")
    struct.pack_into("<I", data, entry + 24, 100)
    bomb.write_bytes(data)
    found = [*find_images([bomb])]
    assert reason_of(found[0].path, found[0].place) == "corrupt", "the checksum is of another file"


def test_files_that_lie_over_each_other_end_the_archive(tmp_path):
    """The bomb of David Fifield: many entries that share one stretch of bytes."""
    archive = write_zip(tmp_path / "s.zip", [("1.jpg", b"x" * 5000), ("2.jpg", b"y")])
    data = bytearray(archive.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    struct.pack_into("<I", data, second + 42, 10)
    archive.write_bytes(data)
    assert listed(archive) == [("s.zip/1.jpg", None), ("s.zip", "corrupt")]


def test_an_archive_cut_off_anywhere_says_so_and_nothing_breaks(tmp_path):
    whole = write_zip(tmp_path / "whole.zip", samples([os.urandom(300)] * 4)).read_bytes()
    cut = tmp_path / "cut.zip"
    for n_bytes in range(4, len(whole), 3):
        cut.write_bytes(whole[:n_bytes])
        assert listed(cut) == [("cut.zip", "truncated")], n_bytes


def test_an_archive_cut_off_behind_an_archive_in_it_is_not_taken_for_that_one(tmp_path):
    inner = write_zip(tmp_path / "inner.zip", [("secret.jpg", b"x")]).read_bytes()
    files = [("inner.zip", inner), ("1.jpg", b"y")]
    outer = write_zip(tmp_path / "outer.zip", files, zipfile.ZIP_STORED)
    data = outer.read_bytes()
    assert listed(outer) == [("outer.zip/1.jpg", None)]
    outer.write_bytes(data[: data.index(inner) + len(inner) + 20])
    assert listed(outer) == [("outer.zip", "truncated")]


def test_a_comment_at_the_end_hides_nothing(tmp_path):
    archive = write_zip(tmp_path / "s.zip", samples([b"x"]))
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = b"PK\5\6" + b"c" * 60_000
    assert listed(archive) == [("s.zip/000000000.jpg", None)]


def test_a_damaged_archive_gives_reasons_and_no_wrong_bytes(tmp_path):
    pictures = [os.urandom(200) for _ in range(3)]
    whole = write_zip(tmp_path / "whole.zip", samples(pictures)).read_bytes()
    archive = tmp_path / "s.zip"
    for place in range(4, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 0xFF
        archive.write_bytes(data)
        for found in find_images([archive]):
            if found.problem is None:
                with suppress(BadImage):
                    assert read_file(found.path, LIMITS, found.place) in pictures


def test_a_zip_file_with_something_before_it_and_one_of_zip64_are_read(tmp_path):
    plain = write_zip(tmp_path / "s.zip", [("1.jpg", b"picture")])
    data = plain.read_bytes()
    plain.write_bytes(b"PK\7\x08" + b"x" * 100 + data)
    assert [read_file(found.path, LIMITS) for found in find_images([plain])] == [b"picture"]
    with (
        zipfile.ZipFile(tmp_path / "64.zip", "w") as file,
        file.open("1.jpg", "w", force_zip64=True) as member,
    ):
        member.write(b"picture")
    found = [*find_images([tmp_path / "64.zip"])]
    assert read_file(found[0].path, LIMITS) == b"picture"


def test_an_archive_with_more_files_than_the_old_end_can_count(tmp_path):
    archive = tmp_path / "many.zip"
    n_files = 66_000
    entry, local = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
    crc32 = zlib.crc32(b"x")
    with archive.open("wb") as file:
        for number in range(n_files):
            name = b"%06d.jpg" % number
            file.write(local.pack(b"PK\3\4", 20, 0, 0, 0, 0, crc32, 1, 1, 10, 0) + name + b"x")
        start = file.tell()
        for number in range(n_files):
            fields = (b"PK\1\2", 20, 20, 0, 0, 0, 0, crc32, 1, 1, 10, 0, 0, 0, 0, 0, number * 41)
            file.write(entry.pack(*fields) + b"%06d.jpg" % number)
        end = file.tell()
        sizes = (n_files, n_files, end - start, start)
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, *sizes))
        file.write(struct.pack("<4sIQI", b"PK\6\7", 0, end, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0))
    with zipfile.ZipFile(archive) as known:
        assert len(known.infolist()) == n_files
    found = [*find_images([archive])]
    assert len(found) == n_files
    assert found[-1].path == f"{archive}/065999.jpg"
    assert read_file(found[-1].path, LIMITS, found[-1].place) == b"x"


def test_other_files_with_that_ending_are_told_for_what_they_are(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"\xff\xd8\xff no archive")
    (tmp_path / "b.zip").touch()
    write_shard(tmp_path / "c.zip", samples([b"x"]))
    write_zip(tmp_path / "d.zip", [])
    write_zip(tmp_path / "e.zip", [("a.txt", b"x")])
    found = {name: reason for path in sorted(tmp_path.iterdir()) for name, reason in listed(path)}
    assert found == {
        "a.zip": None,
        "b.zip": None,
        "c.zip": None,
        "d.zip": "empty",
        "e.zip": "empty",
    }


def test_an_archive_that_changed_since_is_not_read_at_the_old_places(tmp_path):
    archive = write_zip(tmp_path / "s.zip", samples([b"x"]))
    found = [*find_images([archive])]
    write_zip(archive, samples([b"z" * 3000]))
    assert reason_of(found[0].path, found[0].place) == "changed"
