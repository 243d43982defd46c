"""How long an encoder was trained: what is published of pairs seen and of epochs, with its source.

Nothing is guessed: what no source says is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipaudit.encoders.spec import parse
from clipaudit.encoders.training_data import TrainingFacts, is_file, training_facts


@dataclass(frozen=True, slots=True)
class TrainingLength:
    """How often an encoder saw its training pictures.

    Attributes:
        n_pairs: Different pictures or pairs; None where that is not known.
        n_seen: Pictures or pairs that it saw in all, each time counted.
        epochs: How often it saw each, on average.
        basis: Where that stands, or why it is not known.
    """

    n_pairs: int | None
    n_seen: int | None
    epochs: float | None
    basis: str


_BY_NAME = "the name of the weights, which says {} (github.com/mlfoundations/open_clip)"
_META = "github.com/facebookresearch/MetaCLIP, its table of models"
_PUBLISHED: tuple[tuple[str, int | None, float | None, str], ...] = (
    ("openai", None, 32, "the paper trained every model for 32 epochs (arXiv:2103.00020, 2.5)"),
    ("yfcc15m", None, 32, "github.com/mlfoundations/open_clip, docs/PRETRAINED.md"),
    ("metaclip_400m", 12_800_000_000, None, _META),
    ("metaclip_fullcc", 12_800_000_000, None, _META),
    ("metaclip_2pt5b", 12_800_000_000, None, _META),
    ("dfn5b", 39_000_000_000, None, "the model card (huggingface.co, apple/DFN5B-CLIP-ViT-H-14)"),
    ("siglip2", 40_000_000_000, None, "second-hand, of the paper arXiv:2502.14786"),
    ("webli", 40_000_000_000, None, "second-hand, of the paper arXiv:2303.15343"),
)
"""A part of a name, pairs seen or epochs, and the source; the first that fits counts."""

_UNITS = {"m": 1_000_000, "b": 1_000_000_000}
_SEEN = re.compile(r"(?:^|_)s(\d+)([mb])(?=_|$)")
_EPOCHS = re.compile(r"(?:^|_)e(\d+)$")


def training_length(spec: str) -> TrainingLength:
    """What is published of how long an encoder was trained.

    >>> training_length("ViT-B-32/openai").epochs
    32
    >>> round(training_length("ViT-B-32/laion2b_s34b_b79k").epochs or 0, 1)
    14.7
    >>> training_length("ViT-B-16-SigLIP/webli").epochs is None
    True

    Raises:
        EncoderError: No scheme has this name.
    """
    facts = training_facts(spec)
    n_seen, epochs, basis = _published(spec)
    n_pairs = None if facts.is_filtered else facts.n_pairs
    if epochs is None and n_seen is not None and n_pairs is not None:
        epochs = n_seen / n_pairs
    elif n_seen is None and epochs is not None and n_pairs is not None:
        n_seen = round(epochs * n_pairs)
    return TrainingLength(n_pairs, n_seen, epochs, _reason(facts, n_seen, epochs, basis))


def _published(spec: str) -> tuple[int | None, float | None, str]:
    scheme, name = parse(spec)
    plain = name.lower().replace("-", "_").replace(".", "_").replace("/", "_")
    if scheme not in ("open_clip", "hf-hub", "transformers", "timm") or is_file(name):
        return None, None, ""
    if found := _SEEN.search(plain):
        n_seen = int(found[1]) * _UNITS[found[2]]
        return n_seen, None, _BY_NAME.format("how many pairs were seen")
    if found := _EPOCHS.search(plain):
        return None, int(found[1]), _BY_NAME.format("the epochs")
    for part, seen, epochs, basis in _PUBLISHED:
        if part in plain:
            return seen, epochs, basis
    return None, None, ""


def _reason(facts: TrainingFacts, n_seen: int | None, epochs: float | None, basis: str) -> str:
    if not basis:
        return "nobody knows: nothing is published of how long it was trained"
    if epochs is not None or n_seen is None:
        return basis
    if facts.is_filtered:
        return (
            f"{basis}; a filter kept a part of the {facts.n_pairs or 0:,} pairs, so each was seen "
            "more often than if all had been used"
        )
    return f"{basis}; how many different pairs those were is not published"
