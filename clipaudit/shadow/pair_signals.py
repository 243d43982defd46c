"""What a shadow encoder makes of pictures with their captions, against a bank of others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.features.caption_signals import (
    Bank,
    CaptionEmbeddings,
    CaptionSignals,
    measure_captions,
)
from clipaudit.features.views import to_unit_range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clipaudit.encoders.base import Encoder
    from clipaudit.encoders.text import TextTower
    from clipaudit.features.embeddings import Embeddings

_AT_ONCE = 250


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """Pictures with captions that neither the encoder nor its references are trained on.

    Attributes:
        ids: SHA-256 of each picture.
        images: Shape (n, 3, size_px, size_px), uint8 RGB.
        captions: Captions of each.
    """

    ids: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    captions: tuple[tuple[str, ...], ...]


def caption_meter(
    encoder: Encoder, tower: TextTower, captions: Mapping[str, Sequence[str]], others: Others
) -> Callable[[Embeddings], CaptionSignals]:
    """A function from embeddings of pictures to the signals of them and their captions.

    Args:
        encoder: Picture tower.
        tower: Text tower of the same encoder.
        captions: Captions of all pictures that the function will be asked for.
        others: What is put into the bank.
    """
    texts = list(dict.fromkeys(chain.from_iterable([*captions.values(), *others.captions])))
    vectors = dict(zip(map(_sha256, texts), tower.embed_texts(texts).vectors, strict=True))
    own = {image: tuple(map(_sha256, several)) for image, several in captions.items()}
    in_bank = tuple(dict.fromkeys(map(_sha256, chain.from_iterable(others.captions))))
    ids = "\n".join([*in_bank, "", *others.ids])
    bank = Bank(
        sha256=hashlib.sha256(ids.encode()).hexdigest(),
        origin="other pictures of the shadow data set",
        image_ids=others.ids,
        pictures=_embed(encoder, others.images),
        caption_ids=in_bank,
        captions=np.stack([vectors[key] for key in in_bank]),
    )

    def measure(embeddings: Embeddings) -> CaptionSignals:
        ids = tuple(own[image] for image in embeddings.image_ids)
        info = tower.info
        read = CaptionEmbeddings(ids, vectors)
        return measure_captions(embeddings, read, bank, info.loss, info.scale, info.bias)

    return measure


def _embed(encoder: Encoder, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    import torch

    parts = torch.from_numpy(images).split(_AT_ONCE)
    embedded = [encoder.embed(to_unit_range(part.to(encoder.device))).cpu() for part in parts]
    vectors: npt.NDArray[np.float32] = torch.cat(embedded).numpy()
    return vectors


def _sha256(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()
