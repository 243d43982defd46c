"""Pictures in a folder of this machine: `folder:PATH`; nothing is asked of any network.

Where the folder has subfolders, a keyword gives the pictures below those that are named like it,
whatever the case and whether a space, `_` or `-` stands between words: `aquarium_fish` is found in
`Aquarium Fish`. Where it has none, the pictures are dealt out: of three keywords the first has the
first, the fourth, the seventh, and so on.

Every file counts as a picture, whatever its ending: what is none shows when it is decoded. Hidden
files, and the litter of systems and tools, are passed over. When a picture was made is read from
its EXIF data; when it was put online, and under which licence, no folder says.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote_from_bytes

from clipaudit.errors import SourceError
from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.licenses import one_line
from clipaudit_crawlers.sources.local import existing_path, reason, spelling
from clipaudit_crawlers.sources.services import refuse_dates, refuse_licenses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from PIL import Image

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

logger = logging.getLogger(__name__)

_LITTER = frozenset(
    ("@eaDir", "node_modules", "System Volume Information", "$RECYCLE.BIN", "__MACOSX")
) | frozenset(("Thumbs.db", "desktop.ini"))

_WITH_EXIF = ("JPEG", "TIFF", "PNG", "WEBP", "AVIF")
_EXIF_IFD = 0x8769
_DATE_TIME_ORIGINAL = 0x9003
_OFFSET_TIME_ORIGINAL = 0x9011
_EXIF_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d:\d\d:\d\d))?")
_EXIF_OFFSET = re.compile(r"[+-]\d\d:\d\d")


class Folder:
    """An `ImageSource` that needs no network."""

    name: ClassVar[str] = "folder"

    def __init__(self, path: Path) -> None:
        """Of what lies below an absolute path.

        Raises:
            SourceError: It is no folder, cannot be read, or holds nothing.
        """
        self._path = path
        try:
            entries = _entries(path)
        except OSError as error:
            raise SourceError(
                f"the folder {str(path)!r} cannot be read: {reason(error)}",
                "Name a folder of pictures; a file of addresses is urls:FILE.",
            ) from error
        if not entries:
            raise SourceError(
                f"the folder {str(path)!r} holds no files", "Name a folder of pictures."
            )
        self._subfolders = [entry.name for entry in entries if _is_folder(entry)]
        self._is_warned = False

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title="a folder on this machine", page_size=1_000_000, typical_bytes=0, is_local=True
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`; the argument is the folder."""
        return cls(existing_path(cls.name, argument, "FOLDER"))

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`; without subfolders, a search gives its share of all."""
        refuse_dates("a folder", query)
        refuse_licenses("a folder", query)
        if not self._subfolders:
            dealt = islice(_files([self._path]), query.place, None, query.n_places)
            return islice(self._records(dealt), query.limit)
        wanted = spelling(query.keyword)
        named = [self._path / name for name in self._subfolders if spelling(name) == wanted]
        if not named and not self._is_warned:
            self._is_warned = True
            there = ", ".join(repr(one_line(name, 40) or "") for name in self._subfolders[:10])
            logger.warning(
                "%s has no subfolder for the keyword %r; it has %s%s",
                self._path,
                query.keyword,
                there,
                ", …" if len(self._subfolders) > 10 else "",
            )
        return islice(self._records(_files(named)), query.limit)

    def _records(self, files: Iterator[tuple[Path, os.stat_result]]) -> Iterator[ImageRecord]:
        for path, status in files:
            relative = os.path.relpath(os.fsencode(path), os.fsencode(self._path))
            yield ImageRecord(
                source=self.name,
                # Quoted like a URL, for names that are no text.
                source_id=quote_from_bytes(relative.replace(os.fsencode(os.sep), b"/")),
                image_url=path.as_uri(),
                title=one_line(path.stem),
                taken=_taken(path),
                size_bytes=status.st_size,
            )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, but for what is hidden or litter."""
    with os.scandir(folder) as entries:
        shown = [one for one in entries if not one.name.startswith(".") and one.name not in _LITTER]
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _files(folders: list[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Every regular file below the folders, by name; links are followed, none in a circle."""
    entered: set[tuple[int, int]] = set()
    waiting = [*reversed(folders)]
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status
            elif stat.S_ISDIR(status.st_mode):
                key = (status.st_dev, status.st_ino)
                if key not in entered:
                    entered.add(key)
                    waiting += [path / entry.name for entry in reversed(_entries(path))]
        except OSError as error:
            logger.warning("%s cannot be read: %s", path, reason(error))


def _taken(path: Path) -> str | None:
    """When a picture was made, as its EXIF data say: ISO 8601, without what they leave out."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow finds odd in its metadata
            with Image.open(path, formats=_formats()) as picture:
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


def _moment(said: Any, offset: Any) -> str | None:
    """A time as EXIF writes it, if it is one.

    >>> _moment("2019:07:14 12:34:56", "+02:00")
    '2019-07-14T12:34:56+02:00'
    """
    match = _EXIF_TIME.match(said) if isinstance(said, str) else None
    if match is None:
        return None
    year, month, day, clock = match.groups()
    text = f"{year}-{month}-{day}"
    if clock:
        text += f"T{clock}"
        if isinstance(offset, str) and _EXIF_OFFSET.fullmatch(offset.rstrip("\0 ")):
            text += offset.rstrip("\0 ")
    try:
        datetime.fromisoformat(text)  # zeros, spaces, the thirty-first of June
    except ValueError:
        return None
    return text
