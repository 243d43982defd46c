"""Stage 1: paths → files → pixels; what cannot be read is listed with its reason.

No picture is ever refused silently and none ends a run: every file becomes pixels or a `BadImage`.
`decode` is the one normalisation of pictures, the same for suspects and for controls.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from io import BytesIO
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from clipaudit.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

Reason = Literal[
    "missing",  # nothing there, or a link that points to nothing
    "unreadable",  # there, but the system does not let us read it
    "not_a_file",  # a pipe, a socket, a device, or a folder where a file was expected
    "changed",  # somebody wrote to it while it was read
    "empty",  # no bytes, or a folder without files
    "too_large",  # more bytes than Limits.max_file_bytes
    "too_many_pixels",  # more pixels than Limits.max_pixels
    "not_an_image",
    "unsupported",  # a picture, of a kind that is not read
    "truncated",
    "corrupt",
    "out_of_memory",
    "timeout",  # decoding took longer than Limits.decode_timeout_s
    "decoder_crashed",
    "no_embedding",  # a picture, but the encoder makes nothing usable of it
]


class BadImage(Exception):  # noqa: N818 - a finding about a file, not an error of the run
    """Why one file gives no picture; `str()` is `reason: explanation`.

    Attributes:
        reason: A stable code, for programs.
        explanation: For people; holds nothing that came out of the file.
    """

    def __init__(self, reason: Reason, explanation: str) -> None:
        super().__init__(reason, explanation)
        self.reason: Reason = reason
        self.explanation = explanation

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may cost.

    Attributes:
        max_pixels: Width times height; the default is Pillow's own.
        max_file_bytes: Size of the file.
        decode_timeout_s: Wall time of one decoding in a `DecoderPool`; suspended time is not
            counted.
    """

    max_pixels: int = 89_478_485
    max_file_bytes: int = 100_000_000
    decode_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.max_pixels, self.max_file_bytes, self.decode_timeout_s) <= 0:
            raise ValueError(f"every limit must be above 0, got {self}")


# --- paths → files -------------------------------------------------------------------------------

