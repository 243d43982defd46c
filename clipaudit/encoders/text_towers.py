"""The text half of an encoder, by the encoder's own name."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from clipaudit.encoders import devices
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import SCHEMES, find_scheme, parse
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from clipaudit.encoders.text import TextTower


def has_text_tower(spec: str) -> bool:
    """Whether an encoder was trained with captions and can embed them.

    Raises:
        EncoderError: No encoder can have this name.
    """
    return bool(find_scheme(parse(spec)[0]).text)


def load_text_tower(spec: str, options: EncoderOptions = EncoderOptions()) -> TextTower:
    """The text tower of an encoder, ready to embed captions.

    Args:
        spec: The encoder, as `load_encoder` takes it.
        options: As for the encoder; its device, `offline` and time limit count.

    Raises:
        EncoderError: It has none, captions cannot be compared with the output that is asked for,
            or its weights or its tokenizer cannot be had; says what to do.
    """
    scheme, name = parse(spec)
    row = find_scheme(scheme)
    if not row.text:
        others = ", ".join(f"{scheme}:" for scheme, row in SCHEMES.items() if row.text)
        raise EncoderError(
            f"{spec} has no text tower, so it cannot embed captions",
            f"Leave out --captions, or name an encoder that was trained with captions: {others}.",
        )
    if options.output == "trunk":
        raise EncoderError(
            f"captions are embedded beside the embedding of {spec}, and its trunk is asked for",
            "Leave out --captions, or --output trunk.",
        )
    devices.resolve(options.device)  # before a download of gigabytes, not after
    tower: TextTower = resolve_name(row.text)(name, options)
    return tower
