"""What is particular to TIFF files: which of their pages is the picture, and what is white in it.

Camera raw files are TIFF files too, whose first page is a thumbnail; it is not the picture.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from PIL import TiffImagePlugin

from clipaudit.pictures.base import BadImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

_SUBFILE_TYPE = 254
_IS_REDUCED = 1
_BITS = 258
_PHOTOMETRIC = 262
_SAMPLES = 277
_PLANES = 284
_DNG_VERSION = 50706
_WHITE_IS_ZERO = 0
_RAW = (32803, 34892)
"""Photometric kinds of what a sensor saw: a colour filter array, and linear raw."""
_MOST_PAGES = 64


class Levels(NamedTuple):
    """How 16-bit grey is stored.

    Attributes:
        bits: How many of the 16 bits are in use.
        white_is_zero: Whether low values are bright.
    """

    bits: int = 16
    white_is_zero: bool = False


def grey_levels(picture: Image.Image) -> Levels:
    """How the grey values of a picture of more than 8 bits are stored, whatever its format."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return Levels()
    bits = picture.tag_v2.get(_BITS, (16,))
    return Levels(
        12 if tuple(bits) == (12,) else 16,
        picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
    )


def choose_page(picture: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Go to the first page that is no thumbnail of another.

    Raises:
        BadImage: There is none, as in files of camera raw.
    """
    tags = picture.tag_v2
    is_raw = data[8:10] == b"CR" or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _RAW
    if not is_raw:
        for page in range(_MOST_PAGES):
            try:
                picture.seek(page)
            except EOFError:
                break
            if not int(picture.tag_v2.get(_SUBFILE_TYPE, 0)) & _IS_REDUCED:
                _require_known_planes(picture)
                return
    raise BadImage(
        "unsupported", "a camera raw file or the like: only a thumbnail in it could be read"
    )


def has_plain_planes(picture: Image.Image) -> bool:
    """Whether the colours lie apart and uncompressed, which Pillow alone reads wrongly."""
    return (
        isinstance(picture, TiffImagePlugin.TiffImageFile)
        and picture.tag_v2.get(_PLANES) == 2
        and not picture.use_load_libtiff
    )


@contextmanager
def by_libtiff() -> Iterator[None]:
    """Has libtiff read what is opened meanwhile; a setting of the whole process."""
    before = TiffImagePlugin.READ_LIBTIFF
    TiffImagePlugin.READ_LIBTIFF = True
    try:
        yield
    finally:
        TiffImagePlugin.READ_LIBTIFF = before


def _require_known_planes(picture: TiffImagePlugin.TiffImageFile) -> None:
    tags = picture.tag_v2
    if tags.get(_PLANES) == 2 and tags.get(_SAMPLES) == 2:
        raise BadImage("unsupported", "grey and transparency in planes of their own are not read")
