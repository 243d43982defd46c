"""Tar archives of pictures: what is listed, what is read, and what is wrong with damaged ones."""

import gzip
import io
import os
import tarfile

import pytest

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id, hash_file, read_file
from tests.made.present import present
from tests.made.shards import samples, write_shard

LIMITS = Limits()


def listed(*paths, **options):
    """Path below the first, and reason or None, of every file."""
    top = paths[0].parent
    return [
        (os.path.relpath(found.path, top), found.problem and found.problem.reason)
        for found in find_images(paths, **options)
    ]


def notes_on(path):
    notes: list[str] = []
    list(find_images([path], on_note=notes.append))
    return notes


def test_a_shard_is_a_folder_of_pictures_in_its_order(tmp_path):
    shard = write_shard(tmp_path / "s.tar", [("b.jpg", b"1"), ("a.png", b"22"), ("c/d.webp", b"3")])
    assert listed(shard) == [("s.tar/b.jpg", None), ("s.tar/a.png", None), ("s.tar/c/d.webp", None)]
    (tmp_path / "0.jpg").write_bytes(b"x")
    assert [name for name, _ in listed(tmp_path)] == [
        f"{tmp_path.name}/{name}"
        for name in ("0.jpg", "s.tar/b.jpg", "s.tar/a.png", "s.tar/c/d.webp")
    ]
    assert len(listed(shard, tmp_path)) == 4, "a shard that is reached twice is listed once"


def test_the_bytes_of_a_picture_come_from_its_place_or_its_path(tmp_path):
    shard = write_shard(tmp_path / "s.tar", samples([b"first", b"second" * 1000], ["one", "two"]))
    for found in find_images([shard]):
        assert found.place
        by_place = read_file(found.path, LIMITS, found.place)
        assert by_place == read_file(found.path, LIMITS)
        assert hash_file(found.path)[0] == content_id(by_place)
    named = [*find_images([f"{shard}/000000001.jpg"])]
    assert [(found.path, found.problem) for found in named] == [(f"{shard}/000000001.jpg", None)]
    assert read_file(f"{shard}/000000001.txt", LIMITS) == b"two"
    missing = [*find_images([f"{shard}/gone.jpg"])]
    assert present(missing[0].problem).reason == "missing"


