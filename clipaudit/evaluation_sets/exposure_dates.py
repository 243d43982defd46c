"""When pictures were made, as their EXIF data say; no pixel is decoded for it."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from clipaudit.pictures.base import Limits
from clipaudit.pictures.reading import read_file

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from clipaudit.pictures.places import Place

_WITH_EXIF = ("JPEG", "TIFF", "PNG", "WEBP", "AVIF")
_EXIF_IFD = 0x8769
_DATE_TIME_ORIGINAL = 0x9003
_OFFSET_TIME_ORIGINAL = 0x9011
_EXIF_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d:\d\d:\d\d))?")
_EXIF_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def exposure_date(path: Path, place: Place | None = None) -> str | None:
    """When a picture was made, as its EXIF data say: ISO 8601, without what they leave out.

    Args:
        path: Its file.
        place: Where it lies in an archive, if it does.
    """
    from PIL import Image

    try:
        file = BytesIO(read_file(path, Limits(), place)) if place else path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow finds odd in its metadata
            with Image.open(file, formats=_formats()) as picture:
                exif = _exif(picture).get_ifd(_EXIF_IFD)
    except Exception:  # noqa: BLE001 - a third party's parser on a stranger's bytes
        return None
    return _moment(exif.get(_DATE_TIME_ORIGINAL), exif.get(_OFFSET_TIME_ORIGINAL))


def _exif(picture: Image.Image) -> Image.Exif:
    """Its EXIF data, as far as they can be had without decoding a pixel."""
    from PIL import Image

    if picture.format == "TIFF":
        return picture.getexif()
    exif = Image.Exif()
    data = picture.info.get("exif")
    if isinstance(data, bytes):
        exif.load(data)
    return exif


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    for module in ("Jpeg", "Tiff", "Png", "WebP", "Avif"):
        import_module(f"PIL.{module}ImagePlugin")
    wanted = [*_WITH_EXIF]
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        wanted.append("HEIF")
    return tuple(name for name in wanted if name in Image.OPEN)


def _moment(text: Any, offset: Any) -> str | None:
    """A time as EXIF writes it, if it is one.

    >>> _moment("2019:07:14 12:34:56", "+02:00")
    '2019-07-14T12:34:56+02:00'
    """
    match = _EXIF_TIME.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, clock = match.groups()
    moment = f"{year}-{month}-{day}"
    if clock:
        moment += f"T{clock}"
        if isinstance(offset, str) and _EXIF_OFFSET.fullmatch(offset.rstrip("\0 ")):
            moment += offset.rstrip("\0 ")
    try:
        datetime.fromisoformat(moment)  # zeros, spaces, the thirty-first of June
    except ValueError:
        return None
    return moment
