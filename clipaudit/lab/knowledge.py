"""What the shadow side knows of the target encoder: the paper's background knowledge."""

from __future__ import annotations

from typing import Final, Literal

Knowledge = Literal["data", "architecture", "algorithm"]

COMBINATIONS: Final[tuple[tuple[Knowledge, ...], ...]] = (
    (),
    ("data",),
    ("architecture",),
    ("algorithm",),
    ("data", "architecture"),
    ("data", "algorithm"),
    ("architecture", "algorithm"),
    ("data", "architecture", "algorithm"),
)
"""What may be known of the target encoder, from nothing to all of it."""

FULL: Final = COMBINATIONS[-1]
NOTHING: Final = "nothing"


def setting_of(known: tuple[Knowledge, ...]) -> str:
    """Name of a combination of background knowledge.

    >>> setting_of(("data", "algorithm")), setting_of(())
    ('data + algorithm', 'nothing')
    """
    return " + ".join(known) or NOTHING
