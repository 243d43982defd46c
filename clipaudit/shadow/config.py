"""How a shadow encoder is pre-trained: algorithms, and all options with their limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clipaudit.errors import UsageError
from clipaudit.features.views import CLIP, ENCODERMI, RECIPES
from clipaudit.shadow.architectures import (
    ARCHITECTURES,
    PAIR_ARCHITECTURES,
    Architecture,
    Head,
    PairArchitecture,
)

TrainingPrecision = Literal["float32", "bfloat16"]
"""Kinds of number that the forward pass of a training computes with."""

Algorithm = Literal["simclr", "mocov1", "mocov2", "byol", "mocov2-split"]
ALGORITHMS: tuple[Algorithm, ...] = ("simclr", "mocov1", "mocov2", "byol")
"""Those of the paper's experiments; the others are variants of them."""


@dataclass(frozen=True, slots=True)
class Method:
    """Facts that set an algorithm apart.

    Attributes:
        head: The projection head that it ends in.
        has_momentum: Whether a second network follows the first.
        has_queue: Whether keys of earlier steps are the negatives.
        has_predictor: Whether a network on the projection predicts the other view's, and there
            are no negatives at all.
        temperature: Temperature of the contrastive loss, where none is given.
        n_parts: Parts of a batch, each of which has a batch norm of its own; where there are
            several, keys are put into other parts than the queries of the same pictures.
    """

    head: Head
    has_momentum: bool = False
    has_queue: bool = False
    has_predictor: bool = False
    temperature: float = 0.2
    n_parts: int = 1


METHODS: dict[Algorithm, Method] = {
    "simclr": Method("mlp"),
    "mocov1": Method("linear", has_momentum=True, has_queue=True, temperature=0.07),
    "mocov2": Method("mlp", has_momentum=True, has_queue=True),
    "byol": Method("mlp-bn", has_momentum=True, has_predictor=True),
    "mocov2-split": Method("mlp", has_momentum=True, has_queue=True, n_parts=8),
}


def head_of(algorithm: Algorithm) -> Head:
    """The projection head that an algorithm ends in."""
    return METHODS[algorithm].head


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """How a shadow encoder is pre-trained.

    Attributes:
        architecture: One of `ARCHITECTURES`.
        algorithm: `simclr` (Chen et al., 2020): in-batch negatives. `mocov1` (He et al., 2020): a
            momentum encoder, a queue and a linear head. `mocov2` (Chen et al., 2020): the same
            with SimCLR's head. `mocov2-split`: that with batch norm over eighths of a batch, and
            keys in another order than queries, as MoCo has it on eight GPUs (He et al., 2020,
            section 3.3), so that no statistics give the right key away. `byol` (Grill et al.,
            2020): a momentum encoder and a predictor, without negatives.
        epochs: Passes over the members.
        batch_size: Images a step; two views of each. At most the number of members is used.
        learning_rate: Step size of AdamW at the start; it falls to zero along half a cosine.
        weight_decay: Weight decay of AdamW.
        temperature: That of the contrastive loss, which `byol` does not have; None takes the
            algorithm's own, 0.07 for `mocov1` and 0.2 for the others.
        queue: Earlier keys that serve as negatives, in `mocov1` and `mocov2`. With more of
            them than half of the members, a picture often is its own negative.
        momentum: That of the momentum encoder, which all but `simclr` have.
        recipe: Augmentations, by name and version.
        precision: `bfloat16` runs the forward pass of the encoder in mixed precision.
        seed: Seed of the weights, the order and the augmentations.
    """

    architecture: Architecture = "resnet-small"
    algorithm: Algorithm = "simclr"
    epochs: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    temperature: float | None = None
    queue: int = 512
    momentum: float = 0.99
    recipe: str = ENCODERMI.id
    precision: TrainingPrecision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_unknown(
            self,
            architecture=ARCHITECTURES,
            algorithm=get_args(Algorithm),
            precision=get_args(TrainingPrecision),
            recipe=tuple(RECIPES),
        )
        if self.temperature is None:
            object.__setattr__(self, "temperature", METHODS[self.algorithm].temperature)
        _refuse_unfit(
            self,
            batch_size=(self.batch_size >= 2, "2 or more: others in it are the negatives"),
            temperature=(1e-8 <= self.tau < math.inf, "a number above 0, such as 0.2"),
            queue=(self.queue >= 1, "1 or more"),
            momentum=(0 <= self.momentum <= 1, "a number within 0 and 1"),
        )

    @property
    def tau(self) -> float:
        """The temperature, which is never None once an algorithm is chosen."""
        assert self.temperature is not None
        return self.temperature


@dataclass(frozen=True, slots=True)
class PairConfig:
    """How a shadow encoder is trained on pictures with captions, as CLIP is.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
    (2021): symmetric InfoNCE with a learned temperature, AdamW with a decay of weights but not of
    gains and biases. Differs: sizes, and the batch, which is that of a small data set.

    Attributes:
        architecture: One of `PAIR_ARCHITECTURES`.
        algorithm: Always `clip`.
        epochs: Passes over the members.
        batch_size: Pairs a step; the others in it are the negatives. At most the number of members
            is used.
        learning_rate: Step size of AdamW. It rises over the first twentieth of the steps and then
            falls to zero along half a cosine; an encoder that is fine-tuned keeps it as it is, so
            that its first epochs are those of a shorter run.
        weight_decay: Weight decay of AdamW.
        recipe: Augmentations of the pictures, by name and version.
        seed: Seed of the weights, the order and the augmentations.
        base: Fingerprint of the encoder that is fine-tuned; None starts from random weights.
    """

    architecture: PairArchitecture = "clip-vit-tiny"
    algorithm: Literal["clip"] = "clip"
    epochs: int = 100
    batch_size: int = 125
    learning_rate: float = 5e-4
    weight_decay: float = 0.2
    recipe: str = CLIP.id
    seed: int = 0
    base: str | None = None

    def __post_init__(self) -> None:
        _refuse_unknown(
            self, architecture=PAIR_ARCHITECTURES, algorithm=("clip",), recipe=tuple(RECIPES)
        )
        _refuse_unfit(
            self,
            batch_size=(self.batch_size >= 2, "2 or more: others in it are the negatives"),
        )


TrainingConfig = PretrainConfig | PairConfig
"""How a shadow encoder is trained: between views of pictures, or between pictures and captions."""


def _refuse_unknown(config: Any, **allowed: tuple[str, ...]) -> None:
    """Raise a UsageError where an option is none of its words."""
    for name, words in allowed.items():
        if getattr(config, name) not in words:
            raise UsageError(
                f"unknown {name}: {getattr(config, name)}", f"Choose one of {', '.join(words)}."
            )


def _refuse_unfit(config: Any, **others: tuple[bool, str]) -> None:
    """Raise a UsageError where a number cannot work; those that all configurations have, first."""
    limits = {
        "epochs": (config.epochs >= 1, "1 or more"),
        "learning_rate": (0 < config.learning_rate <= 1e30, "a number above 0, such as 0.001"),
        "weight_decay": (0 <= config.weight_decay < math.inf, "0 or more"),
        "seed": (0 <= config.seed < 2**63, "a number within 0 and 2^63 - 1"),
    }
    for name, (fits, wanted) in (limits | others).items():
        if not fits:
            raise UsageError(f"{name} cannot be {getattr(config, name)}", f"Pass {wanted}.")
