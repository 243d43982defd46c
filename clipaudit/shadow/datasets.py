"""Shadow data sets: pictures whose use in training we decide ourselves.

A data set is a folder, a zip file, or a name that torchvision can fetch. Its pictures go through
the one normalisation of `clipaudit.images`, and are known by the hash of their content.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import zipfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from clipaudit.errors import InputError, SourceError
from clipaudit.files import make_folder
from clipaudit.images import (
    BadImage,
    Limits,
    content_id,
    decode,
    find_images,
    read_file,
    resize_to_square,
)
from clipaudit.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

UInt8Array = npt.NDArray[np.uint8]

NAMED = ("cifar10", "cifar100", "stl10", "tiny-imagenet")
"""Data sets that are fetched by name."""

_TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Split:
    """Which pictures the shadow encoder sees, by content hash; no hash is in both.

    Attributes:
        members: SHA-256 in hex, in an order that the seed decides.
        nonmembers: Likewise.
    """

    members: tuple[str, ...]
    nonmembers: tuple[str, ...]


class ShadowData(Protocol):
    """A data set that can be split and read."""

    @property
    def name(self) -> str:
        """What cards call it."""

    @property
    def ids(self) -> Sequence[str]:
        """Content hash of each file, or of each picture's pixels, in hex; none twice."""

    def is_picture(self, one: str) -> bool:
        """Whether the file with this content hash can be decoded."""

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        """Pictures by content hash: (n, 3, size_px, size_px), RGB."""


def open_data(source: str, name: str | None, folder: Path) -> ShadowData:
    """A data set by name or by path.

    Args:
        source: A folder, a zip file, or one of `NAMED`.
        name: What cards shall call it; None takes the name, or that of the file.
        folder: Where downloads are kept.

    Raises:
        SourceError: There is no such data set, it holds no files of pictures, or it cannot be
            downloaded.
    """
    path = Path(source)
    if path.is_dir():
        return _Files(name or path.resolve().name, _folder_entries(path))
    if path.is_file():
        return _Files(name or path.stem, _zip_entries(path))
    if source == "tiny-imagenet":
        return _Files(name or source, _zip_entries(_download_tiny_imagenet(folder)))
    if source in NAMED:
        return _Arrays(name or source, _torchvision_pixels(source, folder))
    raise SourceError(
        f"there is no data set {source}",
        f"Pass a folder, a zip file, or one of {', '.join(NAMED)}.",
    )


def split(
    data: ShadowData, n_members: int, n_nonmembers: int, seed: int, without: frozenset[str]
) -> Split:
    """Members and non-members drawn at random from one data set.

    A file that cannot be decoded is passed over; exact copies of a file count once.

    Args:
        data: To draw from.
        n_members: How many pictures pre-train the encoder.
        n_nonmembers: How many do not.
        seed: Decides the draw, together with the content and the name of the data set; names and
            order of its files do not.
        without: Content hashes that must be in neither.

    Raises:
        InputError: The data set is too small.
    """
    pool = sorted(set(data.ids) - without)
    order = stream(seed, data.name, "split").permutation(len(pool))
    n_wanted = n_members + n_nonmembers
    chosen: list[str] = []
    n_unreadable = 0
    if len(pool) >= n_wanted:
        for position in order:
            if len(chosen) == n_wanted:
                break
            if data.is_picture(pool[position]):
                chosen.append(pool[position])
            else:
                n_unreadable += 1
    if len(chosen) < n_wanted:
        n_left = len(pool) - n_unreadable
        raise InputError(
            f"{data.name} has {n_left} different pictures that may be used, and "
            f"{n_members} members and {n_nonmembers} non-members were asked for",
            f"Lower --members and --nonmembers to {n_left} together, or add pictures.",
        )
    if n_unreadable:
        logger.warning("%d files of %s cannot be decoded, passed over", n_unreadable, data.name)
    return Split(tuple(chosen[:n_members]), tuple(chosen[n_members:]))


class _Entry(Protocol):
    def __call__(self) -> bytes: ...