_JUNK_NAMES = frozenset(
    os.fsencode(name)
    for name in (
        "@eaDir",
        "node_modules",
        "System Volume Information",
        "$RECYCLE.BIN",
        "__MACOSX",
        "Thumbs.db",
        "desktop.ini",
    )
)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file that was named or met in a folder.

    Attributes:
        path: As given, or the folder as given and the names below it; undecodable bytes as
            surrogate escapes, so `os.fsencode` gives the name back.
        problem: None for a regular file; else why it is not even tried.
    """

    path: str
    problem: BadImage | None = None


def find_images(paths: Iterable[AnyPath], *, include_hidden: bool = False) -> Iterator[FoundFile]:
    """Every file under the given paths, lazily: folders recursively, by name within each.

    Every regular file is listed, whatever its ending: what is no picture shows when it is
    decoded. Links are followed; a folder or a file that is reached twice is listed once, by the
    first way that leads there; hard links are files of their own. A path that was given always
    gives something: a folder that holds nothing is listed as `empty`.

    Inside folders, names that start with a dot and the litter of systems and tools (`@eaDir`,
    `Thumbs.db`, `node_modules`, …) are passed over, unless `include_hidden`.

    Memory is that of the names in the largest folder, so millions of files are no problem.
    """
    return _Finder(include_hidden).find(paths)


_Kind = Literal["file", "folder", "link", "other"]


@dataclass(slots=True)
class _Listing:
    """A folder that is being walked; as small as it gets, for there may be millions of names.

    Attributes:
        names: Those still to come, the next one last.
        kinds: Of all that are not regular files.
        problem: What kept us from reading all names.
    """

    names: list[bytes] = field(default_factory=list)
    kinds: dict[bytes, _Kind] = field(default_factory=dict)
    problem: FoundFile | None = None


class _Finder:
    """What `find_images` must remember: folders walked, and files that came by another way."""

    def __init__(self, include_hidden: bool) -> None:
        self._include_hidden = include_hidden
        self._n_repeats = 0  # how often something was reached again, and passed over
        self._walked: set[tuple[int, int]] = set()
        # Files that were named or linked, as digests of their real paths. Files that are simply
        # in a folder are not kept: the folder is in _walked.
        self._listed: set[bytes] = set()
        self._real_folder = lru_cache(maxsize=1024)(os.path.realpath)

    def find(self, paths: Iterable[AnyPath]) -> Iterator[FoundFile]:
        for given in paths:
            path = os.fsencode(given)
            try:
                status = os.stat(path)  # noqa: PTH116 - bytes, for names that are not UTF-8
            except (OSError, ValueError) as error:
                yield _bad_path(path, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                is_empty = True
                n_repeats = self._n_repeats
                for found in self._walk(path):
                    is_empty = False
                    yield found
                if is_empty and n_repeats == self._n_repeats:
                    problem = BadImage("empty", "the folder holds no files")
                    yield FoundFile(os.fsdecode(path), problem)
            elif not stat.S_ISREG(status.st_mode):
                yield _not_a_file(path)
            elif self._is_first(path):
                yield FoundFile(os.fsdecode(path))

    def _walk(self, top: bytes) -> Iterator[FoundFile]:
        """Every file below a folder; an explicit stack, so depth is no limit."""
        listing = self._enter(top)
        if listing.problem:
            yield listing.problem
        stack = [(top, self._real_folder(top), listing)]
        while stack:
            folder, real_folder, listing = stack[-1]
            if not listing.names:
                stack.pop()
                continue
            name = listing.names.pop()
            kind = listing.kinds.get(name, "file")
            path = os.path.join(folder, name)  # noqa: PTH118 - bytes
            if kind == "link":
                try:
                    kind = _kind(os.stat(path).st_mode)  # noqa: PTH116
                except OSError as error:
                    yield _bad_path(path, error)
                    continue
                if kind == "file" and not self._is_first(path):
                    continue
                real_path = os.path.realpath(path)
            else:
                real_path = os.path.join(real_folder, name)  # noqa: PTH118
                if kind == "file" and self._listed and _digest(real_path) in self._listed:
                    self._n_repeats += 1
                    continue
            if kind == "folder":
                listing = self._enter(path)
                if listing.problem:
                    yield listing.problem
                stack.append((path, real_path, listing))
            elif kind == "file":
                yield FoundFile(os.fsdecode(path))
            else:
                yield _not_a_file(path)

    def _enter(self, folder: bytes) -> _Listing:
        """What is in a folder; nothing where the folder was walked before."""
        listing = _Listing()
        try:
            status = os.stat(folder)  # noqa: PTH116
            key = (status.st_dev, status.st_ino)
            if key in self._walked:
                self._n_repeats += 1
                return listing
            self._walked.add(key)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._is_passed_over(entry.name):
                        continue
                    kind = _kind_of_entry(entry)
                    if kind != "file":
                        listing.kinds[entry.name] = kind
                    listing.names.append(entry.name)
        except OSError as error:
            listing.problem = _bad_path(folder, error)
        listing.names.sort(reverse=True)
        return listing

    def _is_passed_over(self, name: bytes) -> bool:
        return not self._include_hidden and (name.startswith(b".") or name in _JUNK_NAMES)

    def _is_first(self, path: bytes) -> bool:
        """Whether a file that was named or linked was not listed yet; remembers that it is."""
        folder, name = os.path.split(path)
        real_path = os.path.join(self._real_folder(folder or b"."), name)  # noqa: PTH118
        if os.path.islink(real_path):  # noqa: PTH114
            real_path = os.path.realpath(real_path)
        digest = _digest(real_path)
        if digest in self._listed:
            self._n_repeats += 1
            return False
        folder, name = os.path.split(real_path)
        if self._walked and not self._is_passed_over(name):
            with suppress(OSError):
                status = os.stat(folder)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in self._walked:
                    self._n_repeats += 1
                    return False
        self._listed.add(digest)
        return True


def _kind(mode: int) -> _Kind:
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"


def _kind_of_entry(entry: os.DirEntry[bytes]) -> _Kind:
    """From what the folder says, without a look at the file itself where that is enough."""
    try:
        if entry.is_symlink():
            return "link"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "other"
    except OSError:
        return "file"  # gone already: reading it will say so


def _digest(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=16).digest()


def _not_a_file(path: bytes) -> FoundFile:
    problem = BadImage("not_a_file", "a pipe, socket or device, not a regular file")
    return FoundFile(os.fsdecode(path), problem)


def _bad_path(path: bytes, error: OSError | ValueError) -> FoundFile:
    return FoundFile(os.fsdecode(path), _path_problem(path, error))


def _path_problem(path: bytes, error: OSError | ValueError) -> BadImage:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(path):  # noqa: PTH114
            return BadImage("missing", "the link points to nothing")
        return BadImage("missing", "there is no such file or folder")
    if isinstance(error, ValueError):  # a NUL in the name
        return BadImage("missing", "no file can have this name")
    if isinstance(error, PermissionError):
        return BadImage("unreadable", "permission to read it is denied")
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return BadImage("unreadable", f"the system cannot read it ({reason})")


def read_path_list(stream: BinaryIO) -> Iterator[str]:
    """The paths in a list, lazily: one a line, or NUL-separated where the list holds NULs.

    Lines may end in CR LF; empty ones, and a UTF-8 byte-order mark, are passed over. Bytes that
    are not UTF-8 become surrogate escapes, so every name survives.

    Args:
        stream: Opened for bytes; `sys.stdin.buffer` will do.

    Raises:
        InputError: The list is UTF-16 text, which PowerShell writes by default.
    """
    chunk = stream.read(1 << 16)  # longer than any path, so that a NUL-separated list shows one
    if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("the list of paths is UTF-16 text", "Save it as UTF-8.")
    chunk = chunk.removeprefix(b"\xef\xbb\xbf")
    separator = b"\0" if b"\0" in chunk else b"\n"
    rest = b""
    while chunk:
        *complete, rest = (rest + chunk).split(separator)
        yield from _paths(complete, separator)
        chunk = stream.read(1 << 16)
    yield from _paths([rest], separator)


def _paths(names: list[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        path = name.removesuffix(b"\r") if separator == b"\n" else name
        if path:
            yield os.fsdecode(path)


# --- files → bytes -------------------------------------------------------------------------------

_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # as far as the system has them
    _OPEN_FLAGS |= getattr(os, _flag, 0)


def read_file(path: AnyPath, limits: Limits) -> bytes:
    """The bytes of a regular file; never blocks on a pipe or a device.

    Raises:
        BadImage: `missing`, `unreadable`, `not_a_file`, `empty`, `too_large`, `changed` or
            `out_of_memory`.
    """
    name = os.fsencode(path)
    try:
        # Before it is opened, because opening alone can do things to a device.
        _require_regular(os.stat(name))  # noqa: PTH116
        descriptor = os.open(name, _OPEN_FLAGS)
        try:
            return _read_all(descriptor, limits)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise _path_problem(name, error) from error
    except MemoryError as error:
        raise BadImage("out_of_memory", "the file does not fit into memory") from error


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise BadImage("not_a_file", f"{kind}, not a regular file")


def _read_all(descriptor: int, limits: Limits) -> bytes:
    before = os.fstat(descriptor)
    _require_regular(before)
    too_large = BadImage(
        "too_large", f"the file has more than {limits.max_file_bytes:,} bytes, the limit"
    )
    if before.st_size > limits.max_file_bytes:
        raise too_large
    chunks = []
    n_read = 0
    while chunk := os.read(descriptor, max(before.st_size - n_read, 0) + 1):
        chunks.append(chunk)
        n_read += len(chunk)
        if n_read > limits.max_file_bytes:
            raise too_large
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or (
        n_read != after.st_size
    ):
        raise BadImage("changed", "the file was written to while it was read")
    if not n_read:
        raise BadImage("empty", "the file has no bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def content_id(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex: what a picture is known by, whatever its name."""
    return hashlib.sha256(data).hexdigest()


