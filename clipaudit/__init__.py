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
    from clipaudit.features.signals import Similarity
    from clipaudit.pictures.base import AnyPath, Limits
    from clipaudit.pipelines.calibrate import Calibrated
    from clipaudit.pipelines.score import Progress, ScoreConfig
    from clipaudit.results.audit import Audit
    from clipaudit.results.evaluation import Evaluation

    Paths = AnyPath | Sequence[AnyPath]
    Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

__all__ = ["ClipAuditError", "Options", "__version__", "calibrate", "evaluate", "score"]


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
    paths: Paths,
    *,
    encoder: str = "ViT-B-32/openai",
    references: str | Sequence[str] = (),
    inferrers: Names = (),
    control: Paths = (),
    allow_overlap: bool = False,
    calibrations: Sequence[str | os.PathLike[str]] | None = None,
    fpr: float = 0.01,
    fnr: float = 0.05,
    fdr: float = 0.1,
    alpha: float = 0.05,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **options: Unpack[Options],
) -> Audit:
    """Score pictures against an encoder; the same as `clipaudit score` without the printing.

    Args:
        paths: Files or folders.
        encoder: Spec of the target encoder.
        references: Specs of encoders that were not trained on these pictures; see
            `clipaudit.pipelines.score.ScoreConfig`.
        inferrers: Names or folders; empty takes every shipped one that fits.
        control: Files or folders of the same kind that cannot have been in the training set, for
            a verdict on all pictures as a set: `audit.comparison`.
        allow_overlap: Leave pictures that are among the suspects out of the control, where they
            are an error otherwise.
        calibrations: Files of calibrations; None takes those of `calibrate` that fit, and an
            empty list none.
        fpr: Share of the non-members that a calibration may call members.
        fnr: Share of the members that it may call non-members.
        fdr: Share of non-members, on average, among the pictures that are picked out of all.
        alpha: Level of the test against the control.
        on_progress: Called after every batch, from the calling thread.
        options: See `Options`.

    Returns:
        Rows in the order in which files were found; `to_dicts()` and `to_pandas()` flatten them.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.audit.audit`.
        TypeError: There is no such option.
    """
    from pathlib import Path

    from clipaudit.pipelines.audit import JudgeConfig, audit

    how = JudgeConfig(
        fpr=fpr,
        fnr=fnr,
        fdr=fdr,
        calibrations=None if calibrations is None else tuple(map(Path, calibrations)),
        control=_several(control),
        allow_overlap=allow_overlap,
        alpha=alpha,
    )
    several = _several(paths)
    told: dict[str, Any] = {"control": how.control} if how.control else {}
    config = _config("score", several, encoder, references, inferrers, told, options)
    return audit(several, config, how, on_progress)


def calibrate(
    nonmembers: Paths,
    members: Paths = (),
    *,
    encoder: str = "ViT-B-32/openai",
    references: str | Sequence[str] = (),
    inferrers: Names = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **options: Unpack[Options],
) -> Calibrated:
    """Learn from known non-members how high scores run by chance; `score` uses it from then on.

    Args:
        nonmembers: Files or folders of pictures that the encoder cannot have been trained on.
        members: The same of pictures that it was trained on, where some are known.
        encoder: Spec of the target encoder.
        references: As in `score`.
        inferrers: Names or folders; empty takes every shipped one that fits.
        on_progress: Called after every batch, from the calling thread.
        options: See `Options`.

    Returns:
        A calibration an inferrer, and the file where each is kept.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.calibrate.calibrate`.
        TypeError: There is no such option.
    """
    from clipaudit.pipelines.calibrate import calibrate as run

    known, others = _several(members), _several(nonmembers)
    told: dict[str, Any] = {"members": known} if known else {}
    config = _config("calibrate", others, encoder, references, inferrers, told, options)
    return run(others, known, config, on_progress)


def evaluate(
    folder: AnyPath,
    *,
    encoder: str = "ViT-B-32/openai",
    references: str | Sequence[str] = (),
    inferrers: Names = (),
    blind: bool = True,
    allow_overlap: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **options: Unpack[Options],
) -> Evaluation:
    """Say how well inferrers tell known members from known non-members; see `docs/evaluate.md`.

    Args:
        folder: Holds `members/` and `nonmembers/`, as `clipaudit build-eval` makes it.
        encoder: Spec of the target encoder.
        references: As in `score`.
        inferrers: Names or folders; empty takes every shipped one that fits, of every shadow data
            set.
        blind: Whether to see what can be told without the encoder.
        allow_overlap: Count pictures that are among members and non-members on neither side,
            where they are an error otherwise.
        on_progress: Called after every batch, from the calling thread.
        options: See `Options`; `limit` holds for each side.

    Returns:
        Figures of each inferrer, and whether the set is confounded.

    Raises:
        ClipAuditError: As `clipaudit.pipelines.evaluate.evaluate`.
        TypeError: There is no such option.
    """
    from clipaudit.pipelines.evaluate import EvaluateConfig
    from clipaudit.pipelines.evaluate import evaluate as run

    told: dict[str, Any] = {} if blind else {"blind": False}
    told |= {"allow_overlap": True} if allow_overlap else {}
    config = _config("evaluate", (folder,), encoder, references, inferrers, told, options)
    return run(folder, EvaluateConfig(config, blind, allow_overlap), on_progress)


def _several(paths: Paths) -> tuple[AnyPath, ...]:
    return (paths,) if isinstance(paths, str | bytes | os.PathLike) else tuple(paths)


def _config(
    function: str,
    paths: Sequence[AnyPath],
    encoder: str,
    references: str | Sequence[str],
    inferrers: Names,
    told: dict[str, Any],
    options: Options,
) -> ScoreConfig:
    """The arguments as the pipeline takes them, with the call written out; see `score`."""
    from dataclasses import fields

    from clipaudit.encoders.base import EncoderOptions
    from clipaudit.pipelines.score import ScoreConfig

    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"clipaudit.{function} has no option {', '.join(sorted(unknown))}")
    named = [inferrers] if isinstance(inferrers, str | os.PathLike) else list(inferrers)
    names = tuple(os.fspath(one) for one in named)
    first = repr(paths[0]) if paths else ""
    shown = first if len(paths) == 1 else f"[{first}, …]" if paths else "[]"
    specs = (references,) if isinstance(references, str) else tuple(references)
    call: dict[str, Any] = {"encoder": encoder}
    call |= {"references": specs} if specs else {}
    call |= {"inferrers": names} if names else {}
    call |= told | options
    for_encoder: dict[str, Any] = {}
    for_run: dict[str, Any] = {}
    fields_of_encoder = {field.name for field in fields(EncoderOptions)}
    for name, value in options.items():
        (for_encoder if name in fields_of_encoder else for_run)[name] = value
    return ScoreConfig(
        encoder=encoder,
        references=specs,
        inferrers=names,
        options=EncoderOptions(**for_encoder),
        command=f"clipaudit.{function}({shown}, "
        f"{', '.join(f'{k}={v!r}' for k, v in call.items())})",
        **for_run,
    )
