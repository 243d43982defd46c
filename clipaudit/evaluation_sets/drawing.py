"""Which pictures are members, and which are joined with which: decided by the seed alone.

Only the seed, the keywords and the bytes of the pictures count, never the order in which they
came or were named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.seeding import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.evaluation_sets.collecting import Picture


@dataclass(frozen=True, slots=True)
class Drawn:
    """What became of the pictures.

    Attributes:
        members: Potential members, or members where the source knows.
        nonmembers: Natural pictures that are none.
        groups: Parents of each picture to be joined.
        n_unused: Pictures left over, such as an odd one.
    """

    members: tuple[Picture, ...] = ()
    nonmembers: tuple[Picture, ...] = ()
    groups: tuple[tuple[Picture, ...], ...] = ()
    n_unused: int = 0


def draw_and_pair(
    by_keyword: Mapping[str, Sequence[Picture]], n_members: int, n_parents: int, seed: int
) -> Drawn:
    """Members out of each keyword; all others become parents, in random groups over keywords.

    Where a keyword fell short, its pictures are shared out in the same proportion, so that there
    are about as many joined pictures as members.

    Args:
        by_keyword: What was found.
        n_members: Wanted members a keyword.
        n_parents: Pictures that make one joined picture; 0 to make none.
        seed: Decides.
    """
    members: list[Picture] = []
    parents: list[Picture] = []
    for pictures in by_keyword.values():
        shuffled = sorted(pictures, key=_lot(seed, "members"))
        n = min(n_members, -(-len(shuffled) // (1 + n_parents)))
        members += shuffled[:n]
        parents += shuffled[n : n + n_members * n_parents]
    parents.sort(key=_lot(seed, "joined"))
    n_groups = len(parents) // n_parents if n_parents else 0
    groups = [tuple(parents[i * n_parents : (i + 1) * n_parents]) for i in range(n_groups)]
    n_found = sum(map(len, by_keyword.values()))
    n_unused = n_found - len(members) - n_groups * n_parents
    return Drawn(members=tuple(members), groups=tuple(groups), n_unused=n_unused)


def draw_matched(
    members: Mapping[str, Sequence[Picture]],
    nonmembers: Mapping[str, Sequence[Picture]],
    seed: int,
) -> Drawn:
    """As many members as non-members of each keyword, so that the keyword tells nothing."""
    chosen: tuple[list[Picture], list[Picture]] = ([], [])
    n_found = 0
    for keyword in members.keys() | nonmembers.keys():
        sides = members.get(keyword, ()), nonmembers.get(keyword, ())
        n = min(map(len, sides))
        for side, found in zip(chosen, sides, strict=True):
            n_found += len(found)
            side.extend(sorted(found, key=_lot(seed, "matched"))[:n])
    n_unused = n_found - len(chosen[0]) - len(chosen[1])
    return Drawn(members=tuple(chosen[0]), nonmembers=tuple(chosen[1]), n_unused=n_unused)


def _lot(seed: int, purpose: str) -> Callable[[Picture], int]:
    return lambda picture: derive(seed, picture.file.sha256, f"evaluation set: {purpose}")
