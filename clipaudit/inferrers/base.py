"""Stage 5: membership features → scores. What every inferrer is.

An inferrer never sees an image, only similarities. It carries what it reads, the threshold at
which a score reads as member, and the evidence for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, get_args

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.base import Output
from clipaudit.errors import InferrerError
from clipaudit.metrics import Evidence
from clipaudit.similarity import Float32Array, Signals, Similarity

Kind = Literal["V", "S", "T"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Reads:
    """What features an inferrer was trained on, and so the only ones that it understands."""

    similarity: Similarity
    n_views: int
    recipe: str
    output: Output


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The membership features of some images.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; n_images of them.
        values: Shape (n_images, n_pairs), float32: pairwise similarities of its views.
        made_by: What they are.
    """

    image_ids: tuple[str, ...]
    values: Float32Array
    made_by: Reads

    @classmethod
    def of(cls, signals: Signals, made_by: Reads) -> Features:
        """The features that an inferrer of this kind reads, picked from all signals."""
        return cls(signals.image_ids, signals.pairs(made_by.similarity), made_by)


def card_name(data: str, reads: Reads, kind: Kind) -> str:
    """How an inferrer is called; what is usual is left out.

    >>> card_name("cifar10", Reads("pearson", 10, "encodermi@1", "trunk"), "V")
    'cifar10-trunk-pearson-v'
    """
    words = [data]
    words += [] if reads.output == "embedding" else [reads.output]
    words += [] if reads.similarity == "cosine" else [reads.similarity]
    return "-".join([*words, kind.lower()])


class Rule(Protocol):
    """How features become scores: V, S or T. Plain arrays inside, no torch."""

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """A rule learned from features of a shadow encoder.

        Args:
            values: Shape (n, n_pairs).
            is_member: Shape (n,).
            seed: Of all that is random in it.

        Raises:
            ValueError: No members or no non-members.
        """

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """A rule from what `arrays` gave."""

    def arrays(self) -> dict[str, Float32Array]:
        """Everything that was learned, by name: what a file holds."""

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """Scores of features, shape (n_images, n_pairs) → (n_images,); higher is more member."""

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """The score from which on a picture reads as member, by the features of `train`."""


@dataclass(frozen=True, slots=True)
class ShadowFacts:
    """The shadow encoder behind an inferrer, or several that differ by their seed alone.

    Attributes:
        data: Name of the shadow data set, such as `cifar10`.
        n_members: Pictures that pre-trained each.
        n_nonmembers: Pictures of the same set that did not.
        architecture: As `clipaudit train --architecture` takes it.
        algorithm: As `clipaudit train --algorithm` takes it.
        epochs: Passes over the members.
        size_px: Side of the pictures.
        encoder: Fingerprint of the shadow encoder for the output that is read; of several,
            SHA-256 over theirs, one after the other.
        n_encoders: How many there are.
    """

    data: str
    n_members: int
    n_nonmembers: int
    architecture: str
    algorithm: str
    epochs: int
    size_px: int
    encoder: str
    n_encoders: int = 1

    def __str__(self) -> str:
        times = "" if self.n_encoders == 1 else f"{self.n_encoders} × "
        return (
            f"{times}{self.data} ({self.n_members} members), {self.architecture}, "
            f"{self.algorithm}, {self.epochs} epochs"
        )


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known of an inferrer; `inferrer.json` holds exactly this.

    Attributes:
        name: What `--inferrer` takes.
        kind: V, S or T.
        reads: The features that it understands.
        threshold: A score equal to or above it reads as member.
        shadow: What it was trained on.
        evidence: Its figures on pictures that neither the rule nor its threshold was fitted to:
            those of `n_targets` other encoders or, where that is 0, held-out ones of the shadow
            encoder.
        n_fitted: Pictures that the rule was fitted to.
        seed: Of the split, the pre-training and the fit.
        command: What made it.
        created: UTC date, ISO 8601.
        clipaudit_version: The package that made it.
        weights_sha256: Of `weights.safetensors`.
        n_targets: Encoders that the inferrer never met, and was judged on.
    """

    name: str
    kind: Kind
    reads: Reads
    threshold: float
    shadow: ShadowFacts
    evidence: Evidence
    n_fitted: int
    seed: int
    command: str
    created: str
    clipaudit_version: str
    weights_sha256: str = ""
    n_targets: int = 0

    @property
    def judged_on(self) -> str:
        """What its evidence was measured on, to follow the word "on"."""
        if not self.n_targets:
            return f"held-out pictures of {self.shadow.data}, with its own shadow encoder"
        return f"{self.n_targets} encoders that it never met, trained on {self.shadow.data}"


@dataclass(frozen=True, slots=True)
class Inferrer:
    """A rule and its card."""

    card: Card
    rule: Rule = field(repr=False)

    def score(self, features: Features) -> npt.NDArray[np.float64]:
        """Scores, shape (n_images,); at or above `card.threshold` reads as member.

        Raises:
            InferrerError: The features are not those that it was trained on.
        """
        self.check(features.made_by)
        return self.rule.score(features.values)

    def check(self, made_by: Reads) -> None:
        """Whether features of this kind can be read.

        Raises:
            InferrerError: They cannot; the message names the difference.
        """
        wants = self.card.reads
        name = self.card.name
        if wants.n_views != made_by.n_views:
            raise InferrerError(
                f"inferrer {name} reads {wants.n_views} views, got {made_by.n_views}",
                f"Pass --views {wants.n_views}, or train an inferrer for {made_by.n_views} "
                "views with `clipaudit train`.",
            )
        if wants.similarity != made_by.similarity:
            raise InferrerError(
                f"inferrer {name} reads {wants.similarity} similarities, got {made_by.similarity}",
                f"Pass --similarity {wants.similarity}, or another inferrer: "
                "`clipaudit inferrers` lists them.",
            )
        if wants.output != made_by.output:
            raise InferrerError(
                f"inferrer {name} was trained on the {wants.output} output of its shadow "
                f"encoder, and this encoder gives its {made_by.output}",
                f"Pass --output {wants.output} if the encoder has it, or an inferrer that reads "
                f"the {made_by.output}: `clipaudit inferrers` lists them.",
            )
        if wants.recipe != made_by.recipe:
            raise InferrerError(
                f"inferrer {name} reads views of recipe {wants.recipe}, got {made_by.recipe}",
                "Use an inferrer that was trained on this recipe, or train one with "
                "`clipaudit train`.",
            )
