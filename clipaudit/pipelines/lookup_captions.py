"""`--captions` → where captions come from; `lookup:LIST` takes them from a published list.

The text of the row in which a picture is found is the caption that it was trained with. A picture
is found by its file or its look; and by its address on the web, where a manifest or a JSON file
beside it says that. Nothing is asked of a server.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from clipaudit.captions.base import CaptionFacts
from clipaudit.captions.choosing import find_beside, open_captions
from clipaudit.captions.cleaning import Tally, clean_all
from clipaudit.captions.rows import ADDRESS_COLUMNS
from clipaudit.captions.sidecars import SidecarCaptions
from clipaudit.errors import InputError
from clipaudit.files import expand_home
from clipaudit.pictures.base import Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import content_id
from clipaudit.pipelines.lookup import LookupConfig, lookup
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.captions.base import CaptionSource
    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.lookup import Answer, Lookup

PREFIX = "lookup:"

_HASHES = {"sha256", "md5", "phash"}


def captions_for(
    choice: str,
    paths: Sequence[AnyPath],
    *,
    limits: Limits = Limits(),
    include_hidden: bool = False,
) -> CaptionSource | None:
    """Where the captions of pictures come from; None where there are none.

    Args:
        choice: `lookup:LIST`, where LIST is a file or a folder of a published list, or what
            `open_captions` takes.
        paths: Files and folders that are scored.
        limits: How much one picture may cost that is looked up.
        include_hidden: Whether to look up hidden files in folders.

    Raises:
        UsageError: It is none of these.
        InputError: The file or the list cannot be used.
    """
    if not choice.startswith(PREFIX):
        return open_captions(choice, paths)
    listing = expand_home(choice.removeprefix(PREFIX))
    addresses = find_beside(paths, lambda: SidecarCaptions((".json",), ("url",)), ADDRESS_COLUMNS)
    urls: dict[str, None] = {}
    if addresses is not None:
        for found in find_images(paths, include_hidden=include_hidden):
            urls |= dict.fromkeys(addresses.captions_of(found.path, b""))
    config = LookupConfig(
        metadata=(listing,), urls=tuple(urls), limits=limits, include_hidden=include_hidden
    )
    found_rows = lookup([os.fsdecode(path) for path in paths], config)
    _require_comparable(choice, found_rows, has_urls=bool(urls))
    return LookupCaptions(shown(listing.name), found_rows, addresses)


def _require_comparable(choice: str, found: Lookup, *, has_urls: bool) -> None:
    roles = {role for file in found.lists for role in file.columns}
    if "text" not in roles:
        raise InputError(
            f"--captions {choice}: the list has no column with captions",
            "Name one that has a column called text or caption.",
        )
    if not roles & _HASHES and not has_urls:
        raise InputError(
            f"--captions {choice}: the list has no hashes of pictures, and where these pictures "
            "were on the web is not known",
            "Put a metadata.csv with file_name and url into their folder, or pass --captions with "
            "a file that has their captions.",
        )


class LookupCaptions:
    """A `CaptionSource` out of the answers of a lookup.

    Args:
        name: Name of the list, to show.
        found: The answers for all pictures, and for their addresses.
        addresses: Gives the addresses of a picture.
    """

    def __init__(self, name: str, found: Lookup, addresses: CaptionSource | None) -> None:
        self._name = name
        self._addresses = addresses
        self._by_content = {answer.sha256: answer for answer in found if answer.kind == "file"}
        self._by_address = {answer.asked: answer for answer in found if answer.kind == "url"}
        self._tally = Tally()

    @property
    def facts(self) -> CaptionFacts:
        """See `CaptionSource.facts`."""
        notes = []
        if n := self._tally.count("phash"):
            notes.append(f"{count(n, 'picture')} found by look alone (pHash)")
        if n := self._tally.count("address"):
            notes.append(f"{count(n, 'picture')} found by address: the file itself may differ")
        if n := self._tally.count("no text"):
            notes.append(f"{count(n, 'picture')} whose rows have no caption")
        if n := self._tally.count("none"):
            notes.append(f"{count(n, 'picture')} not found")
        source = f"the list {self._name}"
        return CaptionFacts(source, tuple(f"{self._name}: {note}" for note in notes))

    def captions_of(self, path: str, data: bytes) -> tuple[str, ...]:
        """See `CaptionSource.captions_of`: those of the rows that name it in the plainest way."""
        answers = [self._by_content.get(content_id(data))]
        if self._addresses is not None:
            answers += map(self._by_address.get, self._addresses.captions_of(path, data))
        listed = [answer for answer in answers if answer is not None and answer.matches]
        for answer in listed:
            way, texts = _plainest(answer)
            if texts:
                self._tally.add("address" if answer.kind == "url" else way, path)
                return texts
        self._tally.add("no text" if listed else "none", path)
        return ()


def _plainest(answer: Answer) -> tuple[str, tuple[str, ...]]:
    """The captions of the rows that match in the plainest way, and that way."""
    by_way: defaultdict[str, list[str | None]] = defaultdict(list)
    for match in answer.matches:
        by_way[match.way].append(match.text)
    for way, found in by_way.items():
        if texts := clean_all(found):
            return way, texts
    return "", ()
