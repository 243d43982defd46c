"""Which formats are read, and what a file that cannot be decoded seems to be."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from PIL import Image

from clipaudit.pictures.base import BadImage

READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000"
"""For people; with HEIF where pillow-heif is installed."""

_PLUGINS = {
    "JPEG": "JpegImagePlugin",  # MPO too: the JPEG reader hands such files on
    "PNG": "PngImagePlugin",
    "WEBP": "WebPImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
}


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats that are tried: a name that is not registered would be a KeyError.

    Only the plugins in question are imported, so neither Ghostscript nor any other helper can
    be reached, even where another part of the process has registered more.
    """
    from importlib import import_module

    for module in _PLUGINS.values():
        import_module(f"PIL.{module}")
    wanted = [*_PLUGINS]
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        wanted.append("HEIF")
    return tuple(name for name in wanted if name in Image.OPEN)


def undecodable(data: bytes, error: Exception) -> BadImage:
    """What is wrong with a file whose decoding failed with an error."""
    kind = _kind_by_signature(data)[0]
    if kind is None:  # Pillow is easily tempted: any text that starts with BM may be a bitmap
        return unidentified(data)
    if isinstance(error, EOFError) or "truncat" in str(error).lower():
        return BadImage("truncated", f"the {kind} is cut off: its data ends too early")
    if str(error).startswith("Unsupported"):
        return BadImage("unsupported", f"the {kind} is of an unusual kind, or damaged")
    return BadImage("corrupt", f"the {kind} is damaged: its data cannot be decoded")


def unidentified(data: bytes) -> BadImage:
    """What is wrong with a file that no plugin recognises."""
    kind, is_read = _kind_by_signature(data)
    if kind is None:
        return BadImage("not_an_image", "its bytes do not start like any known kind of picture")
    if is_read:
        return BadImage(
            "corrupt", f"starts like a {kind}, but is damaged, cut off or of an unusual kind"
        )
    hint = " (pip install '.[heif]' in the checkout adds it)" if kind == "HEIF" else ""
    return BadImage("unsupported", f"{kind} is not read{hint}; what is: {READABLE}")


_READ_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)

_OTHER_SIGNATURES = (
    (b"8BPS", "Photoshop"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"gimp xcf", "GIMP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\1\0", "Windows icon"),
    (b"icns", "Apple icon"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"\x01\xda", "SGI"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
    (b"/* XPM */", "XPM"),
    (b"\x0a\x05\x01", "PCX"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
)


def _kind_by_signature(data: bytes) -> tuple[str | None, bool]:
    """What a file's first bytes say that it is, and whether that kind is read."""
    for signature, kind in _READ_SIGNATURES:
        if data.startswith(signature):
            return kind, True
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP", True
    if data.startswith(b"BM") and data[15:18] == b"\0\0\0":
        return "BMP", True
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in (b"avif", b"avis"):
            return "AVIF", True
        is_heif = brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return ("HEIF", "HEIF" in readable_formats()) if is_heif else (None, False)
    for signature, kind in _OTHER_SIGNATURES:
        if data.startswith(signature):
            return kind, False
    if data[:1] == b"P" and data[1:2] in b"1234567fF" and data[2:3].isspace():
        return "PNM", False
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return "TGA", False
    if b"<svg" in data[:1024].lower():
        return "SVG", False
    return None, False
