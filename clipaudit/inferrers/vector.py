"""EncoderMI-V: similarities in descending order, into a fully connected network.

With a reference encoder the network takes its similarities too, each in the place of the target's
similarity of the same two views.

Source: EncoderMI (Liu et al., CCS 2021), Section 4, vector-based inferrer: two hidden layers
of 256 units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers import network
from clipaudit.inferrers.rules import LogitRule
from clipaudit.seeding import lent_to_torch

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array


class VectorRule(LogitRule):
    """The score is the network's logit.

    `weights` are `centre` and `spread` as `network.standardise` gives them, and the layers as
    `network.dense_layers` takes them.
    """

    about = "EncoderMI-V: a small neural network reads the similarities, sorted from high to low"
    brief = "similarities of the views, sorted"
    is_network = True
    colour = "#1b6ca8"
    reference_colour = "#123f63"
    mark = "o"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`."""
        ranked = network.ranked_pairs(values, self.weights)
        flat = ranked.reshape(len(values), math.prod(values.shape[1:]))
        return network.dense_layers(flat, self.weights, "layers")[:, 0].astype(np.float64)

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """See `Rule.train`."""
        import torch
        from torch import nn

        scaling = network.standardise(values)
        ranked = network.ranked_pairs(values, scaling).reshape(len(values), -1)

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = network.dense_modules(
                    ranked.shape[1], network.HIDDEN, network.HIDDEN, 1
                )

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return network.run_modules(x, self.layers)

        with lent_to_torch(seed):
            net = Net()
        return cls({**scaling, **network.fit(net, ranked, is_member, seed)})
