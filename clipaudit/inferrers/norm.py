"""The length of an image's embedding: contrastive training lengthens those of its members.

One forward pass over the image as it is, no views. Source: Sun et al., "When Better Features Mean
Greater Risks" (2025), which calls it an Lp-norm likelihood attack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.threshold import ThresholdRule

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


class NormRule(ThresholdRule):
    """The score is the log of the length or, with a reference, of its ratio to the reference's.

    Lengths have another scale in every encoder, so a threshold holds for encoders like the shadow
    encoder alone; the order of the images does not depend on it.
    """

    about = "The length of the embedding of the picture itself, compared with a threshold"
    brief = "length of the embedding"
    reads = "norm"
    colour = "#e0a030"
    reference_colour = "#8a5a00"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        lengths = values[..., 0].astype(np.float64)
        return lengths if lengths.ndim == 1 else lengths[:, 0] - lengths[:, 1]
