"""Mean similarities of target and reference: their difference, plain or adjusted by regression.

How alike the views of an image embed depends far more on the image than on membership. A
reference encoder that did not see the image tells how much of it is the image's own doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.threshold import ThresholdRule

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


class DifferenceRule(ThresholdRule):
    """The score is the target's mean similarity minus the reference's."""

    about = "The mean similarity minus that of the reference, compared with a threshold"
    brief = "mean similarity minus the reference's"
    reference = "always"
    colour = "#66c2a5"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        target, reference = _means(values)
        return target - reference


@dataclass(frozen=True, slots=True, eq=False)
class AdjustedRule(ThresholdRule):
    """The score is how far the target's mean similarity lies above what the reference's predicts.

    The prediction is the line of least squares through the non-members of the shadow encoder: what
    an encoder finds of an image that it did not see, by what a reference finds of it.

    Attributes:
        line: Its value at 0 and its slope, shape (2,).
    """

    line: Float32Array

    about = (
        "How far the mean similarity lies above what that of the reference predicts, by a "
        "straight line through the shadow non-members, compared with a threshold"
    )
    brief = "mean similarity above what the reference's predicts"
    reference = "always"
    colour = "#0b6e4f"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        target, reference = _means(values)
        at_zero, slope = self.line.astype(np.float64)
        residuals: npt.NDArray[np.float64] = target - (at_zero + slope * reference)
        return residuals

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return {"line": self.line}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """See `Rule.from_arrays`."""
        line = arrays["line"]
        if line.shape != (2,):
            raise ValueError("a line has two numbers")
        return cls(line)

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """See `Rule.train`."""
        if not 0 < is_member.sum() < len(is_member):
            raise ValueError("a regression needs members and non-members")
        target, reference = (means[~is_member] for means in _means(values))
        centred = reference - reference.mean()
        spread = float(centred @ centred)
        slope = float(centred @ target) / spread if spread > 0 else 0.0
        line = [target.mean() - slope * reference.mean(), slope]
        return cls(np.array(line, dtype=np.float32))


def _means(values: Float32Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean similarity of each image to target and reference, shape (n_images,) each."""
    means = values.mean(axis=2, dtype=np.float64)
    return means[:, 0], means[:, 1]
