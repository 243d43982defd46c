import io
import os

import pytest
from PIL import Image

from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.reading import read_file
from tests.made.picture_files import encoded, photo

LIMITS = Limits()


def reason_of(data, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        decode(data, limits)
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0", "not_an_image"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        (b"BM is how this text starts, and it is no bitmap", "not_an_image"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"8BPS\0\1", "unsupported"),
        (b"%PDF-1.7", "unsupported"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported"),
        (b"P6 1 1 255\n\1\2\3", "unsupported"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (b"\xff\xd8\xff\xe0", "corrupt"),
    ],
)
def test_what_is_no_readable_picture_has_its_reason(data, reason):
    assert reason_of(data) == reason


def test_no_explanation_holds_addresses_or_bytes_of_the_file():
    for data in (b"\x89PNG\r\n\x1a\n", b"<html>", encoded(photo(), "JPEG")[:400]):
        with pytest.raises(BadImage) as caught:
            decode(data, LIMITS)
        assert "0x" not in str(caught.value)
        assert str(caught.value) == f"{caught.value.reason}: {caught.value.explanation}"


def test_ghostscript_is_never_called(tmp_path, monkeypatch):
    called = tmp_path / "called"
    for name in ("gs", "gswin32c", "gswin64c"):
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\ntouch '{called}'\n")
        stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it remembers what it found before
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with Image.open(io.BytesIO(eps)) as picture:
        assert picture.format == "EPS"  # Pillow itself would take it
    path = tmp_path / "picture.png"
    path.write_bytes(eps)
    assert reason_of(read_file(path, LIMITS)) == "unsupported"
    assert not called.exists()