# --- bytes → pixels ------------------------------------------------------------------------------

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


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A picture resized to what an encoder wants.

    Attributes:
        image: Shape (size_px, size_px, 3), uint8, sRGB, upright, writable.
        width_px: Of the whole picture, upright.
        height_px: The same.
        format: Pillow's name of the format.
        notes: As in `Decoded`.
    """

    image: UInt8Array
    width_px: int
    height_px: int
    format: str
    notes: tuple[str, ...]


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture in a file's bytes: the one normalisation, for every picture alike.

    - The format shows from the bytes, never from the name; only `READABLE` ones are tried.
    - Of several frames or pages, the first. A gain map (Ultra HDR) is left out.
    - Turned upright as its EXIF (or XMP) orientation says.
    - 16-bit grey values are divided by 256, not clipped at 255; as Pillow does with 16-bit
      colours. 32-bit integers up to 65,535 count as 16-bit; others, and floats, have no fixed
      white, so they are `unsupported`.
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
    picture, form, notes = _decode_rgb(data, limits)
    try:
        pixels = np.array(picture)
    except MemoryError as error:
        raise _out_of_memory() from error
    return Decoded(pixels, form, notes)


def resize_to_square(decoded: Decoded, size_px: int, interpolation: Interpolation) -> UInt8Array:
    """The picture at the encoder's input size, both sides, its aspect not kept.

    This is what EncoderMI does before it draws views. Pillow's resampling on the full picture,
    antialiased (but for `nearest`), without `draft` or `reducing_gap`: the same as torchvision's
    `Resize((size_px, size_px))` on a PIL image, to the bit.

    Returns:
        Shape (size_px, size_px, 3), uint8.
    """
    return _resized(Image.fromarray(decoded.pixels), size_px, interpolation)


def prepare(data: bytes, size_px: int, interpolation: Interpolation, limits: Limits) -> Prepared:
    """`decode` and `resize_to_square` in one, without the full-size array between.

    Raises:
        BadImage: As `decode`.
    """
    picture, form, notes = _decode_rgb(data, limits)
    try:
        image = _resized(picture, size_px, interpolation)
    except MemoryError as error:
        raise _out_of_memory() from error
    return Prepared(image, picture.width, picture.height, form, notes)


def _resized(picture: Image.Image, size_px: int, interpolation: Interpolation) -> UInt8Array:
    return np.array(picture.resize((size_px, size_px), _RESAMPLING[interpolation]))


def _decode_rgb(data: bytes, limits: Limits) -> tuple[Image.Image, str, tuple[str, ...]]:
    if not data:
        raise BadImage("empty", "the file has no bytes")
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _open_and_normalise(data, limits)
        except BadImage:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_many_pixels(limits) from error
        except MemoryError as error:
            raise _out_of_memory() from error
        except UnidentifiedImageError as error:
            raise _unidentified(data) from error
        except Exception as error:  # whatever Pillow and its plugins come up with
            raise _undecodable(data, error) from error


def _open_and_normalise(data: bytes, limits: Limits) -> tuple[Image.Image, str, tuple[str, ...]]:
    notes: list[str] = []
    with Image.open(BytesIO(data), formats=_formats()) as picture:
        _check_size(picture, limits)  # on the header alone, before any pixel is decoded
        picture.load()
        _check_size(picture, limits)  # a GIF frame can be larger than its screen
        form = "JPEG" if picture.format == "MPO" else str(picture.format)
        upright = _upright(picture, notes)
        colours, alpha = _split_alpha(upright, notes)
        rgb = _to_srgb(colours, notes)
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


@cache
def _formats() -> tuple[str, ...]:
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


def _split_alpha(picture: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """The colours without alpha, and the alpha where anything is not fully opaque."""
    if picture.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        return _from_16_bit(picture, notes)
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


def _from_16_bit(picture: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(picture)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65_535:
        raise BadImage("unsupported", "32-bit pixels have no fixed white")
    notes.append("16-bit scaled to 8-bit")
    if highest < _DARK_16_BIT:
        notes.append("nearly black: uses little of its 16-bit range")
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and np.any(values == clear):
        return grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    return grey, None


def _to_srgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    """RGB from any mode without alpha, through the embedded profile where it fits."""
    if picture.mode in ("RGBX", "YCbCr", "HSV"):
        info = picture.info
        picture = picture.convert("RGB")
        picture.info.update(info)
    mode = picture.mode
    if mode not in ("L", "RGB", "CMYK", "LAB"):
        raise BadImage("unsupported", "its kind of pixels is not read")

    profile = picture.info.get("icc_profile")
    if profile:
        transform = _profile_transform(profile, mode)
        if transform == "broken":
            notes.append("unfit colour profile ignored")
        elif transform != "srgb":
            notes.append("colour profile converted to sRGB")
            return _apply(transform, picture)
    if mode == "LAB":
        notes.append("LAB converted to sRGB")
        return _apply(_lab_transform(), picture)
    if mode == "CMYK":
        notes.append("CMYK without a profile: colours approximate")
    return picture if mode == "RGB" else picture.convert("RGB")


def _apply(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(picture, transform)
    if converted is None:
        raise ValueError("a transform that is not in place gives a picture")
    return converted


@lru_cache(maxsize=8)
def _profile_transform(
    profile: bytes, mode: str
) -> ImageCms.ImageCmsTransform | Literal["srgb", "broken"]:
    """How a profile leads to sRGB; cached, because pictures of one camera share theirs."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}[mode]:
            return "broken"
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(source))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", intent)
        if mode in ("L", "RGB"):
            probe = _probe(mode)
            converted = np.asarray(_apply(transform, probe)).astype(np.int16)
            if np.abs(converted - np.asarray(probe.convert("RGB"))).max() <= 2:
                return "srgb"
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - lcms and its wrapper, on a stranger's bytes
        return "broken"
    return transform


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")


@cache
def _probe(mode: str) -> Image.Image:
    """Colours all over the space: every grey, or a lattice of nine steps a channel."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return Image.fromarray(lattice.reshape(1, -1, 3))


def _too_many_pixels(limits: Limits) -> BadImage:
    return BadImage(
        "too_many_pixels", f"the picture has more than {limits.max_pixels:,} pixels, the limit"
    )


def _out_of_memory() -> BadImage:
    return BadImage("out_of_memory", "decoding it needs more memory than there is")


def _undecodable(data: bytes, error: Exception) -> BadImage:
    kind = _kind_by_signature(data)[0]
    if kind is None:  # Pillow is easily tempted: any text that starts with BM may be a bitmap
        return _unidentified(data)
    if isinstance(error, EOFError) or "truncat" in str(error).lower():
        return BadImage("truncated", f"the {kind} is cut off: its data ends too early")
    if str(error).startswith("Unsupported"):
        return BadImage("unsupported", f"the {kind} is of an unusual kind, or damaged")
    return BadImage("corrupt", f"the {kind} is damaged: its data cannot be decoded")


def _unidentified(data: bytes) -> BadImage:
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
        return ("HEIF", "HEIF" in _formats()) if is_heif else (None, False)
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
