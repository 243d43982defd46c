"""A state dict plus the architecture that it belongs to, which another backend builds."""

from __future__ import annotations

from pathlib import Path

from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.model_files import check_is_file
from clipaudit.encoders.spec import build_tower
from clipaudit.encoders.towers import ready


def load(name: str, options: EncoderOptions) -> Encoder:
    """`state-dict:FILE` with `options.architecture`.

    Raises:
        EncoderError: See `load_encoder`.
    """
    path = Path(name).expanduser()
    check_is_file(path)
    return ready(build_tower(f"state-dict:{name}", path, options), options)
