"""EncoderMI-V: similarities in descending order, into a fully connected network.

Source: EncoderMI (Liu et al., CCS 2021), Section 4, vector-based inferrer: two hidden layers
of 256 units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers import network
from clipaudit.seeding import lent_to_torch

if TYPE_CHECKING:
    from clipaudit.similarity import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class VectorRule:
    """The score is the network's logit.

    Attributes:
        weights: `centre` and `spread` of the similarities, shape (1,) each, and the layers as
            `network.dense_layers` takes them.
    """

    weights: dict[str, Float32Array]

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`. Sorting first makes the order of views irrelevant."""
        ranked = -np.sort(-values, axis=1)
        scaled = (ranked - self.weights["centre"]) / self.weights["spread"]
        return network.dense_layers(scaled, self.weights, "layers")[:, 0].astype(np.float64)

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """See `Rule.threshold`: the logit at which the network is undecided."""
        return 0.0

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return self.weights

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> VectorRule:
        """See `Rule.from_arrays`."""
        return cls(arrays)

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> VectorRule:
        """See `Rule.train`."""
        import torch
        from torch import nn

        scaling = network.standardise(values)
        ranked = (-np.sort(-values, axis=1) - scaling["centre"]) / scaling["spread"]

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = network.dense_modules(
                    values.shape[1], network.HIDDEN, network.HIDDEN, 1
                )

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return network.run_modules(x, self.layers)

        with lent_to_torch(seed):
            net = Net()
        return cls({**scaling, **network.fit(net, ranked, is_member, seed)})
