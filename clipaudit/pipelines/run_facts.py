"""What a run is made of, as plain values that go into every result."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clipaudit._version import __version__
from clipaudit.encoders.expectation import expectation_line
from clipaudit.inferrers.card_text import measured_line
from clipaudit.pipelines.inferrer_choice import shown_similarity
from clipaudit.results.audit import InferrerFacts, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clipaudit.encoders.base import Encoder
    from clipaudit.inferrers.base import Inferrer
    from clipaudit.pipelines.config import ScoreConfig

_LIBRARIES = ("numpy", "PIL", "torch", "torchvision", "open_clip", "timm", "onnxruntime")


def run_facts(
    config: ScoreConfig,
    encoders: Sequence[Encoder],
    inferrers: Sequence[Inferrer],
    n_views: int,
    started: datetime,
    seconds: float,
) -> Run:
    """The facts of a run that is over.

    Args:
        config: With every default resolved.
        encoders: The target, then the references.
        inferrers: What it scored with.
        n_views: Views that it made of each picture.
        started: When it began.
        seconds: How long it took.
    """
    encoder, *references = (encoder.info for encoder in encoders)
    return Run(
        command=config.command,
        config=_plain_options(config),
        versions=_versions(),
        encoder=encoder,
        recipe=config.recipe,
        n_views=n_views,
        similarity=shown_similarity(config, inferrers),
        seed=config.seed,
        inferrers=tuple(_inferrer_facts(inferrer, encoder.spec) for inferrer in inferrers),
        started_at=started.isoformat(timespec="seconds"),
        seconds=seconds,
        references=tuple(references),
    )


def _inferrer_facts(inferrer: Inferrer, encoder: str) -> InferrerFacts:
    card = inferrer.card
    return InferrerFacts(
        name=card.name,
        kind=card.kind,
        threshold=card.threshold,
        trained_on=str(card.shadow),
        evidence=f"{measured_line(card)}; of {encoder}: {expectation_line(encoder)}",
        sha256=card.weights_sha256,
        similarity=card.reads.similarity,
        reads_reference=card.reads.has_reference,
        reads_views=card.reads.reads_views,
        reads_captions=card.reads.reads_captions,
    )


def _versions() -> dict[str, str]:
    """Of this package, of the system, and of every library that may have touched a number."""
    libraries = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    return {
        "clipaudit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: str(module.__version__) for name, module in libraries.items()},
    }


def _plain_options(config: ScoreConfig) -> dict[str, Any]:
    """The resolved options as plain values, those of encoders together.

    Without the command, and without the address of a cluster, which is nobody else's business.
    """
    plain = asdict(config)
    options = asdict(config.options)
    first = {"encoder": config.encoder, "options": options}
    first |= {name: plain[name] for name in ("references", "inferrers", "every_data_set")}
    others = plain.keys() - options.keys() - {"command", "ray_address"}
    return first | {name: value for name, value in plain.items() if name in others}
