"""Batches of any size for programs that were saved for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def in_chunks(run: Callable[[Tensor], Tensor], size: int | None) -> Callable[[Tensor], Tensor]:
    """A function of batches of any size from one of batches of exactly `size` views.

    The last chunk is filled up with copies of its last view, which no other view notices.
    None means that the program takes any size already.
    """
    if size is None:
        return run

    def by_chunks(views: Tensor) -> Tensor:
        import torch

        made = []
        for chunk in torch.split(views, size):
            n = len(chunk)
            filled = (
                torch.cat([chunk, chunk[-1:].expand(size - n, -1, -1, -1)]) if n < size else chunk
            )
            made.append(run(filled)[:n])
        return torch.cat(made)

    return by_chunks
