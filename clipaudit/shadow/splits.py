"""Pictures of one data set, drawn into groups that have none in common."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import InputError
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.near_duplicates import Seen
from clipaudit.seeding import stream
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipaudit.shadow.datasets import ShadowData

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Split:
    """Which pictures the shadow encoder sees, by content hash; no hash is in both.

    Attributes:
        members: SHA-256 in hex, in an order that the seed decides.
        nonmembers: SHA-256 of the others, likewise.
        references: SHA-256 of what each reference encoder is trained on, likewise.
        bank: SHA-256 of pictures whose captions the others' are told from, likewise.
    """

    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    references: tuple[tuple[str, ...], ...] = ()
    bank: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[str, ...]:
        """All pictures of the split."""
        trained_on = tuple(chain.from_iterable(self.references))
        return self.members + self.nonmembers + trained_on + self.bank


@dataclass(frozen=True, slots=True)
class Groups:
    """Pictures of one data set in groups, by content hash; no hash is in two.

    Attributes:
        groups: SHA-256 in hex by the name of the group, in an order that the seed decides.
        n_unreadable: Files that were passed over since they cannot be decoded.
        n_near_duplicates: Pictures that were passed over since they are near-duplicates.
    """

    groups: dict[str, tuple[str, ...]]
    n_unreadable: int
    n_near_duplicates: int


def split(
    data: ShadowData,
    n_members: int,
    n_nonmembers: int,
    seed: int,
    without: frozenset[str],
    n_references: int = 0,
    n_bank: int = 0,
) -> Split:
    """Draw members and non-members at random from one data set, members of references, and a bank.

    As `draw_groups`, for these. Members and non-members do not depend on the references.

    Raises:
        InputError: The data set is too small.
    """
    references = [f"members of reference {number + 1}" for number in range(n_references)]
    counts = {"members": n_members, "non-members": n_nonmembers}
    counts |= dict.fromkeys(references, n_members)
    if n_bank:
        counts["of the bank"] = n_bank
    groups = draw_groups(data, counts, seed, without).groups
    of_references = tuple(groups[name] for name in references)
    bank = groups.get("of the bank", ())
    return Split(groups["members"], groups["non-members"], of_references, bank)


def draw_groups(
    data: ShadowData,
    counts: Mapping[str, int],
    seed: int,
    without: frozenset[str] = frozenset(),
) -> Groups:
    """Draw groups of pictures at random from one data set, none in two of them.

    A file that cannot be decoded is passed over; so is one that is a copy or a near-duplicate of
    a picture that was drawn before, in whatever group.

    Args:
        data: Data set to draw from.
        counts: How many pictures for each group, by its name.
        seed: Decides the draw, together with the content and the name of the data set; names and
            order of its files do not.
        without: Content hashes that must be in no group. Their near-duplicates may be.

    Raises:
        InputError: The data set is too small.
    """
    pool = sorted(set(data.ids) - without)
    order = stream(seed, data.name, "split").permutation(len(pool))
    n_wanted = sum(counts.values())
    chosen: list[str] = []
    shown = Seen()
    reasons: Counter[str] = Counter()
    n_near_duplicates = 0
    pictures = [pool[position] for position in order]
    with closing(data.perceptual_hashes(pictures)) as hashes:
        for picture in pictures:
            if len(chosen) == n_wanted:
                break
            phash = next(hashes)
            if isinstance(phash, BadImage):
                reasons[phash.reason.replace("_", " ")] += 1
            elif shown.add(phash):
                chosen.append(picture)
            else:
                n_near_duplicates += 1
    n_unreadable = reasons.total()
    if n_unreadable:
        logger.warning(
            "%s of %s cannot be decoded, passed over: %s",
            count(n_unreadable, "file"),
            data.name,
            ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common()),
        )
    if n_near_duplicates:
        logger.info("%d near-duplicates in %s, passed over", n_near_duplicates, data.name)
    if len(chosen) < n_wanted:
        asked = " and ".join(f"{n} {name}" for name, n in counts.items())
        raise InputError(
            f"{data.name} has {len(chosen)} different pictures that may be used, and {asked} were "
            "asked for",
            f"Ask for {len(chosen)} together at most (--members and --nonmembers of `train`, the "
            "split of a matrix of `lab`), or add pictures.",
        )
    ends = np.cumsum(list(counts.values())).tolist()
    starts = [0, *ends[:-1]]
    return Groups(
        {
            name: tuple(chosen[start:end])
            for name, start, end in zip(counts, starts, ends, strict=True)
        },
        n_unreadable,
        n_near_duplicates,
    )
