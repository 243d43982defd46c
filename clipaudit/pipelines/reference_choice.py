"""What `--reference` names → the references of a run, and a word on those that may be spoilt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clipaudit.encoders.references import find_references, shares_list
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTO = "auto"

_LOG = logging.getLogger(__name__)


def choose_references(encoder: str, named: Sequence[str]) -> tuple[str, ...]:
    """The references that were named, with the first one on this machine in the place of `auto`.

    What was chosen is said as a warning, with what could spoil it; so is that a reference was
    trained on the published list of the encoder.

    Args:
        encoder: The target.
        named: Specs, or `auto`.

    Raises:
        EncoderError: None that could serve is on this machine.
    """
    chosen = tuple(_first_here(encoder) if spec == AUTO else spec for spec in named)
    for spec in chosen:
        if shares_list(encoder, spec):
            _LOG.warning(
                "the reference %s was trained on the published list of %s: it may have seen these "
                "pictures as often, and then hides what is to be found",
                spec,
                encoder,
            )
    return tuple(dict.fromkeys(chosen)) if AUTO in named else chosen


def _first_here(encoder: str) -> str:
    found = [reference for reference in find_references(encoder) if not reference.is_spoilt]
    here = next((reference for reference in found if reference.is_here), None)
    if here is None:
        first = f", such as {found[0].spec}" if found else ""
        raise EncoderError(
            f"no reference for {encoder} is on this machine",
            f"Name one with --reference{first}; `clipaudit encoders references {encoder}` says "
            "which could serve.",
        )
    reason = " ".join([f"{here.reason}.", *here.caveats])
    _LOG.warning("--reference auto takes %s: %s", here.spec, reason)
    return here.spec
