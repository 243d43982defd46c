"""The networks behind V and S: trained in torch, run in NumPy.

A few dense layers on a few numbers: NumPy runs them as fast, needs no import of seconds, and
gives the same bits wherever the weights were loaded.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clipaudit.features.signals import Float32Array

HIDDEN = 256
EPOCHS = 300
LEARNING_RATE = 1e-4
BATCH = 64


def dense_layers(x: Float32Array, arrays: dict[str, Float32Array], prefix: str) -> Float32Array:
    """Dense layers `prefix.0`, `prefix.1`, … with ReLU between them, none after the last.

    Args:
        x: Shape (…, n_in), float32.
        arrays: `prefix.i.weight` of shape (n_out, n_in), and `prefix.i.bias`.
        prefix: Which layers.

    Raises:
        KeyError: There are none.
    """
    n_layers = sum(name.startswith(f"{prefix}.") and name.endswith(".bias") for name in arrays)
    if not n_layers:
        raise KeyError(prefix)
    for layer in range(n_layers):
        x = x @ arrays[f"{prefix}.{layer}.weight"].T + arrays[f"{prefix}.{layer}.bias"]
        if layer < n_layers - 1:
            np.maximum(x, 0, out=x)
    return x


def dense_modules(*widths: int) -> nn.ModuleList:
    """Dense layers as `dense_layers` runs them, to be trained."""
    from torch import nn

    return nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths))


def run_modules(x: Tensor, layers: nn.ModuleList) -> Tensor:
    """The forward pass of `dense_modules`."""
    for layer in layers[:-1]:
        x = layer(x).relu()
    last: Tensor = layers[-1](x)
    return last


def standardise(values: Float32Array) -> dict[str, Float32Array]:
    """Centre and spread of all similarities together, of each encoder.

    Differs from the paper, which feeds raw similarities: they crowd just below 1, and a
    network at this learning rate would spend most of its epochs on finding that out.

    Args:
        values: Shape (n, n_pairs), or (n, 2, n_pairs): of the target and of the reference.

    Returns:
        `centre` and `spread`, of shape (1,) or (2,).
    """
    encoders = [values] if values.ndim == 2 else [values[:, 0], values[:, 1]]
    centres = [pairs.mean(dtype=np.float64) for pairs in encoders]
    spreads = [max(float(pairs.std(dtype=np.float64)), 1e-6) for pairs in encoders]
    return {
        "centre": np.array(centres, dtype=np.float32),
        "spread": np.array(spreads, dtype=np.float32),
    }


def ranked_pairs(values: Float32Array, weights: dict[str, Float32Array]) -> Float32Array:
    """Standardised similarities of each image, the target's in descending order.

    The reference's stay beside those of the same two views. Ranking makes the order of views
    irrelevant, to the bit.

    Args:
        values: Shape (n_images, n_pairs) or (n_images, 2, n_pairs).
        weights: `centre` and `spread` as `standardise` gave them.

    Raises:
        ValueError: The weights are for features without a reference, or with one.
    """
    if weights["centre"].shape != ((1,) if values.ndim == 2 else (2,)):
        raise ValueError("weights and features differ in whether they have a reference")
    if values.ndim == 2:
        return (-np.sort(-values, axis=1) - weights["centre"]) / weights["spread"]
    order = np.lexsort((-values[:, 1], -values[:, 0]), axis=-1)
    ranked = np.take_along_axis(values, order[:, None], axis=2)
    scaled: Float32Array = (ranked - weights["centre"][:, None]) / weights["spread"][:, None]
    return scaled


def fit(
    net: nn.Module, inputs: Float32Array, is_member: npt.NDArray[np.bool_], seed: int
) -> dict[str, Float32Array]:
    """The weights of a network that was trained to tell members from non-members.

    Binary cross-entropy, Adam at 1e-4, batches of 64, 300 epochs. Classes of unequal size
    weigh alike.
    Source: EncoderMI (Liu et al., CCS 2021), experimental setup.

    Args:
        net: (n, n_in) → (n, 1): logits.
        inputs: Shape (n, n_in), standardised.
        is_member: Shape (n,).
        seed: Seed of the order of the examples.

    Raises:
        ValueError: No members or no non-members.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    x = torch.from_numpy(inputs)
    y = torch.from_numpy(is_member.astype(np.float32))
    if not 0 < is_member.sum() < len(is_member):
        raise ValueError("a network needs members and non-members")
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    order = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            logits = net(x[batch]).squeeze(1)
            loss = binary_cross_entropy_with_logits(logits, y[batch], weight[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
