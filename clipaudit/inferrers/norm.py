"""The length of an image's embedding: contrastive training lengthens those of its members.

One forward pass over the image as it is, no views. Source: Sun et al., "When Better Features Mean
Greater Risks" (2025), which calls it an Lp-norm likelihood attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.threshold import best_threshold

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


@dataclass(frozen=True, slots=True)
class NormRule:
    """The score is the log of the length or, with a reference, of its ratio to the reference's.

    Lengths have another scale in every encoder, so a threshold holds for encoders like the shadow
    encoder alone; the order of the images does not depend on it.
    """

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        lengths = values[..., 0].astype(np.float64)
        return lengths if lengths.ndim == 1 else lengths[:, 0] - lengths[:, 1]

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """See `Rule.threshold`."""
        return best_threshold(self.score(values), is_member)

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> NormRule:
        """See `Rule.from_arrays`."""
        return cls()

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> NormRule:
        """See `Rule.train`."""
        return cls()
