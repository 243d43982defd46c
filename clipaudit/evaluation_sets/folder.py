"""The folder of a set: what was asked for, what came, and what was made of it.

    members/  nonmembers/       the pictures, all of one size
    manifest.parquet  .jsonl    a row a picture; see `manifest`
    README.md  ATTRIBUTION.md   for people; see `card`
    set.json                    what the set was made from
    sources/pages/              answers of the source, without keys: a build repeats offline
    sources/originals/          pictures as they were downloaded, named by their SHA-256
    sources/downloads.jsonl     how every download ended

The last two lines are a journal: a run that was killed reads it and goes on, and nothing that
came is asked for twice.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from clipaudit.errors import InputError
from clipaudit.files import (
    append_line,
    as_type,
    load_json,
    make_folder,
    refuse_links,
    remove_leftovers,
    replace_file,
)
from clipaudit.pictures.reading import content_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT_VERSION = 1

_SET = "set.json"
_FINISHED = "manifest.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A picture that came and could be read.

    Attributes:
        url: What was asked for.
        sha256: Of the file, in hex.
        md5: The same with MD5.
        n_bytes: Of the file.
        format: Pillow's name of its format.
        width_px: Of the picture, upright.
        height_px: The same.
        phash: Perceptual hash of the picture as it goes into the set, 16 hex digits.
        final_url: Where it came from after redirects.
        status: The HTTP status; None for a file of this machine.
        content_type: As the server said.
        etag: As the server said.
        last_modified: As the server said.
        at: When, ISO 8601 in UTC.
    """

    url: str
    sha256: str
    md5: str
    n_bytes: int
    format: str
    width_px: int
    height_px: int
    phash: str
    final_url: str
    status: int | None
    content_type: str | None
    etag: str | None
    last_modified: str | None
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A picture that did not come, or could not be read.

    Attributes:
        url: What was asked for.
        reason: A word for tables.
        explanation: A sentence for people.
        is_transient: Whether another try may help.
        n_bytes: That came all the same.
        status: The HTTP status, where there was one.
        at: When, ISO 8601 in UTC.
    """

    url: str
    reason: str
    explanation: str
    is_transient: bool
    n_bytes: int
    status: int | None
    at: str


Outcome = Fetched | Failed

_ENDS: dict[str, type[Fetched] | type[Failed]] = {"fetched": Fetched, "failed": Failed}
"""What a line of the journal says as `ended` → what it holds."""


class SetFolder:
    """A set in the making or finished; safe to use from several threads of one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pages = Pages(path / "sources" / "pages")
        self._originals = path / "sources" / "originals"
        self._journal = path / "sources" / "downloads.jsonl"
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}

    @property
    def is_finished(self) -> bool:
        """Whether the set was written, all of it."""
        return (self.path / _FINISHED).exists()

    @contextmanager
    def opened(self, facts: Mapping[str, object]) -> Iterator[None]:
        """Begin the set, or go on with it; within the block no other process can.

        Args:
            facts: What the set is made from; one folder holds one set.

        Raises:
            InputError: The folder holds another set, files that are none of ours, or a link;
                another build is at work in it.
            FileError: The folder cannot be written.
        """
        self._begin(facts)
        lock = FileLock(self.path / "sources" / ".lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another build is at work in {str(self.path)!r}",
                "Wait until it ends, stop it, or name another folder with -o.",
            ) from error
        try:
            remove_leftovers(self.path)
            self._outcomes = self._read_journal()
            yield
        finally:
            lock.release()

    def _begin(self, facts: Mapping[str, object]) -> None:
        wanted = json.loads(json.dumps({"format_version": FORMAT_VERSION, **facts}))
        if (self.path / _SET).exists():
            self._require_same(wanted)
            refuse_links(self.path)
        else:
            self._require_empty()
            make_folder(self.path)
            replace_file(self.path / _SET, (json.dumps(wanted, indent=2) + "\n").encode())
        for folder in (self.pages.path, self._originals):
            make_folder(folder)

    def outcome(self, url: str) -> Outcome | None:
        """How the last download of a URL ended, or None where it was never tried."""
        with self._lock:
            return self._outcomes.get(url)

    def keep(self, outcome: Outcome, data: bytes | None = None) -> None:
        """Remember how a download ended; `data` are the bytes of a picture that came.

        Raises:
            FileError: The disk is full, or the system says no for another reason.
        """
        if isinstance(outcome, Fetched) and data is not None:
            replace_file(self._original(outcome.sha256), data)
        line = {"ended": type(outcome).__name__.lower(), **asdict(outcome)}
        with self._lock:
            append_line(self._journal, json.dumps(line))
            self._outcomes[outcome.url] = outcome

    def original(self, fetched: Fetched) -> bytes:
        """The bytes of a picture as they came.

        Raises:
            InputError: Somebody took the file away, or changed it.
        """
        path = self._original(fetched.sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot read {str(path)!r}: {error.strerror}",
                "It was downloaded for this set. Remove the set's folder, and build it again.",
            ) from error
        if content_id(data) != fetched.sha256:
            raise InputError(
                f"{str(path)!r} is not what was downloaded",
                "Remove the set's folder, and build it again.",
            )
        return data

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the set; `name` may hold one folder, as in `members/a.png`."""
        make_folder((self.path / name).parent)
        replace_file(self.path / name, content)

    def unfinish(self) -> None:
        """Take back what says that the set is finished, before anything of it changes."""
        (self.path / _FINISHED).unlink(missing_ok=True)

    def keep_only(self, folder: str, names: set[str]) -> None:
        """Remove the pictures of one of the two folders that are not in the set any more.

        Raises:
            InputError: There is a picture that the set did not write; nothing is removed.
        """
        paths = (self.path / folder).glob("[!.]*.png")
        others = [path for path in sorted(paths) if path.name not in names]
        for path in others:
            if not _is_ours(path):
                raise InputError(
                    f"{str(path)!r} is not a picture of this set, or was changed",
                    "Move it elsewhere, and repeat the command: nothing is downloaded again.",
                )
        for path in others:
            path.unlink()

    def _original(self, sha256: str) -> Path:
        return self._originals / sha256

    def _require_same(self, wanted: dict[str, Any]) -> None:
        try:
            there = json.loads((self.path / _SET).read_bytes())
            keys = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(
                f"{str(self.path / _SET)!r} cannot be read, so the set cannot go on",
                "Name another folder with -o.",
            ) from error
        if keys:
            differences = "; ".join(
                f"{key}: {_short(there.get(key))} there, {_short(wanted.get(key))} asked for"
                for key in sorted(keys)
            )
            raise InputError(
                f"{str(self.path)!r} holds another set ({differences})",
                "Name another folder with -o, or repeat the command that is in its README.md.",
            )

    def _require_empty(self) -> None:
        try:
            foreign = sorted(
                path.name for path in self.path.iterdir() if not path.name.startswith(".")
            )
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(
                f"{str(self.path)!r} cannot be the folder of a set: {error.strerror}",
                "Name another folder with -o.",
            ) from error
        if foreign:
            raise InputError(
                f"{str(self.path)!r} holds files that are no set, such as {foreign[0]!r}",
                "Name an empty folder, or one that does not exist, with -o.",
            )

    def _read_journal(self) -> dict[str, Outcome]:
        """Lines of the journal by URL; a last line that a kill cut short is cut off."""
        try:
            raw = self._journal.read_bytes()
        except FileNotFoundError:
            return {}
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            replace_file(self._journal, whole)
        outcomes: dict[str, Outcome] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                plain = load_json(line.decode())
                kind = _ENDS[plain.pop("ended")]
                outcome = as_type(plain, kind, unknown="forbid")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"line {number} of {str(self._journal)!r} is not what clipaudit wrote",
                    "Remove the set's folder, and build it again.",
                ) from error
            outcomes[outcome.url] = outcome
        return outcomes


class Pages:
    """Answers of sources, a file each: the `PageArchive` of a set."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes | None:
        """See `PageArchive.read`."""
        try:
            return (self.path / f"{key}.json").read_bytes()
        except FileNotFoundError:
            return None

    def write(self, key: str, answer: bytes) -> None:
        """See `PageArchive.write`."""
        replace_file(self.path / f"{key}.json", answer)


def picture_name(content: bytes) -> str:
    """Name of a picture's file in the set, which tells that the set wrote it."""
    return f"{content_id(content)[:32]}.png"


def _is_ours(path: Path) -> bool:
    try:
        return path.name == picture_name(path.read_bytes())
    except OSError:  # a folder, or nothing that we may read
        return False


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
