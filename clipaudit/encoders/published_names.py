"""Names of published encoders that came with this release: known without torch, in no time.

Newer releases of the libraries know more; `clipaudit.encoders.catalog` asks them. The list is made
by `clipaudit encoders list | cut -f1 > clipaudit/encoders/names.txt`.
"""

from __future__ import annotations

from importlib.resources import files


def names_at_release() -> frozenset[str]:
    """Specs of the encoders that the libraries published when this release was made.

    >>> "ViT-B-32/openai" in names_at_release()
    True
    """
    text = files("clipaudit.encoders").joinpath("names.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
