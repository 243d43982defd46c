"""A card as a person reads it. Every figure comes from the card itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipaudit.inferrers.base import Card
    from clipaudit.metrics import Estimate

_KINDS = {
    "V": "EncoderMI-V: similarities in descending order, into a fully connected network",
    "S": "EncoderMI-S: the set of similarities, by DeepSets",
    "T": "EncoderMI-T: the mean similarity, against a threshold",
}


def render(card: Card) -> str:
    """Markdown: what it is, what it was trained on, how it does, where it fails, how to repeat."""
    shadow, reads, evidence = card.shadow, card.reads, card.evidence
    return f"""# {card.name}

{_KINDS[card.kind]}.

## What it reads
{reads.n_views} views an image of recipe `{reads.recipe}`, their {reads.similarity} similarities, \
from the `{reads.output}` output of an encoder. A score at or above {card.threshold:.6g} reads as \
member.

## What it was trained on
A shadow encoder: {shadow.architecture}, pre-trained with {shadow.algorithm} for {shadow.epochs} \
epochs on {shadow.n_members} pictures of {shadow.data} at {shadow.size_px} × {shadow.size_px} \
pixels. The inferrer was fitted to {card.n_fitted} of the {shadow.n_members} members and \
{shadow.n_nonmembers} non-members; the rest were held out.

## How it does
On the held-out pictures, with that same shadow encoder, 95 % intervals:

| figure | value | interval | n |
|---|---|---|---|
{_line("accuracy", evidence.accuracy)}
{_line("members found (TPR)", evidence.tpr)}
{_line("non-members called members (FPR)", evidence.fpr)}
{_line("AUC", evidence.auc)}

## Where it fails
These figures hold for the shadow encoder and for pictures like its own. Another encoder embeds \
views more or less alike for reasons that have nothing to do with membership: its architecture, \
its training, the kind of pictures. On a large encoder that saw each picture a few times, such as \
CLIP, expect far more errors than above, false accusations among them. A score at or above the \
threshold is no proof that a picture was used.

## How it was made
```
{card.command}
```
On {card.created} with clipaudit {card.clipaudit_version}, seed {card.seed}. Fingerprint of the \
shadow encoder: `{shadow.encoder}`.
"""


def _line(name: str, estimate: Estimate) -> str:
    interval = f"{estimate.low:.1%} to {estimate.high:.1%}"
    return f"| {name} | {estimate.value:.1%} | {interval} | {estimate.n} |".replace("%", " %")
