"""Mean similarity and lengths of embeddings together, those of a reference too: a logistic model.

Linear on purpose: lengths have another scale in every encoder, which moves all scores of a linear
model alike and so leaves the order of the images as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers.rules import LogitRule, What

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array

_RIDGE = 1.0
_MOST_STEPS = 100
_CLOSE_ENOUGH = 1e-10


class CombinedRule(LogitRule):
    """The score is the logit of the model.

    `weights` are the `weight` of each feature, shape (n_columns,) or (2, n_columns), and `bias`,
    shape (1,).
    """

    about = (
        "A logistic model reads the mean similarity, the mean length of the embeddings of "
        "the views, and the length of that of the picture itself (both as logarithms)"
    )
    brief = "mean similarity and lengths together"
    reads: ClassVar[What] = "summary"
    colour = "#b07cc6"
    reference_colour = "#4b1d6b"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        weight, bias = (self.weights[name].astype(np.float64) for name in ("weight", "bias"))
        if values.shape[1:] != weight.shape or bias.shape != (1,):
            raise ValueError("there must be one weight a feature")
        axes = tuple(range(1, values.ndim))
        scores: npt.NDArray[np.float64] = (values * weight).sum(axis=axes) + bias
        return scores

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """See `Rule.from_arrays`."""
        return cls({name: arrays[name] for name in ("weight", "bias")})

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """See `Rule.train`. Nothing in it is random."""
        if not 0 < is_member.sum() < len(is_member):
            raise ValueError("a logistic model needs members and non-members")
        flat = values.reshape(len(values), -1).astype(np.float64)
        centre, spread = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)
        *weight, bias = _logistic((flat - centre) / spread, is_member)
        weight = np.array(weight) / spread
        return cls(
            {
                "weight": weight.reshape(values.shape[1:]).astype(np.float32),
                "bias": np.array([bias - weight @ centre], dtype=np.float32),
            }
        )


def _logistic(
    x: npt.NDArray[np.float64], is_member: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Weights, and last the bias, of a logistic regression, by Newton's method.

    Members and non-members weigh alike. The squared weights are penalised as if one example had
    spoken against them, so that they stay finite where the two can be told apart without a miss.

    Args:
        x: Shape (n, n_features), standardised.
        is_member: Shape (n,), with members and non-members.
    """
    x = np.column_stack([x, np.ones(len(x))])
    share = is_member.mean()
    importance = np.where(is_member, 0.5 / share, 0.5 / (1 - share))
    ridge = _RIDGE * np.diag([*np.ones(x.shape[1] - 1), 0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(_MOST_STEPS):
        chances = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        slope = x.T @ (importance * (chances - is_member)) + ridge @ weights
        curvature = (x * (importance * chances * (1 - chances))[:, None]).T @ x + ridge
        step = np.linalg.solve(curvature, slope)
        weights -= step
        if np.abs(step).max() < _CLOSE_ENOUGH:
            break
    return weights
