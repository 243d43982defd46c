"""Files → a part of them, so that several machines share a set and every file falls to one."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from typing import NamedTuple, Self

from clipaudit.errors import UsageError
from clipaudit.text.escaping import shown

MOST_SHARDS = 1_000_000


class Shard(NamedTuple):
    """One of so many parts of all files.

    Attributes:
        number: Which one, from 1.
        n_shards: How many there are.
    """

    number: int
    n_shards: int

    @classmethod
    def read(cls, text: str) -> Self:
        """A shard as it is written: 2/5 is the second of five.

        Raises:
            UsageError: It is none.
        """
        found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text, re.ASCII)
        if found and 1 <= int(found[1]) <= int(found[2]) <= MOST_SHARDS:
            return cls(int(found[1]), int(found[2]))
        raise UsageError(
            f"--shard must be I/N with I from 1 to N, got {shown(text)!r}",
            "Of three machines the first takes --shard 1/3, the others 2/3 and 3/3.",
        )

    def __str__(self) -> str:
        return f"{self.number}/{self.n_shards}"

    def holds(self, path: str) -> bool:
        """Whether a file falls into it, by a hash of its path alone.

        So no file falls into two or none, whatever else is there and in which order it is found;
        as long as the path is the same on all machines.
        """
        digest = blake2b(os.fsencode(path), digest_size=8, person=b"shard").digest()
        return int.from_bytes(digest) % self.n_shards == self.number - 1
