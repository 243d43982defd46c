"""How well an encoder knows a picture and its caption to belong together.

The loss of an encoder that was trained on pictures with captions is between the two, so its
members show there. One forward pass of each tower, over the picture and the caption as they are.
Source: Ko et al., "Practical Membership Inference Attacks Against Large-Scale Multi-Modal Models"
(ICCV 2023) for the cosine; CLIP-MIA-Bench (Gomez, AAAI 2026) for the loss and its gradient; for
the reference, SSLMem (Wang et al., ICLR 2024) and CLIPMem (ICLR 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.combined import CombinedRule
from clipaudit.inferrers.rules import What
from clipaudit.inferrers.threshold import ThresholdRule

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


class CaptionRule(CombinedRule):
    """The score is the logit of a logistic model; NaN for an image without a caption."""

    about = (
        "A logistic model reads the cosine of picture and caption, their loss against a fixed "
        "bank of other pictures and captions, its gradient, and the lengths of both embeddings"
    )
    brief = "how well picture and caption fit, and lengths"
    reads: ClassVar[What] = "caption"
    colour = "#3a9d6e"
    reference_colour = "#0f5a3a"


class FineTuneRule(CaptionRule):
    """The same with the signals of the encoder that was fine-tuned as reference, always."""

    about = (
        "A logistic model reads what a fine-tuned encoder and the encoder that it was made from "
        "make of picture and caption: cosine, loss, gradient and lengths"
    )
    brief = "the same, before and after a fine-tuning"
    reference: ClassVar[Literal["never", "optional", "always"]] = "always"
    colour = "#c2571a"


class CaptionLossRule(ThresholdRule):
    """The score is minus the loss of picture and caption, or how far it fell from a reference's."""

    about = "The loss of picture and caption against a fixed bank, compared with a threshold"
    brief = "loss of picture and caption"
    reads = "caption-loss"
    colour = "#7a8b2a"
    reference_colour = "#444f10"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        losses = values[..., 0].astype(np.float64)
        return losses if losses.ndim == 1 else losses[:, 0] - losses[:, 1]
