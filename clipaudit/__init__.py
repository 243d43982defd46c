"""clipaudit: were these pictures used to train that image encoder?

>>> import clipaudit
>>> callable(clipaudit.score)
True

The command line is a thin layer on what is here; importing it imports neither torch nor
scikit-learn. See https://en.wikipedia.org/wiki/Membership_inference_attack for the question,
and the README for what an answer can and cannot prove.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from clipaudit._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.verdicts import Audit

__all__ = ["__version__", "score"]


def score(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    encoder: str = "ViT-B-32/openai",
    inferrers: Sequence[str] = (),
    device: str = "auto",
    **options: Any,
) -> Audit:
    """Score pictures against an encoder; the same as `clipaudit score` without the printing.

    Args:
        paths: Files or folders.
        encoder: Spec of the target encoder.
        inferrers: Names or folders; empty takes every shipped one that fits.
        device: `auto`, `cpu`, `cuda`, `mps`.
        options: Any other field of `clipaudit.pipelines.score.ScoreConfig` or of
            `clipaudit.encoders.base.EncoderOptions`.

    Returns:
        Rows in the order in which files were found; `to_dicts()` and `to_pandas()` flatten them.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.score.score`.
        TypeError: There is no such option.
    """
    from dataclasses import fields

    from clipaudit.encoders.base import EncoderOptions
    from clipaudit.pipelines.score import ScoreConfig
    from clipaudit.pipelines.score import score as run

    for_encoder = {field.name for field in fields(EncoderOptions)}
    loading = {name: options.pop(name) for name in list(options) if name in for_encoder}
    config = ScoreConfig(
        encoder=encoder,
        inferrers=tuple(inferrers),
        options=EncoderOptions(device=device, **loading),
        command="clipaudit.score(…)",
        **options,
    )
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    return run(several, config)
