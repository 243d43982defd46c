"""Bytes → pixels: the one normalisation of pictures, the same for suspects and for controls.

No picture is refused silently and none ends a run: all bytes become pixels or a `BadImage`.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from clipaudit.pictures.base import BadImage, Interpolation, Limits, UInt8Array
from clipaudit.pictures.colour import to_srgb
from clipaudit.pictures.formats import readable_formats, undecodable, unidentified
from clipaudit.pictures.png import without_metadata
from clipaudit.pictures.tiff import Levels, by_libtiff, choose_page, grey_levels, has_plain_planes

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_DARK_16_BIT = 4096
"""A 16-bit picture whose brightest value is below this looks nearly black."""

_decoding = threading.Lock()
"""Filters of warnings belong to the process, so one decoding at a time may change them."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as a person would see it.

    Attributes:
        pixels: Shape (height, width, 3), uint8, sRGB, upright.
        format: Pillow's name of the format: `JPEG`, `PNG`, …
        notes: What decoding had to do that may surprise, from a fixed set of phrases.
    """

    pixels: UInt8Array
    format: str
    notes: tuple[str, ...]


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture in a file's bytes: the one normalisation, for every picture alike.

    - The format shows from the bytes, never from the name; only `READABLE` ones are tried.
    - Of several frames or pages, the first that is no thumbnail. A gain map (Ultra HDR) is left
      out. Camera raw is `unsupported`: its thumbnail is not the picture.
    - Metadata of a PNG that is damaged or too large is passed over with a note; the colour profile
      is read nevertheless.
    - Turned upright as its EXIF (or XMP) orientation says.
    - 16-bit grey values are divided by 256, not clipped at 255; as Pillow does with 16-bit
      colours. In a TIFF, white may be zero, and 12 bits are in use as 16. 32-bit integers up to
      65,535 count as 16-bit; others, and floats, have no fixed white, so they are `unsupported`.
    - An embedded colour profile (ICC) is converted to sRGB, with its own default intent;
      profiles that never differ from sRGB by more than two levels count as sRGB. A broken or
      unfitting one is passed over with a note. CMYK without a profile is converted plainly.
    - Transparency shows white.
    - Nothing is decoded at reduced scale, and no cut-off picture is filled up.

    In this process Pillow's own `Image.MAX_IMAGE_PIXELS` holds beside `limits`, a crash of a
    codec is a crash of the process, and one picture is decoded at a time: `DecoderPool` is for
    many files, and for those of strangers.

    Raises:
        BadImage: `empty`, `not_an_image`, `unsupported`, `truncated`, `corrupt`,
            `too_many_pixels` or `out_of_memory`.
    """
    picture, form, notes = decode_rgb(data, limits)
    try:
        pixels = np.array(picture)
    except MemoryError as error:
        raise out_of_memory() from error
    return Decoded(pixels, form, notes)


def resize_to_square(decoded: Decoded, size_px: int, interpolation: Interpolation) -> UInt8Array:
    """The picture at the encoder's input size, both sides, its aspect not kept.

    This is what EncoderMI does before it draws views. Pillow's resampling on the full picture,
    antialiased (but for `nearest`), without `draft` or `reducing_gap`: the same as torchvision's
    `Resize((size_px, size_px))` on a PIL image, to the bit.

    Returns:
        Shape (size_px, size_px, 3), uint8.
    """
    return resized(Image.fromarray(decoded.pixels), size_px, interpolation)


def resized(picture: Image.Image, size_px: int, interpolation: Interpolation) -> UInt8Array:
    """The pixels of an RGB picture as `resize_to_square` gives them."""
    return np.array(picture.resize((size_px, size_px), _RESAMPLING[interpolation]))


def decode_rgb(data: bytes, limits: Limits) -> tuple[Image.Image, str, tuple[str, ...]]:
    """What `decode` gives, its pixels as a picture of Pillow's.

    Raises:
        BadImage: As `decode`.
    """
    if not data:
        raise BadImage("empty", "the file has no bytes")
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _open_without_bad_metadata(data, limits)
        except BadImage:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_many_pixels(limits) from error
        except MemoryError as error:
            raise out_of_memory() from error
        except UnidentifiedImageError as error:
            raise unidentified(data) from error
        except Exception as error:  # whatever Pillow and its plugins come up with
            raise undecodable(data, error) from error


