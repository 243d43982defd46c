"""Pictures in a folder of this machine: `folder:PATH`; nothing is asked of any network.

Where the folder has subfolders, a keyword gives the pictures below those that are named like it,
whatever the case and whether a space, `_` or `-` stands between words: `aquarium_fish` is found in
`Aquarium Fish`. Where it has none, the pictures are dealt out: of three keywords the first has the
first, the fourth, the seventh, and so on.

Files are found as everywhere else, see `find_images`: every file counts, whatever its ending, but
for hidden ones and the litter of systems and tools. When a picture was made is read from its EXIF
data; when it was put online, and under which licence, no folder says.
"""

from __future__ import annotations

import logging
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import quote_from_bytes

from clipaudit_crawlers.base import ImageRecord, SourceFacts
from clipaudit_crawlers.licenses import one_line
from clipaudit_crawlers.sources.services import refuse_unknown

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.keywords import spelling
from clipaudit.evaluation_sets.sources import local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from clipaudit_crawlers.base import Query
    from clipaudit_crawlers.fetch import Web

    from clipaudit.pictures.finding import FoundFile

logger = logging.getLogger(__name__)


class PictureFolder:
    """An `ImageSource` that needs no network."""

    name: ClassVar[str] = "folder"

    def __init__(self, path: Path) -> None:
        """What lies below an absolute path, or in a tar archive there.

        Raises:
            InputError: It is neither, cannot be read, or holds nothing.
        """
        from clipaudit.pictures.archives import is_named_as_archive
        from clipaudit.pictures.finding import find_images

        if not path.is_dir() and not (path.is_file() and is_named_as_archive(path.name)):
            raise InputError(
                f"the folder {str(path)!r} cannot be read: not a directory",
                "Name a folder of pictures; a file of addresses is urls:FILE.",
            )
        first = next(find_images([path]), None)
        if first is not None and first.path == str(path) and first.problem:
            reason = first.problem.explanation.removeprefix("the folder ")
            is_empty = first.problem.reason == "empty"
            raise InputError(
                f"the folder {str(path)!r} {'' if is_empty else 'cannot be read: '}{reason}",
                "Name a folder of pictures.",
            )
        self._path = path
        self._subfolders = _subfolders(path)
        self._is_warned = False

    @classmethod
    def facts(cls, environ: Mapping[str, str]) -> SourceFacts:
        """See `ImageSource.facts`."""
        return SourceFacts(
            title="a folder on this machine",
            page_size=1_000_000,
            typical_bytes=0,
            is_local=True,
            is_public=False,
        )

    @classmethod
    def open(cls, web: Web, environ: Mapping[str, str], argument: str = "") -> Self:
        """See `ImageSource.open`; the argument is the folder."""
        return cls(local_path(cls.name, argument, "FOLDER"))

    def search(self, query: Query) -> Iterator[ImageRecord]:
        """See `ImageSource.search`; without subfolders, a search gives its share of all."""
        refuse_unknown(self.facts({}), query)
        if not self._subfolders:
            share = islice(_files([self._path]), query.place, None, query.n_places)
            return islice(self._records(share), query.limit)
        wanted = spelling(query.keyword)
        named = [self._path / name for name in self._subfolders if spelling(name) == wanted]
        if not named and not self._is_warned:
            self._is_warned = True
            names = ", ".join(repr(one_line(name, 40) or "") for name in self._subfolders[:10])
            logger.warning(
                "%s has no subfolder for the keyword %r; it has %s%s",
                self._path,
                query.keyword,
                names,
                ", …" if len(self._subfolders) > 10 else "",
            )
        return islice(self._records(_files(named)), query.limit)

    def _records(self, files: Iterable[tuple[FoundFile, int]]) -> Iterator[ImageRecord]:
        from clipaudit.evaluation_sets.exposure_dates import exposure_date

        for found, n_bytes in files:
            path = Path(found.path)
            relative = os.path.relpath(os.fsencode(path), os.fsencode(self._path))
            yield ImageRecord(
                source=self.name,
                # Quoted like a URL, for names that are no text.
                source_id=quote_from_bytes(relative.replace(os.fsencode(os.sep), b"/")),
                image_url=path.as_uri(),
                title=one_line(path.stem),
                taken=exposure_date(path, found.place),
                size_bytes=n_bytes,
            )


def _subfolders(folder: Path) -> list[str]:
    """The names of a folder's own folders; none where no picture lies in any of them."""
    from clipaudit.pictures.finding import find_images

    if not folder.is_dir():
        return []
    if all(Path(found.path).parent == folder for found in find_images([folder])):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_subfolder(entry))


def _is_subfolder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # links in a circle
        return False


def _files(folders: list[Path]) -> Iterator[tuple[FoundFile, int]]:
    """Every regular file below the folders, by name, and its size in bytes."""
    from clipaudit.pictures.finding import find_images

    for found in find_images(folders):
        path = Path(found.path)
        if found.problem:
            logger.warning("%s is passed over: %s", path, found.problem.explanation)
            continue
        try:
            n_bytes = found.place.n_bytes if found.place else path.stat().st_size
        except OSError as error:
            logger.warning("%s is passed over: %s", path, (error.strerror or str(error)).lower())
        else:
            yield found, n_bytes
