"""What `--captions` says → where captions come from."""

from __future__ import annotations

import logging
import os
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.embedded import EmbeddedCaptions
from clipaudit.captions.names import NameCaptions
from clipaudit.captions.rows import CAPTION_COLUMNS
from clipaudit.captions.sidecars import ENDINGS, SidecarCaptions
from clipaudit.captions.tables import TableCaptions
from clipaudit.errors import InputError, UsageError, did_you_mean
from clipaudit.files import expand_home, is_link
from clipaudit.pictures.addresses import is_address
from clipaudit.pictures.finding import find_images
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipaudit.captions.base import CaptionSource
    from clipaudit.pictures.base import AnyPath

logger = logging.getLogger(__name__)

CHOICES = ("auto", "none", "sidecar", "embedded", "names", "folder-names")
"""What may stand in the place of a file."""

_METADATA = tuple(
    name + ending
    for name in ("metadata", "manifest", "captions")
    for ending in (".jsonl", ".csv", ".tsv", ".parquet")
)
"""What caption files are called in a folder of pictures, the likeliest first."""

_MANIFESTS = ("manifest.jsonl", "manifest.parquet")
_N_TRIED = 200
_MOST_FOLDERS = 1000


def open_captions(choice: str, paths: Sequence[AnyPath]) -> CaptionSource | None:
    """Where the captions of pictures come from; None where there are none.

    Args:
        choice: One of `CHOICES`, or the path of a caption file. `auto` takes the caption files in
            the folders that are scored, else sidecar files, where there are some.
        paths: Files and folders that are scored.

    Raises:
        UsageError: It is none of `CHOICES`, and no file.
        InputError: The file cannot be used.
    """
    match choice:
        case "none":
            return None
        case "auto":
            return find_beside(paths, SidecarCaptions)
        case "sidecar":
            return SidecarCaptions()
        case "embedded":
            return EmbeddedCaptions()
        case "names" | "folder-names":
            return NameCaptions(with_folder=choice == "folder-names")
    path = expand_home(choice)
    if not path.exists() and not path.suffix and os.sep not in choice:
        otherwise = f"Say one of {', '.join(CHOICES)} or lookup:LIST, or name a caption file."
        raise UsageError(
            f"--captions must be {', '.join(CHOICES)} or a file, got {choice!r}",
            did_you_mean(choice, CHOICES, otherwise),
        )
    return TableCaptions(path, _pictures_in(paths))


class SeveralCaptions:
    """A `CaptionSource` that asks others, one after the other, until one has a caption."""

    def __init__(self, sources: Sequence[CaptionSource]) -> None:
        self._sources = sources

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        facts = [source.facts for source in self._sources]
        names = dict.fromkeys(fact.source for fact in facts)
        return CaptionFacts(", ".join(names), tuple(note for fact in facts for note in fact.notes))

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`."""
        found = (source.captions_of(path, data) for source in self._sources)
        return next(filter(None, found), ())


def _pictures_in(paths: Sequence[AnyPath]) -> Callable[[], Iterable[str]]:
    """All files under some paths, once they are asked for."""

    @cache
    def pictures() -> tuple[str, ...]:
        return tuple(found.path for found in find_images(paths) if found.problem is None)

    return pictures


def find_beside(
    paths: Sequence[AnyPath],
    open_sidecars: Callable[[], CaptionSource],
    columns: tuple[str, ...] = CAPTION_COLUMNS,
) -> CaptionSource | None:
    """What files in the folders that are scored say of pictures; None where there are none.

    Args:
        paths: Files and folders that are scored.
        open_sidecars: Reads files beside each picture, which count where no folder has a table.
        columns: What the column of a table may be called.
    """
    pictures = _pictures_in(paths)
    tables: list[CaptionSource] = []
    for files in _metadata_files(paths):
        for file in files:
            try:
                tables.append(TableCaptions(file, pictures, columns))
                break
            except InputError as error:
                # Many a metadata.csv has labels and no captions: what nobody named is no error.
                logger.info("%s is not used: %s", shown(str(file)), error)
    if tables:
        return tables[0] if len(tables) == 1 else SeveralCaptions(tables)
    found = (file.path for file in find_images(paths) if file.problem is None)
    trial = open_sidecars()  # whose counts are not those of the run
    is_any = any(
        trial.captions_of(path, b"")
        for path in islice(found, _N_TRIED)
        if not path.lower().endswith(ENDINGS)
    )
    return open_sidecars() if is_any else None


def _metadata_files(paths: Sequence[AnyPath]) -> Iterator[list[Path]]:
    """What may be the caption file of each scored folder, of those in it, and a manifest above."""
    names = (path for path in map(os.fsdecode, paths) if "\0" not in path and not is_address(path))
    folders = [*dict.fromkeys(map(_folder_of, names))]
    seen: set[Path] = set()
    for folder in folders:
        for place in (folder, *islice(_subfolders(folder), _MOST_FOLDERS)):
            yield _files_in(place, _METADATA, seen)
    for folder in folders:
        yield _files_in(folder.absolute().parent, _MANIFESTS, seen)


def _folder_of(path: str) -> Path:
    place = Path(path)
    return place if place.is_dir() else place.parent


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:  # whoever reads the pictures says so
        return []
    return [folder / name for name in names if not name.startswith(".")]


def _files_in(folder: Path, names: Sequence[str], seen: set[Path]) -> list[Path]:
    """Those of some files that are in a folder, unless it came before."""
    real = folder.resolve()
    if real in seen:
        return []
    seen.add(real)
    paths = (folder / name for name in names)
    # A link may come with a folder from a stranger, and lead to anything of the user's.
    return [path for path in paths if path.is_file() and not is_link(path)]
