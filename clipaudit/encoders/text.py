"""Captions → embeddings. What the other half of an encoder is that was trained with text.

A text tower takes captions as they are, cuts them into tokens the way its own model was trained,
and gives one vector a caption in the space of the image embeddings, never normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

PairLoss = Literal["softmax", "sigmoid"]
"""`softmax`: InfoNCE over a batch (CLIP). `sigmoid`: every pair for itself (SigLIP)."""


@dataclass(frozen=True, slots=True)
class TextInfo:
    """What is known of a text tower; it goes into every result that read captions.

    Attributes:
        spec: The name that the encoder was asked for by.
        dim: Length of one embedding: that of the image embeddings.
        context_length: Tokens that a caption may have; what is longer is cut.
        fingerprint: SHA-256 in hex over the weights, the tokenizer, the scale and the bias.
        loss: The loss that joined pictures and captions.
        scale: Factor on the cosine in that loss, above 0.
        bias: Added to the scaled cosine; 0 for `softmax`.
    """

    spec: str
    dim: int
    context_length: int
    fingerprint: str
    loss: PairLoss
    scale: float
    bias: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """What a text tower made of some captions.

    Attributes:
        vectors: Shape (n, dim), float32, not normalised.
        is_cut: Shape (n,): whether a caption was longer than the context, and was cut.
    """

    vectors: npt.NDArray[np.float32]
    is_cut: npt.NDArray[np.bool_]


class TextTower(Protocol):
    """The text half of an encoder, loaded and ready."""

    @property
    def info(self) -> TextInfo:
        """Its name, loss and fingerprint."""

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embeddings of captions, in their order; results do not depend on their company.

        Raises:
            EncoderError: The tower does not run on them.
        """
