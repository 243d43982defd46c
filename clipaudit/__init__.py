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
from typing import TYPE_CHECKING, Any, TypedDict

from clipaudit._version import __version__
from clipaudit.errors import ClipAuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, Unpack

    from clipaudit.encoders.base import InputOverrides, Output
    from clipaudit.images import AnyPath, Limits
    from clipaudit.pipelines.score import Progress
    from clipaudit.similarity import Similarity
    from clipaudit.verdicts import Audit

__all__ = ["ClipAuditError", "Options", "__version__", "score"]


class Options(TypedDict, total=False):
    """Everything else that `score` takes; each is an option of `clipaudit score` too.

    What they mean, and their defaults: `clipaudit.pipelines.score.ScoreConfig` and
    `clipaudit.encoders.base.EncoderOptions`, of which these are the fields.
    """

    n_views: int
    similarity: Similarity | None
    recipe: str
    seed: int
    batch_size: int | None
    workers: int | None
    limit: int | None
    use_store: bool
    strict: bool
    include_hidden: bool
    limits: Limits

    output: Output | None
    device: str
    backend: Literal["auto", "torch", "onnx"]
    allow_code: bool
    architecture: str | None
    input: InputOverrides
    offline: bool


def score(
    paths: AnyPath | Sequence[AnyPath],
    *,
    encoder: str = "ViT-B-32/openai",
    inferrers: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **options: Unpack[Options],
) -> Audit:
    """Score pictures against an encoder; the same as `clipaudit score` without the printing.

    Args:
        paths: Files or folders.
        encoder: Spec of the target encoder.
        inferrers: Names or folders; empty takes every shipped one that fits.
        on_progress: Called after every batch, from the calling thread.
        options: See `Options`.

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

    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"clipaudit.score has no option {', '.join(sorted(unknown))}")
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
    named = [inferrers] if isinstance(inferrers, str | os.PathLike) else list(inferrers)
    names = tuple(os.fspath(one) for one in named)
    shown = repr(paths) if len(several) == 1 else f"[{several[0]!r}, …]" if several else "[]"
    call = {"encoder": encoder, **({"inferrers": names} if names else {}), **options}
    for_encoder: dict[str, Any] = {}
    for_run: dict[str, Any] = {}
    fields_of_encoder = {field.name for field in fields(EncoderOptions)}
    for name, value in options.items():
        (for_encoder if name in fields_of_encoder else for_run)[name] = value
    config = ScoreConfig(
        encoder=encoder,
        inferrers=names,
        options=EncoderOptions(**for_encoder),
        command=f"clipaudit.score({shown}, {', '.join(f'{k}={v!r}' for k, v in call.items())})",
        **for_run,
    )
    return run(several, config, on_progress)