def _open_without_bad_metadata(
    data: bytes, limits: Limits
) -> tuple[Image.Image, str, tuple[str, ...]]:
    try:
        return _open_and_normalise(data, limits)
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        stripped = without_metadata(data)
        if stripped is None:
            raise
        try:
            picture, form, notes = _open_and_normalise(stripped.data, limits, stripped.profile)
        except (BadImage, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - then it was not the metadata
            raise error from None
        return picture, form, ("unreadable metadata ignored", *notes)


def _open(data: bytes) -> Image.Image:
    picture: Image.Image = Image.open(BytesIO(data), formats=readable_formats())
    if has_plain_planes(picture):
        picture.close()
        with by_libtiff():
            picture = Image.open(BytesIO(data), formats=readable_formats())
    return picture


def _open_and_normalise(
    data: bytes, limits: Limits, profile: bytes | None = None
) -> tuple[Image.Image, str, tuple[str, ...]]:
    notes: list[str] = []
    with _open(data) as picture:
        if isinstance(picture, TiffImagePlugin.TiffImageFile):
            choose_page(picture, data)
        if profile:
            picture.info["icc_profile"] = profile
        _check_size(picture, limits)  # on the header alone, before any pixel is decoded
        picture.load()
        _check_size(picture, limits)  # a GIF frame can be larger than its screen
        form = "JPEG" if picture.format == "MPO" else str(picture.format)
        upright = _upright(picture, notes)
        colours, alpha = _split_alpha(upright, notes, grey_levels(picture))
        rgb = to_srgb(colours, notes)
        if alpha is not None:
            white = Image.new("RGB", rgb.size, "white")
            white.paste(rgb, mask=alpha)
            rgb = white
            notes.append("transparency on white")
        is_one_of_several = False
        with suppress(Exception):  # later frames may be broken; this is but a note
            is_one_of_several = bool(getattr(picture, "is_animated", False))
        if is_one_of_several:
            notes.insert(0, "first of several frames")
    return rgb, form, tuple(notes)


def _check_size(picture: Image.Image, limits: Limits) -> None:
    if picture.width * picture.height > limits.max_pixels:
        raise _too_many_pixels(limits)
    if not picture.width or not picture.height:
        raise BadImage("corrupt", "the picture has no pixels")


def _upright(picture: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = picture.getexif().get(0x0112, 1)
        if orientation not in range(2, 9):
            return picture
        # Pillow would write what is left of the metadata back, and stumble where it is broken.
        for key in ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
            picture.info.pop(key, None)
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a third party's parser on a stranger's bytes
        notes.append("broken EXIF ignored")
        return picture


def _split_alpha(
    picture: Image.Image, notes: list[str], levels: Levels
) -> tuple[Image.Image, Image.Image | None]:
    """The colours without alpha, and the alpha where anything is not fully opaque."""
    if picture.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        return _from_16_bit(picture, notes, levels)
    if picture.mode == "F":
        raise BadImage("unsupported", "floating-point pixels have no fixed white")
    if not picture.has_transparency_data:
        simpler = {"1": "L", "P": "RGB"}.get(picture.mode)
        return picture.convert(simpler) if simpler else picture, None
    is_grey = picture.mode in ("1", "L", "La", "LA")
    wanted = "LA" if is_grey else "RGBA"
    with_alpha = picture if picture.mode == wanted else picture.convert(wanted)
    alpha = with_alpha.getchannel("A")
    colours = with_alpha.convert("L" if is_grey else "RGB")
    return colours, None if alpha.getextrema()[0] == 255 else alpha


def _from_16_bit(
    picture: Image.Image, notes: list[str], levels: Levels
) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(picture)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65_535:
        raise BadImage("unsupported", "32-bit pixels have no fixed white")
    if levels.bits < 16:
        values = values << (16 - levels.bits)
    if levels.white_is_zero:
        values = 65_535 - values
    lowest, highest = int(values.min()), int(values.max())
    notes.append("16-bit scaled to 8-bit")
    if highest < _DARK_16_BIT:
        notes.append("nearly black: uses little of its 16-bit range")
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and np.any(values == clear):
        return grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    return grey, None


def _too_many_pixels(limits: Limits) -> BadImage:
    return BadImage(
        "too_many_pixels",
        f"the picture has more than {limits.max_pixels:,} pixels, the limit; "
        "--max-megapixels raises it",
    )


def out_of_memory() -> BadImage:
    """What is wrong where a picture does not fit into memory."""
    return BadImage("out_of_memory", "decoding it needs more memory than there is")
