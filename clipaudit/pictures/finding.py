"""Paths → files: what is under the given paths, and lists of paths."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import nsmallest
from operator import itemgetter
from typing import BinaryIO, Literal

from clipaudit.errors import InputError
from clipaudit.pictures import addresses, archives, remote
from clipaudit.pictures.base import AnyPath, BadImage
from clipaudit.pictures.places import Place
from clipaudit.pictures.reading import archived_place, opened, path_problem
from clipaudit.seeding import stream

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

_OUTSIDE = BadImage(
    "outside", "the link leads out of the folder that was named; --follow-links goes after it"
)

_NO_FILES = BadImage("empty", "the folder holds no files")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file that was named or met in a folder.

    Attributes:
        path: Path as given, or the folder as given and the names below it; undecodable bytes as
            surrogate escapes, so `os.fsencode` gives the name back.
        problem: None for a regular file; else why it is not even tried.
        place: Where it lies in an archive; None for a file of its own.
    """

    path: str
    problem: BadImage | None = None
    place: Place | None = None


def find_images(
    paths: Iterable[AnyPath],
    *,
    include_hidden: bool = False,
    follow_links: bool = True,
    within: Sequence[AnyPath] = (),
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[FoundFile]:
    """Every file under the given paths, lazily: folders recursively, by name within each.

    Every regular file is listed, whatever its ending: what is no picture shows when it is decoded.
    Links are followed, those that lead out of a folder only where `follow_links`: otherwise they
    are listed as `outside`. What was named itself is followed in any case. A folder or a file that
    is reached twice is listed once, by the first way that leads there; hard links are files of
    their own. A path that was given always gives something: a folder that holds nothing is listed
    as `empty`.

    Inside folders, names that start with a dot and the litter of systems and tools (`@eaDir`,
    `Thumbs.db`, `node_modules`, …) are passed over, unless `include_hidden`.

    A tar or zip archive, such as the shards of webdataset, counts as a folder: the pictures in it
    are listed in their order, as `shard.tar/000123.jpg`. So does a Parquet file with the bytes of
    pictures; those are called by their rows, as `part.parquet#17/name.jpg`. Where one is damaged,
    that is listed after the pictures before that.

    An address counts as a file or a folder, as what it leads to; it is called by its name in
    `addresses`, which holds no secret.

    Memory is that of the names in the largest folder, so millions of files are no problem.

    Args:
        paths: Files and folders, or their addresses.
        include_hidden: See above.
        follow_links: Whether links may lead out of the folder.
        within: Further folders that links may lead into.
        on_note: Takes a sentence on each archive of which something was passed over.
    """
    return _Finder(include_hidden, follow_links, within, on_note).find(paths)


_Kind = Literal["file", "folder", "link", "other"]


@dataclass(slots=True)
class _Listing:
    """A folder that is being walked; as small as it gets, for there may be millions of names.

    Attributes:
        names: Names still to come, the next one last.
        kinds: Kind of each that is not a regular file.
        problem: What kept us from reading all names.
    """

    names: list[bytes] = field(default_factory=list)
    kinds: dict[bytes, _Kind] = field(default_factory=dict)
    problem: FoundFile | None = None


class _Finder:
    """What `find_images` must remember: folders walked, and files that came by another way."""

    def __init__(
        self,
        include_hidden: bool,
        follow_links: bool,
        within: Sequence[AnyPath],
        on_note: Callable[[str], None],
    ) -> None:
        self._include_hidden = include_hidden
        self._follow_links = follow_links
        self._within = within
        self._on_note = on_note
        self._real_folders: list[bytes] | None = None  # those of `within`, once they are needed
        self._n_repeats = 0  # how often something was reached again, and passed over
        self._walked: set[tuple[int, int]] = set()
        # Files that were named or linked, as digests of their real paths. Files that are simply
        # in a folder are not kept: the folder is in _walked.
        self._listed: set[bytes] = set()
        self._real_folder = lru_cache(maxsize=1024)(os.path.realpath)

    def find(self, paths: Iterable[AnyPath]) -> Iterator[FoundFile]:
        for given in paths:
            path = os.fsencode(given)
            if addresses.is_address(path):
                yield from self._find_remote(addresses.name_address(path))
                continue
            try:
                status = os.stat(path)  # noqa: PTH116 - bytes, for names that are not UTF-8
            except (OSError, ValueError) as error:
                if place := archived_place(path):
                    yield FoundFile(os.fsdecode(path), place=place)
                else:
                    yield _bad_path(path, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                is_empty = True
                n_repeats = self._n_repeats
                for found in self._walk(path):
                    is_empty = False
                    yield found
                if is_empty and n_repeats == self._n_repeats:
                    yield FoundFile(os.fsdecode(path), _NO_FILES)
            elif not stat.S_ISREG(status.st_mode):
                yield _not_a_file(path)
            elif self._is_first(path):
                yield from self._files(path)

    def _find_remote(self, address: bytes) -> Iterator[FoundFile]:
        """A remote file, or every one below a remote folder."""
        folder = address.rstrip(b"/") + b"/"
        try:
            if remote.kind_of(address) == "file":
                if self._is_new(address) and not self._is_walked(address):
                    yield from self._files(address)
                return
            n_repeats = self._n_repeats
            is_empty = True
            for found in self._walk_remote(folder):
                is_empty = False
                yield found
            if is_empty and n_repeats == self._n_repeats:
                raise _NO_FILES
        except BadImage as problem:
            place = archived_place(address) if problem.reason == "missing" else None
            yield FoundFile(os.fsdecode(address), None if place else problem, place)

    def _walk_remote(self, top: bytes) -> Iterator[FoundFile]:
        """Every file below a remote folder; the names of folders end in a slash."""
        stack = [top]
        while stack:
            path = stack.pop()
            if not path.endswith(b"/"):
                if self._listed and _digest(path) in self._listed:
                    self._n_repeats += 1
                else:
                    yield from self._files(path)
                continue
            if not self._is_new(path):
                continue
            try:
                entries = remote.list_folder(path)
            except BadImage as problem:
                yield FoundFile(os.fsdecode(path), problem)
                continue
            for name, is_folder in reversed(entries):
                if not self._is_passed_over(name):
                    stack.append(b"%b%b%b" % (path, name, b"/" if is_folder else b""))

    def _is_walked(self, address: bytes) -> bool:
        """Whether a remote file is in a folder that was walked."""
        is_walked = _digest(address[: address.rindex(b"/") + 1]) in self._listed
        self._n_repeats += is_walked
        return is_walked

    def _walk(self, top: bytes) -> Iterator[FoundFile]:
        """Every file below a folder; an explicit stack, so depth is no limit."""
        listing = self._enter(top)
        if listing.problem:
            yield listing.problem
        stack = [(top, self._real_folder(top), listing)]
        real_top = self._real_folder(top)
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
                real_path = os.path.realpath(path)
                if not self._follow_links and not self._is_inside(real_path, real_top):
                    yield FoundFile(os.fsdecode(path), _OUTSIDE)
                    continue
                if kind == "file" and not self._is_first(path):
                    continue
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
                yield from self._files(path)
            else:
                yield _not_a_file(path)

    def _files(self, path: bytes) -> Iterator[FoundFile]:
        """A file, or the pictures in it where it is an archive."""
        name = os.fsdecode(path)
        if not archives.is_named_as_archive(name):
            yield FoundFile(name)
            return
        try:
            with opened(path) as descriptor:
                kind = archives.archive_kind(name, descriptor)
                if kind is None:
                    yield FoundFile(name)
                    return
                between = "#" if kind == "parquet" else "/"
                for picture in archives.pictures_in(
                    kind,
                    path,
                    descriptor,
                    include_hidden=self._include_hidden,
                    on_note=self._on_note,
                ):
                    yield FoundFile(
                        f"{name}{between}{picture.name}", picture.problem, picture.place
                    )
        except BadImage as problem:
            yield FoundFile(name, problem)

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

    def _is_inside(self, real_path: bytes, real_top: bytes) -> bool:
        """Whether what a link leads to is in the folder that is walked, or another of ours."""
        if _is_within(real_path, real_top):
            return True
        if self._real_folders is None:
            folders = (os.fsencode(path) for path in self._within)
            self._real_folders = [os.path.realpath(path) for path in folders if os.path.isdir(path)]  # noqa: PTH112
        return any(_is_within(real_path, folder) for folder in self._real_folders)

    def _is_passed_over(self, name: bytes) -> bool:
        return not self._include_hidden and (name.startswith(b".") or name in _JUNK_NAMES)

    def _is_first(self, path: bytes) -> bool:
        """Whether a file that was named or linked was not listed yet; remembers that it is."""
        folder, name = os.path.split(path)
        real_path = os.path.join(self._real_folder(folder or b"."), name)  # noqa: PTH118
        if os.path.islink(real_path):  # noqa: PTH114
            real_path = os.path.realpath(real_path)
        folder, name = os.path.split(real_path)
        if self._walked and not self._is_passed_over(name):
            with suppress(OSError):
                status = os.stat(folder)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in self._walked:
                    self._n_repeats += 1
                    return False
        return self._is_new(real_path)

    def _is_new(self, path: bytes) -> bool:
        """Whether a path was not listed yet; remembers that it is."""
        digest = _digest(path)
        if digest in self._listed:
            self._n_repeats += 1
            return False
        self._listed.add(digest)
        return True


def _is_within(real_path: bytes, real_folder: bytes) -> bool:
    separator = os.sep.encode()
    return real_path == real_folder or real_path.startswith(
        real_folder.removesuffix(separator) + separator
    )


def _kind(mode: int) -> _Kind:
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"


def _kind_of_entry(entry: os.DirEntry[bytes]) -> _Kind:
    """Kind of a file by what the folder says, without a look at the file where that is enough."""
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
    return FoundFile(os.fsdecode(path), path_problem(path, error))


def draw_files(found: Iterable[FoundFile], limit: int | None, seed: int) -> Iterator[FoundFile]:
    """So many of some files, drawn at random, in their order; all where there is no limit."""
    if limit is None:
        return iter(found)
    numbers = stream(seed, "", "limit")
    drawn = nsmallest(limit, ((numbers.random(), place, file) for place, file in enumerate(found)))
    return (file for _, _, file in sorted(drawn, key=itemgetter(1)))


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