class _Files:
    """Pictures in files: those of a folder, or of a zip file."""

    def __init__(self, name: str, entries: Sequence[_Entry]) -> None:
        self.name = name
        self._by_id: dict[str, _Entry] = {}
        for entry in entries:
            try:
                self._by_id.setdefault(content_id(entry()), entry)
            except BadImage:
                continue  # an unreadable file is no picture of the set
        if not self._by_id:
            raise SourceError(
                f"{name} holds no pictures", "Pass a folder or a zip file of JPEG or PNG files."
            )

    @property
    def ids(self) -> Sequence[str]:
        return tuple(self._by_id)

    def is_picture(self, one: str) -> bool:
        try:
            decode(self._by_id[one](), _LIMITS)
        except BadImage:
            return False
        return True

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        pixels = np.empty((len(ids), 3, size_px, size_px), dtype=np.uint8)
        for row, one in enumerate(ids):
            try:
                decoded = decode(self._by_id[one](), _LIMITS)
            except BadImage as problem:
                raise InputError(
                    f"a picture of {self.name} cannot be read ({problem}); its SHA-256 is {one}",
                    "Put it back as it was, or start a new run with another --output.",
                ) from problem
            pixels[row] = resize_to_square(decoded, size_px, "bicubic").transpose(2, 0, 1)
        return pixels


class _Arrays:
    """Pictures that a library gives as one array, (n, height, width, 3), uint8."""

    def __init__(self, name: str, pixels: UInt8Array) -> None:
        self.name = name
        self._pixels = pixels
        self._by_id = {
            hashlib.sha256(picture.tobytes()).hexdigest(): row for row, picture in enumerate(pixels)
        }

    @property
    def ids(self) -> Sequence[str]:
        return tuple(self._by_id)

    def is_picture(self, one: str) -> bool:
        return one in self._by_id

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        from PIL import Image

        rows = [self._pixels[self._by_id[one]] for one in ids]
        side = (size_px, size_px)
        if rows and rows[0].shape[:2] != side:
            bicubic = Image.Resampling.BICUBIC
            rows = [np.asarray(Image.fromarray(row).resize(side, bicubic)) for row in rows]
        return np.stack(rows).transpose(0, 3, 1, 2).copy()


def _folder_entries(folder: Path) -> list[_Entry]:
    def entry(path: str) -> _Entry:
        return lambda: read_file(path, _LIMITS)

    found = find_images([folder])
    return [entry(one.path) for one in found if Path(one.path).suffix.lower() in _ENDINGS]


def _zip_entries(path: Path) -> list[_Entry]:
    """Readers of the pictures in a zip file; nothing is ever extracted."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # whatever zipfile comes up with on a stranger's bytes
        raise SourceError(
            f"{path} is not a zip file that can be read: {error}",
            "Pass a folder or a zip file of pictures.",
        ) from error

    def entry(member: zipfile.ZipInfo) -> _Entry:
        def read() -> bytes:
            if member.file_size > _LIMITS.max_file_bytes:
                raise BadImage("too_large", f"{member.file_size} bytes")
            try:
                return archive.read(member)
            except Exception as error:  # zipfile's, zlib's, lzma's, …
                raise BadImage("unreadable", "its entry in the zip file is broken") from error

        return read

    members = sorted(archive.infolist(), key=lambda member: member.filename)
    return [entry(one) for one in members if _is_named_as_picture(one)]


def _is_named_as_picture(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    is_litter = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in _ENDINGS and not is_litter and not member.is_dir()


def _torchvision_pixels(name: str, folder: Path) -> UInt8Array:
    from torchvision import datasets

    make_folder(folder)
    try:
        with redirect_stdout(sys.stderr):  # torchvision prints
            if name == "stl10":
                unlabelled = datasets.STL10(str(folder), split="unlabeled", download=True)
                return np.ascontiguousarray(unlabelled.data.transpose(0, 2, 3, 1))
            kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
            return np.asarray(kind(str(folder), train=True, download=True).data)
    except (OSError, HTTPException, RuntimeError) as error:
        raise _cannot_download(name, folder, error) from error


def _download_tiny_imagenet(folder: Path) -> Path:
    from torchvision.datasets.utils import download_url

    make_folder(folder)
    file = folder / "tiny-imagenet-200.zip"
    try:
        with redirect_stdout(sys.stderr):  # torchvision prints
            download_url(_TINY_IMAGENET_URL, str(folder), file.name, _TINY_IMAGENET_MD5)
    except (OSError, HTTPException, RuntimeError) as error:
        raise _cannot_download("tiny-imagenet", folder, error) from error
    return file


def _cannot_download(name: str, folder: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{name} is not in {folder} and cannot be downloaded: {error}",
        "Check the network, or pass a folder or zip file that holds its pictures: "
        f"clipaudit train PATH --data-name {name}",
    )
