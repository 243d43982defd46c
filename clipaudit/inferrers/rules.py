"""Kinds of inferrer: how features become scores, and all that is known of the kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from clipaudit.features.signals import Float32Array

What = Literal["similarities", "norm", "summary", "caption", "caption-loss"]
"""`similarities`: of all pairs of views. `norm`: the log of the length of the embedding of the
image itself. `summary`: the mean similarity, the mean log length over the views, and `norm`.
`caption`: cosine of the image itself and its caption, their loss against the bank and its
gradient, the log length of the caption's embedding, and `norm`. `caption-loss`: that loss alone,
its sign turned. An image without a caption has NaN there."""


class Rule(Protocol):
    """How features become scores: V, S, T, … Plain arrays inside, no torch.

    Attributes:
        about: What it does, for its card: a sentence without its full stop.
        brief: What it reads, in a few words, for a table of methods.
        reads: Which of an encoder's signals it reads.
        reference: Whether it reads those of a reference encoder beside the target's.
        is_network: Whether a network is trained, which takes longer than all others.
        colour: Colour of its marks in figures, as #rrggbb.
        reference_colour: Colour of the form that reads a reference, of a kind that exists without
            too.
        mark: Its mark in figures, as matplotlib names it.
    """

    about: ClassVar[str]
    brief: ClassVar[str] = ""
    reads: ClassVar[What] = "similarities"
    reference: ClassVar[Literal["never", "optional", "always"]] = "optional"
    is_network: ClassVar[bool] = False
    colour: ClassVar[str] = "#666666"
    reference_colour: ClassVar[str] = "#222222"
    mark: ClassVar[str] = "."

    @classmethod
    def train(cls, values: Float32Array, is_member: npt.NDArray[np.bool_], seed: int) -> Self:
        """A rule learned from features of a shadow encoder.

        Args:
            values: Shape (n, n_columns), or (n, 2, n_columns); see `Features.values`.
            is_member: Shape (n,).
            seed: Seed of all that is random in it.

        Raises:
            ValueError: No members or no non-members.
        """

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """A rule from what `arrays` gave."""

    def arrays(self) -> dict[str, Float32Array]:
        """Everything that was learned, by name: what a file holds."""

    def score(self, values: Float32Array) -> npt.NDArray[np.float64]:
        """Scores of features, see `Features.values`: shape (n_images,); higher is more member."""

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """The score from which on a picture reads as member, by the features of `train`."""


@dataclass(frozen=True, slots=True, eq=False)
class LogitRule(Rule):
    """A rule whose score is the logit of a model that was fitted.

    Attributes:
        weights: All that was learned, by name.
    """

    weights: dict[str, Float32Array]

    def threshold(self, values: Float32Array, is_member: npt.NDArray[np.bool_]) -> float:
        """See `Rule.threshold`: the logit at which the model is undecided."""
        return 0.0

    def arrays(self) -> dict[str, Float32Array]:
        """See `Rule.arrays`."""
        return self.weights

    @classmethod
    def from_arrays(cls, arrays: dict[str, Float32Array]) -> Self:
        """See `Rule.from_arrays`."""
        return cls(arrays)
