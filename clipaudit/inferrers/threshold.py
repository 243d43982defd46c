"""EncoderMI-T: the mean similarity, against a threshold.

Source: EncoderMI (Liu et al., CCS 2021), Section 4, threshold-based inferrer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipaudit.similarity import Float32Array


@dataclass(frozen=True, slots=True)
class MeanRule:
    """The score is the mean of the similarities; nothing is learned but the threshold."""

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        means: npt.NDArray[np.float64] = values.mean(axis=1, dtype=np.float64)
        return means

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return {}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> MeanRule:
        """A rule from what `arrays` gave."""
        return cls()


def best_threshold(scores: npt.NDArray[np.float64], is_member: npt.NDArray[np.bool_]) -> float:
    """The threshold with the most right predictions, members and non-members weighing alike.

    It lies half-way between two neighbouring scores; of several that do equally well the
    highest is taken, which calls the fewest pictures members.

    Raises:
        ValueError: No members or no non-members.
    """
    n_members = int(is_member.sum())
    n_others = len(is_member) - n_members
    if not n_members or not n_others:
        raise ValueError("a threshold needs members and non-members")
    levels = np.unique(scores)
    cuts = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2])
    members, others = np.sort(scores[is_member]), np.sort(scores[~is_member])
    tpr = 1 - np.searchsorted(members, cuts) / n_members
    fpr = 1 - np.searchsorted(others, cuts) / n_others
    gain = tpr - fpr
    return float(cuts[np.flatnonzero(gain == gain.max())[-1]])
