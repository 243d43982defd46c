"""Files → blocks of them, which go to the machines of a cluster whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipaudit.pictures.finding import FoundFile

_FIRST, _MOST = 8, 512
_BLOCKS_OF_A_SIZE = 8
_MOST_OF_AN_ARCHIVE = 10_000
"""As many as img2dataset puts into a shard."""


def in_blocks(files: Iterable[FoundFile]) -> Iterator[list[FoundFile]]:
    """Blocks of files in their order: an archive is one, and so are some hundred loose files.

    Blocks of loose files are small at first, so that few files fall to all machines, too. Only an
    archive with very many pictures is cut.
    """
    block: list[FoundFile] = []
    archive: bytes | None = None
    n_blocks, usual = 0, _FIRST
    for file in files:
        lies_in = file.place.archive if file.place else None
        most = _MOST_OF_AN_ARCHIVE if lies_in else usual
        if block and (lies_in != archive or len(block) >= most):
            yield block
            block = []
            n_blocks += 1
            if n_blocks % _BLOCKS_OF_A_SIZE == 0:
                usual = min(2 * usual, _MOST)
        block.append(file)
        archive = lies_in
    if block:
        yield block
