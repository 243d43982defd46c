"""EncoderMI-T: the mean similarity, against a threshold.

Source: EncoderMI (Liu et al., CCS 2021), Section 4, threshold-based inferrer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.rules import Rule

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


class ThresholdRule(Rule):
    """A rule that learns nothing but its threshold."""

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """See `Rule.threshold`: the one with the most right predictions."""
        return best_threshold(self.score(values), is_member)

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """See `Rule.from_arrays`."""
        return cls()

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """See `Rule.train`."""
        return cls()


class MeanRule(ThresholdRule):
    """The score is the mean of the similarities."""

    about = "EncoderMI-T: the mean similarity, compared with a threshold"
    brief = "mean similarity of the views"
    reference = "never"
    colour = "#2e8b57"
    mark = "^"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        means: npt.NDArray[np.float64] = values.mean(axis=1, dtype=np.float64)
        return means


def best_threshold(scores: npt.NDArray[np.float64], is_member: npt.NDArray[np.bool_]) -> float:
    """The threshold with the most right predictions, members and non-members weighing alike.

    It lies half-way between two neighbouring scores, or just above them all. Of several that do
    equally well the highest is taken, which calls the fewest pictures members.

    Raises:
        ValueError: No members or no non-members.
    """
    n_members = int(is_member.sum())
    n_others = len(is_member) - n_members
    if not n_members or not n_others:
        raise ValueError("a threshold needs members and non-members")
    levels = np.unique(scores)
    above_all = np.nextafter(levels[-1:], np.inf)
    cuts = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2, above_all])
    missed = np.searchsorted(np.sort(scores[is_member]), cuts)
    spared = np.searchsorted(np.sort(scores[~is_member]), cuts)
    gain = spared * n_members - missed * n_others  # TPR - FPR in whole numbers: ties are exact
    return float(cuts[np.flatnonzero(gain == gain.max())[-1]])
