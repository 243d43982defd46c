import hashlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id, hash_file, read_file
from tests.made.present import present

LIMITS = Limits()


POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX file systems only")


def bad_file(path, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        read_file(path, limits)
    return caught.value.reason


def test_a_file_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_file(path, LIMITS) == b"abc"
    assert content_id(b"abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2's example


def test_what_cannot_be_read_has_its_reason(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    large = tmp_path / "large"
    large.write_bytes(bytes(101))
    assert bad_file(empty) == "empty"
    assert bad_file(large, Limits(max_file_bytes=100)) == "too_large"
    assert len(read_file(large, Limits(max_file_bytes=101))) == 101
    assert bad_file(tmp_path / "gone") == "missing"
    assert bad_file(tmp_path) == "not_a_file"
    assert bad_file("nul\0byte") == "missing"
    assert bad_file(large / "below") == "missing"


@POSIX
def test_pipes_sockets_and_devices_never_block(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        paths = [pipe, tmp_path / "socket", Path("/dev/zero")]
        assert [bad_file(path) for path in paths] == ["not_a_file"] * 3
        assert [present(found.problem).reason for found in find_images(paths)] == ["not_a_file"] * 3
        in_folder = {Path(f.path).name: present(f.problem).reason for f in find_images([tmp_path])}
    assert in_folder == {"pipe": "not_a_file", "socket": "not_a_file"}


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"first")
    read = os.read

    def read_while_somebody_writes(descriptor, n_bytes):
        data = read(descriptor, n_bytes)
        if data:
            with path.open("ab") as file:
                file.write(b" more")
        return data if len(data) < 1000 else b""

    monkeypatch.setattr(os, "read", read_while_somebody_writes)
    assert bad_file(path, Limits(max_file_bytes=50)) in ("changed", "too_large")


@POSIX
def test_without_permission_there_is_a_row():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        top = Path(folder)
        top.chmod(0o755)
        (top / "a.png").write_bytes(b"x")
        (top / "a.png").chmod(0)
        (top / "b").mkdir(mode=0)
        (top / "c.png").write_bytes(b"x")
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)  # root may read everything
        try:
            found = {Path(f.path).name: f.problem for f in find_images([top])}
            assert bad_file(top / "a.png") == "unreadable"
        finally:
            if is_root:
                os.seteuid(0)
        (top / "b").chmod(0o700)
    assert found["a.png"] is None  # shows when it is read
    assert present(found["b"]).reason == "unreadable"
    assert found["c.png"] is None


def test_one_option_raises_the_limit_of_bytes_and_is_named(tmp_path):
    scan = tmp_path / "a4.tif"
    with scan.open("wb") as file:
        file.truncate(104_417_952)  # 4,961 by 7,016 pixels, RGB, without compression
    assert len(read_file(scan, LIMITS)) == 104_417_952
    with pytest.raises(BadImage, match="100,000,000 bytes, the limit; --max-megapixels raises it"):
        read_file(scan, Limits(max_pixels=1_000_000))
    assert len(read_file(scan, Limits(max_pixels=40_000_000))) == 104_417_952


def test_a_file_of_any_size_is_hashed(tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(3_000_000))
    data = bytes(3_000_000)
    assert hash_file(large) == (content_id(data), hashlib.md5(data).hexdigest())
    with pytest.raises(BadImage, match="missing"):
        hash_file(tmp_path / "gone")
