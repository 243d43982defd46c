"""EncoderMI-S: the set of similarities, whatever their order, by DeepSets.

Source: EncoderMI (Liu et al., CCS 2021), Section 4, set-based inferrer; Zaheer et al., "Deep
Sets" (2017): a network on each element, the mean over elements, a network on the mean.

With a reference encoder an element is two similarities of the same two views: the target's and
the reference's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from clipaudit.inferrers import network
from clipaudit.inferrers.rules import LogitRule
from clipaudit.seeding import lent_to_torch

if TYPE_CHECKING:
    from clipaudit.features.signals import Float32Array

_ELEMENT = 64
_IMAGES_AT_ONCE = 256


class DeepSetRule(LogitRule):
    """The score is the network's logit.

    `weights` are `centre` and `spread` as `network.standardise` gives them, and the layers as
    `network.dense_layers` takes them.
    """

    about = "EncoderMI-S: a small neural network reads the similarities as a set (DeepSets)"
    brief = "similarities of the views, as a set"
    is_network = True
    colour = "#d1495b"
    reference_colour = "#7f1d2c"
    mark = "s"

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """See `Rule.score`. Elements are sorted only so that sums round alike in any order."""
        scores = np.empty(len(values), dtype=np.float64)
        for start in range(0, len(values), _IMAGES_AT_ONCE):
            batch = slice(start, start + _IMAGES_AT_ONCE)
            elements = _elements(network.ranked_pairs(values[batch], self.weights))
            pooled = network.dense_layers(elements, self.weights, "element").mean(axis=1)
            scores[batch] = network.dense_layers(pooled, self.weights, "pooled")[:, 0]
        return scores

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """See `Rule.train`."""
        import torch
        from torch import nn

        scaling = network.standardise(values)
        elements = _elements(_scaled(values, scaling))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.element = network.dense_modules(elements.shape[2], _ELEMENT, _ELEMENT)
                self.pooled = network.dense_modules(_ELEMENT, network.HIDDEN, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                pooled = network.run_modules(x, self.element).mean(dim=1)
                return network.run_modules(pooled, self.pooled)

        with lent_to_torch(seed):
            net = Net()
        return cls({**scaling, **network.fit(net, elements, is_member, seed)})


def _scaled(values: Float32Array, scaling: dict[str, Float32Array]) -> Float32Array:
    """Similarities as `network.ranked_pairs` scales them, in the order of the views."""
    shape = (-1, 1) if values.ndim == 3 else (-1,)
    scaled: Float32Array = (values - scaling["centre"].reshape(shape)) / scaling["spread"].reshape(
        shape
    )
    return scaled


def _elements(scaled: Float32Array) -> Float32Array:
    """Shape (n_images, n_pairs, 1 or 2): what the network takes of each pair of views."""
    elements = scaled[..., None] if scaled.ndim == 2 else scaled.swapaxes(1, 2)
    return np.ascontiguousarray(elements)
