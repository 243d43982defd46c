"""Two sets of pictures → the different pictures of each, and those that are in both.

Suspects and their control, members and non-members: pictures that are the same to the byte or to
the eye have nearly the same score, so each counts once, and on one side at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from clipaudit.errors import InputError
from clipaudit.pictures.near_duplicates import Seen, partners

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from clipaudit.results.rows import Row


class Match(NamedTuple):
    """A picture that is in both sets.

    Attributes:
        first: Its path in the first set.
        second: Its path in the second set.
        kind: Whether the two are the same to the byte, or to the eye.
    """

    first: str
    second: str
    kind: Literal["copy", "near-duplicate"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sets of different pictures.

    Attributes:
        first: Paths by SHA-256; of copies and near-duplicates the first one alone.
        second: The same of the second set.
        shared: Pictures that are in both sets.
        left_out: SHA-256 of those that were left out for it.
    """

    first: Mapping[str, str]
    second: Mapping[str, str]
    shared: tuple[Match, ...]
    left_out: frozenset[str]


def split(
    first: Mapping[str, str],
    second: Mapping[str, str],
    hashes: Mapping[str, int],
    *,
    from_both: bool = False,
) -> Pair:
    """The different pictures of two sets, without those that they share.

    Args:
        first: Paths by SHA-256.
        second: The same.
        hashes: Perceptual hashes of both by SHA-256, as far as they could be made.
        from_both: Whether shared pictures are left out of both sets, and not of the second alone.
            Of several near-duplicates on a side all are, then.
    """
    of_second = _partners(second, first, hashes)
    shared = [_match(first, second, ours, theirs) for theirs, ours in of_second.items()]
    of_first = _partners(first, second, hashes) if from_both else {}
    shared += [_match(first, second, ours, theirs) for ours, theirs in of_first.items()]
    return Pair(
        different(first, hashes, of_first),
        different(second, hashes, of_second),
        tuple(dict.fromkeys(shared)),
        frozenset((*of_first, *of_second)),
    )


def require_apart(pair: Pair, message: str, hint: str) -> None:
    """That two sets share no picture.

    Raises:
        InputError: They do; the message goes on with the first of these pictures.
    """
    if not pair.shared:
        return
    named = "; ".join(
        f"{second!r} is a {kind} of {first!r}" for first, second, kind in pair.shared[:3]
    )
    more = f"; and {len(pair.shared) - 3:,} more" if len(pair.shared) > 3 else ""
    raise InputError(f"{message}: {named}{more}", hint)


def scored_paths(rows: Iterable[Row]) -> dict[str, str]:
    """The first path of each scored picture, by its SHA-256."""
    paths: dict[str, str] = {}
    for row in rows:
        if row.status == "ok" and row.sha256:
            paths.setdefault(row.sha256, row.path)
    return paths


def _partners(
    pictures: Collection[str], others: Collection[str], hashes: Mapping[str, int]
) -> dict[str, str]:
    """For each picture that is among others too, which one it is; in their order."""
    strangers = {i: hashes[i] for i in pictures if i in hashes and i not in others}
    near = partners(strangers, {i: hashes[i] for i in others if i in hashes})
    copies = {image_id: image_id for image_id in pictures if image_id in others}
    found = copies | near
    return {image_id: found[image_id] for image_id in pictures if image_id in found}


def _match(
    first: Mapping[str, str], second: Mapping[str, str], of_first: str, of_second: str
) -> Match:
    kind: Literal["copy", "near-duplicate"] = "copy" if of_first == of_second else "near-duplicate"
    return Match(first[of_first], second[of_second], kind)


def different(
    paths: Mapping[str, str], hashes: Mapping[str, int], without: Collection[str] = ()
) -> dict[str, str]:
    """Of copies and near-duplicates the first one alone."""
    met = Seen()
    return {
        image_id: path
        for image_id, path in paths.items()
        if image_id not in without and (image_id not in hashes or met.add(hashes[image_id]))
    }
