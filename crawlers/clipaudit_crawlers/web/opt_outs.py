"""Headers with which the host of a picture says that it is not for machines to learn from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AGENT = "clipaudit"
"""What we are called in robots.txt and in X-Robots-Tag."""

SAYS_NO = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})

_AGENT = re.compile(r"([a-z_-]+|\*)\s*:\s*(.*)", re.DOTALL)
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


def opt_out(robots_tags: Iterable[str], reservations: Iterable[str]) -> str | None:
    """The words with which a picture is kept from us, or None where nothing does.

    Source: img2dataset's `X-Robots-Tag` directives; the TDM Reservation Protocol of the W3C.

    Args:
        robots_tags: The value of every `X-Robots-Tag` header. A directive behind the name of
            another program is not for us; one behind ours, behind `*` or behind no name is.
        reservations: The value of every `tdm-reservation` header.
    """
    for value in robots_tags:
        for agent, directive in _directives(value):
            if directive in SAYS_NO and agent in {None, "*", AGENT}:
                return f"X-Robots-Tag: {directive}"
    for value in reservations:
        if "1" in {flag.strip() for flag in value.split(",")}:
            return "tdm-reservation: 1"
    return None


def _directives(value: str) -> Iterator[tuple[str | None, str]]:
    """Each directive in small letters, with the program that it is for; None for all programs."""
    agent = None
    for part in value.lower().split(","):
        directive = part.strip()
        # A name holds until the next one: `onebot: noindex, nofollow, otherbot: noai`.
        if (named := _AGENT.fullmatch(directive)) and named[1] not in _WITH_VALUE:
            agent, directive = named[1], named[2].strip()
        yield agent, directive
