"""Shadow data sets: pictures whose use in training we decide ourselves.

A data set is a folder, a zip file, or a name that torchvision can fetch. Its pictures go through
the one normalisation of `clipaudit.pictures.decoding`, and are known by the hash of their content.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections import deque
from collections.abc import Mapping
from contextlib import closing, redirect_stdout
from http.client import HTTPException
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from clipaudit.errors import InputError, SourceError
from clipaudit.files import make_folder
from clipaudit.pictures.base import BadImage, Frame, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.finding import FoundFile, find_images
from clipaudit.pictures.hashing import PLAIN_NOTES, perceptual_hash
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future

    from clipaudit.pictures.preparing import Prepared

UInt8Array = npt.NDArray[np.uint8]

NAMED = ("cifar10", "cifar100", "stl10", "stl10-labelled", "tiny-imagenet")
"""Data sets that are fetched by name; `stl10` is its 100,000 pictures without labels."""

_TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
_LIMITS = Limits()
_AHEAD = 32


Captions = Mapping[str, tuple[str, ...]]
"""Captions of pictures by content hash, one or more each."""


class ShadowData(Protocol):
    """A data set that can be split and read."""

    @property
    def name(self) -> str:
        """Name on cards."""

    @property
    def ids(self) -> Sequence[str]:
        """Content hash of each file, or of each picture's pixels, in hex; none twice."""

    @property
    def root(self) -> Path | None:
        """The folder or zip file that its files are in; None where it has none."""

    def perceptual_hashes(self, pictures: Iterable[str]) -> Generator[int | BadImage, None, None]:
        """Perceptual hash of each picture by its content hash, or why it cannot be decoded."""

    def labels(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The class of each picture; None where the data set has no classes."""

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        """Pictures by content hash: (n, 3, size_px, size_px), RGB."""

    def file(self, picture: str) -> tuple[str, bytes] | None:
        """Path and bytes of the file of a picture; None where the data set has no files."""


def open_data(
    source: str, name: str | None, folder: Path, n_workers: int | None = None
) -> ShadowData:
    """A data set by name or by path.

    Args:
        source: A folder, a zip file, or one of `NAMED`.
        name: What cards shall call it; None takes the name, or that of the file.
        folder: Folder for downloads.
        n_workers: Processes that decode, as in `DecoderPool`; None takes one a core, eight at most.

    Raises:
        SourceError: There is no such data set, it holds no files of pictures, or it cannot be
            downloaded.
    """
    path = Path(source)
    workers = min(8, os.cpu_count() or 1) if n_workers is None else n_workers
    if path.is_dir():
        return _Files(name or path.resolve().name, path, _folder_entries(path), workers)
    if path.is_file():
        return _Files(name or path.stem, path, _zip_entries(path), workers)
    if source == "tiny-imagenet":
        archive = _download_tiny_imagenet(folder)
        entries = [entry for entry in _zip_entries(archive) if "/train/" in entry[0]]
        return _Files(name or source, archive, entries, workers)
    if source in NAMED:
        return _Arrays(name or source, *_from_torchvision(source, folder))
    raise SourceError(
        f"there is no data set {source}",
        f"Pass a folder, a zip file, or one of {', '.join(NAMED)}.",
    )


def read_captions(
    data: ShadowData, captions_of: Callable[[str, bytes], tuple[str, ...]]
) -> Captions:
    """The captions of all pictures that have some.

    Args:
        data: A data set of files.
        captions_of: Path and bytes of a file → its captions.

    Raises:
        InputError: No picture has one.
    """
    files = {picture: data.file(picture) for picture in data.ids}
    captions = {picture: captions_of(*file) for picture, file in files.items() if file}
    found = {picture: texts for picture, texts in captions.items() if texts}
    if not found:
        raise InputError(
            f"no picture of {data.name} has a caption",
            "Say where the captions are, such as --captions names, or put a metadata.csv with "
            "file_name and text beside the pictures.",
        )
    return found


class _Entry(Protocol):
    def __call__(self) -> bytes: ...


class _Files:
    """Pictures in files: those of a folder, or of a zip file."""

    def __init__(
        self, name: str, root: Path, entries: Sequence[tuple[str, _Entry]], n_workers: int
    ) -> None:
        self.name = name
        self.root: Path | None = root
        self._n_workers = n_workers
        self._by_id: dict[str, _Entry] = {}
        self._path_by_id: dict[str, str] = {}
        self._label_by_id: dict[str, str] = {}
        self._hash_by_id: dict[str, int | BadImage] = {}
        for path, entry in entries:
            try:
                picture = content_id(entry())
            except BadImage:
                continue  # an unreadable file is no picture of the set
            self._by_id.setdefault(picture, entry)
            self._path_by_id.setdefault(picture, path)
            self._label_by_id.setdefault(picture, _class_of(path))
        if not self._by_id:
            raise SourceError(
                f"{name} holds no pictures", "Pass a folder or a zip file of JPEG or PNG files."
            )

    @property
    def ids(self) -> Sequence[str]:
        return tuple(self._by_id)

    def perceptual_hashes(self, pictures: Iterable[str]) -> Generator[int | BadImage, None, None]:
        asked = dict.fromkeys(pictures)
        missing = [picture for picture in asked if picture not in self._hash_by_id]
        with closing(self._decoded(missing, Wanted())) as decoded:
            for picture in asked:
                if picture not in self._hash_by_id:
                    self._hash_by_id[picture] = self._hash(*next(decoded))
                yield self._hash_by_id[picture]

    def _hash(self, picture: str, prepared: Prepared | BadImage) -> int | BadImage:
        if isinstance(prepared, BadImage):
            return prepared
        if {*PLAIN_NOTES}.isdisjoint(prepared.notes):
            return prepared.facts.phash
        return perceptual_hash(decode(self._by_id[picture](), _LIMITS).pixels)  # not its digest

    def labels(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """Folders that the pictures lie in; None if all lie in a single one."""
        if len(set(self._label_by_id.values())) < 2:
            return None
        return tuple(self._label_by_id[picture] for picture in ids)

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        pixels = np.empty((len(ids), 3, size_px, size_px), dtype=np.uint8)
        frame = Frame(size_px, "bicubic")
        for row, (picture, prepared) in enumerate(self._decoded(ids, Wanted((frame,)))):
            if isinstance(prepared, BadImage):
                raise InputError(
                    f"a picture of {self.name} cannot be read ({prepared}); its SHA-256 is "
                    f"{picture}",
                    "Put it back as it was, or start a new run with another --output.",
                ) from prepared
            pixels[row] = prepared.images[frame].transpose(2, 0, 1)
        return pixels

    def file(self, picture: str) -> tuple[str, bytes] | None:
        return self._path_by_id[picture], self._by_id[picture]()

    def _decoded(
        self, pictures: Sequence[str], wanted: Wanted
    ) -> Generator[tuple[str, Prepared | BadImage], None, None]:
        """What is wanted of pictures, in their order; decoded ahead, in other processes."""
        waiting: deque[tuple[str, Future[Prepared] | BadImage]] = deque()

        def first() -> tuple[str, Prepared | BadImage]:
            picture, pending = waiting.popleft()
            try:
                return picture, pending if isinstance(pending, BadImage) else pending.result()
            except BadImage as problem:
                return picture, problem

        with DecoderPool(min(self._n_workers, len(pictures)), _LIMITS) as pool:
            for picture in pictures:
                try:
                    waiting.append((picture, pool.submit(self._by_id[picture](), wanted)))
                except BadImage as problem:
                    waiting.append((picture, problem))
                if len(waiting) > _AHEAD:
                    yield first()
            while waiting:
                yield first()


def _class_of(path: str) -> str:
    """The folder that a picture lies in, or the one above where that is just called `images`."""
    folder = PurePath(path).parent
    return (folder.parent if folder.name == "images" else folder).name


class _Arrays:
    """Pictures that a library gives as one array, (n, height, width, 3), uint8."""

    root: Path | None = None

    def __init__(self, name: str, pixels: UInt8Array, labels: Sequence[str] | None) -> None:
        self.name = name
        self._pixels = pixels
        self._labels = labels
        self._by_id = {
            hashlib.sha256(picture.tobytes()).hexdigest(): row for row, picture in enumerate(pixels)
        }

    @property
    def ids(self) -> Sequence[str]:
        return tuple(self._by_id)

    def perceptual_hashes(self, pictures: Iterable[str]) -> Generator[int | BadImage, None, None]:
        for picture in pictures:
            yield perceptual_hash(self._pixels[self._by_id[picture]])

    def labels(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        if self._labels is None:
            return None
        return tuple(self._labels[self._by_id[picture]] for picture in ids)

    def pixels(self, ids: Sequence[str], size_px: int) -> UInt8Array:
        from PIL import Image

        rows = [self._pixels[self._by_id[picture]] for picture in ids]
        side = (size_px, size_px)
        if rows and rows[0].shape[:2] != side:
            bicubic = Image.Resampling.BICUBIC
            rows = [np.asarray(Image.fromarray(row).resize(side, bicubic)) for row in rows]
        return np.stack(rows).transpose(0, 3, 1, 2).copy()

    def file(self, picture: str) -> tuple[str, bytes] | None:
        return None


def _folder_entries(folder: Path) -> list[tuple[str, _Entry]]:
    def entry(file: FoundFile) -> _Entry:
        return lambda: read_file(file.path, _LIMITS, file.place)

    found = find_images([folder])
    pictures = [file for file in found if Path(file.path).suffix.lower() in _ENDINGS]
    return [(file.path, entry(file)) for file in pictures]


def _zip_entries(path: Path) -> list[tuple[str, _Entry]]:
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
            if member.file_size > _LIMITS.most_file_bytes:
                raise BadImage("too_large", f"{member.file_size} bytes")
            if not member.file_size:
                raise BadImage("empty", "the file has no bytes")
            try:
                return archive.read(member)
            except Exception as error:  # zipfile's, zlib's, lzma's, …
                raise BadImage("unreadable", "its entry in the zip file is broken") from error

        return read

    # As a folder is walked, so that the first of several copies is the same.
    members = sorted(archive.infolist(), key=lambda member: member.filename.split("/"))
    return [(member.filename, entry(member)) for member in members if _is_named_as_picture(member)]


def _is_named_as_picture(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    is_litter = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in _ENDINGS and not is_litter and not member.is_dir()


def _from_torchvision(name: str, folder: Path) -> tuple[UInt8Array, list[str] | None]:
    """Pixels, shape (n, height, width, 3), and the class of each picture, if it is known."""
    from torchvision import datasets

    make_folder(folder)
    place = str(folder)
    try:
        with redirect_stdout(sys.stderr):  # torchvision prints
            if name == "stl10":
                return _channels_last(datasets.STL10(place, "unlabeled", download=True).data), None
            if name == "stl10-labelled":
                labelled = datasets.STL10(place, "train", download=True)
                classes = [labelled.classes[label] for label in labelled.labels]
                return _channels_last(labelled.data), classes
            kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
            found = kind(place, train=True, download=True)
            return np.asarray(found.data), [found.classes[label] for label in found.targets]
    except (OSError, HTTPException, RuntimeError) as error:
        raise _cannot_download(name, folder, error) from error


def _channels_last(pixels: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


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
        "Check the network, or pass a folder or zip file that holds its pictures: clipaudit train "
        f"PATH --data-name {name}, clipaudit lab run … --data {name}=PATH",
    )