def test_what_is_neither_picture_nor_caption_is_counted_in_one_note(tmp_path):
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as archive:
        for name, kind, target in (
            ("folder", tarfile.DIRTYPE, ""),
            ("1.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            ("2.jpg", tarfile.LNKTYPE, "3.jpg"),
            ("3.jpg", tarfile.CHRTYPE, ""),
            ("4.jpg", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        for name in ("5.cls", "5.npy", "inner.tar", "._6.jpg", "__MACOSX/7.jpg", "5.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    assert listed(shard) == [("s.tar/5.jpg", None)]
    assert notes_on(shard) == [
        f"{shard}: 7 files passed over (4 a link or a device, 3 neither a picture nor a caption)"
    ]
    hidden = [name for name, _ in listed(shard, include_hidden=True)]
    assert hidden == ["s.tar/._6.jpg", "s.tar/__MACOSX/7.jpg", "s.tar/5.jpg"]


def test_names_that_lead_elsewhere_are_names_and_no_more(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    files = [("../secret.jpg", b"1"), (f"{tmp_path}/secret.jpg", b"2"), ("./a//b.jpg", b"3")]
    shard = write_shard(tmp_path / "s.tar", files)
    found = [*find_images([shard])]
    assert [one.path for one in found] == [
        f"{shard}/../secret.jpg",
        f"{shard}{tmp_path}/secret.jpg",
        f"{shard}/a/b.jpg",
    ]
    assert [read_file(one.path, LIMITS) for one in found] == [b"1", b"2", b"3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.tar", "secret.jpg"]


def test_of_two_files_with_one_name_the_first_is_taken(tmp_path):
    shard = write_shard(tmp_path / "s.tar", [("1.jpg", b"first"), ("1.jpg", b"second")])
    assert listed(shard) == [("s.tar/1.jpg", None), ("s.tar/1.jpg", "unsupported")]
    assert read_file(f"{shard}/1.jpg", LIMITS) == b"first"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read_with_names_of_every_kind(tmp_path, form):
    names = ["ä ö.jpg", "a\nb.jpg", "\x1b[31m.png", "f" * 90 + "/" + "g" * 90 + ".jpg"]
    if form != tarfile.USTAR_FORMAT:
        names += ["long/" * 40 + "x.jpg", "\udcff.jpg"]
    shard = write_shard(
        tmp_path / "s.tar",
        [(name, name.encode("utf-8", "surrogateescape")) for name in names],
        form,
    )
    found = [*find_images([shard])]
    assert [one.path for one in found] == [f"{shard}/{name}" for name in names]
    for one, name in zip(found, names, strict=True):
        assert read_file(one.path, LIMITS) == name.encode("utf-8", "surrogateescape")


def test_an_archive_cut_off_anywhere_keeps_what_comes_before(tmp_path):
    whole = write_shard(tmp_path / "whole.tar", samples([bytes(600)] * 4)).read_bytes()
    assert len(whole) == 10240
    cut = tmp_path / "cut.tar"
    for n_bytes in range(512, 4 * 1536 + 1):
        if n_bytes % 512 > 2 and n_bytes % 97:
            continue
        cut.write_bytes(whole[:n_bytes])
        fine = [found for found in find_images([cut]) if found.problem is None]
        damage = [found for found in find_images([cut]) if found.problem]
        n_whole, n_more = divmod(n_bytes, 1536)
        is_padding_alone_missing = n_more >= 512 + 600
        assert len(fine) == n_whole + is_padding_alone_missing, n_bytes
        assert [read_file(found.path, LIMITS) for found in fine] == [bytes(600)] * len(fine)
        if n_more:
            assert [(found.path, present(found.problem).reason) for found in damage] == [
                (str(cut), "truncated")
            ]
        else:  # nothing tells it from an archive whose end was never written
            assert not damage


def test_a_damaged_header_ends_the_archive_with_a_reason(tmp_path):
    data = bytearray(write_shard(tmp_path / "s.tar", samples([b"x"] * 4)).read_bytes())
    data[2 * 1024 + 148] ^= 0xFF
    (tmp_path / "s.tar").write_bytes(data)
    assert listed(tmp_path / "s.tar") == [
        ("s.tar/000000000.jpg", None),
        ("s.tar/000000001.jpg", None),
        ("s.tar", "corrupt"),
    ]


def _header(name, size, kind=b"0"):
    member = tarfile.TarInfo(name)
    member.type = kind
    buffer = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    buffer[124:136] = size
    buffer[148:156] = b" " * 8
    buffer[148:156] = b"%06o\0 " % sum(buffer)
    return bytes(buffer)


def test_hostile_headers_end_the_archive_at_once(tmp_path):
    start = _header("0.jpg", b"%011o\0" % 1) + b"x".ljust(512, b"\0")
    hostile = {
        "below zero": _header("1.jpg", b"\xff" * 11 + b"\0"),
        "half of all": _header("1.jpg", b"\x80" + b"\x7f" * 11),
        "long name": _header("x", b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"L"),
        "long pax": _header("x", b"%011o\0" % (1 << 30), b"x") + bytes(512),
        "nested names": (_header("x", b"%011o\0" % 1, b"L") + b"y".ljust(512, b"\0")) * 5000,
        "noise": os.urandom(4096),
    }
    for name, data in hostile.items():
        shard = tmp_path / f"{name}.tar"
        shard.write_bytes(start + data)
        found = listed(shard)
        assert found[0] == (f"{name}.tar/0.jpg", None)
        assert found[1][0] == f"{name}.tar", name
        assert found[1][1] in {"corrupt", "truncated"}, name
        assert len(found) == 2


def test_other_files_with_that_ending_are_told_for_what_they_are(tmp_path):
    plain = write_shard(tmp_path / "plain.tar", samples([b"x"])).read_bytes()
    (tmp_path / "a.tar").write_bytes(gzip.compress(plain))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "c.tar").write_bytes(bytes(10240))
    (tmp_path / "d.tar").write_bytes(b"\xff\xd8\xff no archive")
    (tmp_path / "e.tar").touch()
    assert dict(listed(tmp_path)) == {
        f"{tmp_path.name}/{name}": reason
        for name, reason in {
            "a.tar": "unsupported",
            "b.tar.gz": "unsupported",
            "c.tar": "empty",
            "d.tar": None,
            "e.tar": None,
            "plain.tar/000000000.jpg": None,
        }.items()
    }


def test_pictures_in_archives_have_the_same_limits(tmp_path):
    shard = write_shard(tmp_path / "s.tar", [("1.jpg", bytes(101)), ("2.jpg", b"")])
    for name, reason in (("1.jpg", "too_large"), ("2.jpg", "empty")):
        with pytest.raises(BadImage) as caught:
            read_file(f"{shard}/{name}", Limits(max_file_bytes=100))
        assert caught.value.reason == reason


def test_an_archive_that_changed_since_is_not_read_at_the_old_places(tmp_path):
    shard = write_shard(tmp_path / "s.tar", samples([b"x", b"y"]))
    found = [*find_images([shard])]
    write_shard(shard, samples([b"z" * 3000]))
    with pytest.raises(BadImage) as caught:
        read_file(found[1].path, LIMITS, found[1].place)
    assert caught.value.reason == "changed"
    assert read_file(found[0].path, LIMITS) == b"z" * 3000, "by its path it is found anew"
