"""Captions of a data set whose pictures are known by their content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.captions.choosing import open_captions
from clipaudit.errors import InputError
from clipaudit.shadow.datasets import read_captions

if TYPE_CHECKING:
    from clipaudit.shadow.datasets import Captions, ShadowData


def read_data_captions(data: ShadowData, choice: str) -> Captions:
    """The captions of all pictures of a data set that have some.

    Args:
        data: A data set of files.
        choice: Where they come from, as `--captions` takes it.

    Raises:
        InputError: There are none.
        UsageError: There is no such choice.
    """
    source = open_captions(choice, [data.root] if data.root else [])
    if source is None:
        raise InputError(
            f"{data.name} has no captions that are found by themselves",
            "Say where they are: --captions names takes the words of the file names.",
        )
    return read_captions(data, source.captions_of)
