"""Inferrers on disk: a folder each, with `inferrer.json`, `weights.safetensors`, `card.md`."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.errors import InferrerError, nearest
from clipaudit.features.views import ENCODERMI
from clipaudit.files import FormatError, make_folder, read_json, refuse_link, replace_file
from clipaudit.inferrers import RULES, find_rule, forms, reads_of
from clipaudit.inferrers.base import Card, Inferrer, Reads
from clipaudit.inferrers.card_text import render
from clipaudit.inferrers.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
CARD = "inferrer.json"
WEIGHTS = "weights.safetensors"
TEXT = "card.md"
_MAX_VIEWS = 1000

PAPER_RECIPE = ENCODERMI.id
"""The recipe of EncoderMI, whose inferrers V, S and T are run as the paper has them."""


def save(inferrer: Inferrer, folder: Path) -> Inferrer:
    """Write an inferrer to a folder of its own; gives it back with the hash of its weights.

    Raises:
        ClipAuditError: The folder cannot be written to, or is a link.
    """
    from safetensors.numpy import save as to_bytes

    refuse_link(folder)
    make_folder(folder)
    weights = to_bytes(inferrer.rule.arrays())
    card = replace(inferrer.card, weights_sha256=hashlib.sha256(weights).hexdigest())
    replace_file(folder / WEIGHTS, weights)
    replace_file(folder / TEXT, render(card).encode())
    document = {"format": FORMAT, **asdict(card)}
    replace_file(folder / CARD, (json.dumps(document, indent=2) + "\n").encode())
    return Inferrer(card, inferrer.rule)


def load(folder: Path) -> Inferrer:
    """Read an inferrer; its scores are those of the one that was saved, bit by bit.

    Raises:
        InferrerError: A file is missing, broken, from a newer version, or not what the card
            says it is.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    card = read_card(folder)
    try:
        weights = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
            raise InferrerError(
                f"the weights of inferrer {card.name} are not those that its card names",
                f"{folder / WEIGHTS} was changed or cut; copy or train the inferrer again.",
            )
        rule = find_rule(card.kind).from_arrays(from_bytes(weights))
        _try(rule, card)
    except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
        raise _broken(folder, error) from error
    return Inferrer(card, rule)


def _try(rule: Rule, card: Card) -> None:
    """Raise a ValueError or KeyError where the weights are not those of such a rule."""
    if any(array.dtype != np.float32 for array in rule.arrays().values()):
        raise ValueError("the weights are not all float32")
    reads_views = card.reads.reads_views
    if not 2 * reads_views <= card.reads.n_views <= _MAX_VIEWS * reads_views:
        raise ValueError(f"n_views is not within 2 and {_MAX_VIEWS}")
    if card.reads.has_reference not in forms(card.kind, has_reference=True):
        raise ValueError(f"{card.kind} does not exist in this form")
    if card.reads.what != find_rule(card.kind).reads:
        raise ValueError(f"{card.kind} does not read {card.reads.what}")
    with np.errstate(all="ignore"):  # the result says enough
        scores = rule.score(np.zeros((1, *card.reads.shape), dtype=np.float32))
    if scores.shape != (1,) or not np.isfinite(scores).all():
        raise ValueError("the weights give no score")


def read_card(folder: Path) -> Card:
    """The card of an inferrer alone.

    Raises:
        InferrerError: As `load`.
    """
    try:
        card = read_json(folder / CARD, Card, version=FORMAT, unknown="forbid", printable=True)
        if card.kind not in RULES:
            raise ValueError(f"kind is {card.kind!r}")
    except FormatError as error:
        raise InferrerError(
            f"{folder} was written by another version of clipaudit",
            "Update clipaudit, or train the inferrer again.",
        ) from error
    except (OSError, ValueError) as error:
        raise _broken(folder, error) from error
    return card


def _broken(folder: Path, error: Exception) -> InferrerError:
    return InferrerError(
        f"{folder} holds no inferrer that can be read: {error}",
        f"An inferrer is a folder with {CARD} and {WEIGHTS}, as `clipaudit train` writes it.",
    )


def shipped_folder() -> Path:
    """The folder of the inferrers that come with the package."""
    installed = Path(str(resources.files("clipaudit"))) / "pretrained_inferrers"
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[2] / "pretrained_inferrers"  # an editable checkout


def list_inferrers() -> list[Card]:
    """Cards of the inferrers that come with the package, by name."""
    return [read_card(card.parent) for card in sorted(shipped_folder().glob(f"*/{CARD}"))]


def find(name: str) -> Inferrer:
    """An inferrer by the name of a shipped one, or by the path of its folder or card.

    Raises:
        InferrerError: There is none; the nearest names are offered.
    """
    path = Path(name)
    with suppress(OSError):  # a name that no file can have
        if path.name == name and (shipped_folder() / name / CARD).exists():
            return load(shipped_folder() / name)
        if path.name in {CARD, WEIGHTS}:
            path = path.parent
        if path.is_dir():
            return load(path)
    names = [card.name for card in list_inferrers()]
    offered = nearest(name, names, limit=3) or names
    raise InferrerError(
        f"there is no inferrer {name}",
        f"Choose one of {', '.join(offered)}, or pass the folder of one that you trained."
        if offered
        else "Pass the folder of one that you trained with `clipaudit train`.",
    )


def shipped_for(
    made_by: Reads,
    *,
    every_data_set: bool = False,
    has_captions: bool = False,
    shadow: str | None = None,
) -> Sequence[Inferrer]:
    """The shipped inferrers that read features of this kind: V, S and T, in this order.

    Where inferrers of several data sets do, those of one are taken: of the one with the most
    kinds, then of the one with the best mean accuracy on its cards. With `every_data_set` all are,
    by kind and then by data set.

    Where there is a reference it is those that read it, whatever else they read, the one with the
    best accuracy on its card first; the same with views of another recipe than the paper's.

    Where there are captions and inferrers that read them, those come first, and beside them only
    such as read no views: their passes would be made for the weaker evidence.

    With `shadow` only those of this data set are taken.

    Raises:
        InferrerError: There is none.
    """
    cards = [card for card in list_inferrers() if shadow in (None, card.shadow.data)]
    fitting = [card for card in cards if _fits(card, made_by)]
    with_captions = [card for card in cards if has_captions and _fits_captions(card, made_by)]
    if not fitting and not with_captions and made_by.has_reference:
        raise InferrerError(
            f"no shipped inferrer reads a reference beside {made_by.n_views} views, "
            f"{made_by.similarity} similarities, the {made_by.output} output and recipe "
            f"{made_by.recipe} together",
            "`clipaudit inferrers` lists what each reads; `clipaudit train --references` makes "
            "others.",
        )
    if not fitting and not with_captions:
        raise InferrerError(
            f"no shipped inferrer reads {made_by.n_views} views, {made_by.similarity} "
            f"similarities, the {made_by.output} output and recipe {made_by.recipe} together",
            "`clipaudit inferrers` lists what each reads; `clipaudit train` makes others.",
        )
    kinds = list(RULES)
    if every_data_set:
        fitting += with_captions
        fitting.sort(key=lambda card: (kinds.index(card.kind), card.shadow.data, card.name))
        return [load(shipped_folder() / card.name) for card in fitting]
    best = best_set(fitting)
    if made_by.has_reference or made_by.recipe != PAPER_RECIPE:
        best.sort(key=lambda card: (-card.evidence.accuracy.value, card.name))
    else:
        best.sort(key=lambda card: kinds.index(card.kind))
    if with_captions:
        first = best_set(with_captions)
        first.sort(key=lambda card: (-card.evidence.accuracy.value, card.name))
        best = first + [card for card in best if not card.reads.reads_views]
    return [load(shipped_folder() / card.name) for card in best]


def best_set(cards: Sequence[Card]) -> list[Card]:
    """Those of one data set: of the one with the most kinds, then with the best accuracy."""
    by_data: dict[str, list[Card]] = {}
    for card in cards:
        by_data.setdefault(card.shadow.data, []).append(card)
    return max(by_data.values(), key=_worth, default=[])


def _fits(card: Card, made_by: Reads) -> bool:
    """Whether an inferrer that reads pictures alone reads features of this kind."""
    if card.reads.reads_captions:
        return False
    if not made_by.has_reference and made_by.recipe == PAPER_RECIPE:
        return card.reads == made_by
    wanted = reads_of(
        card.kind,
        made_by.similarity,
        made_by.n_views,
        made_by.recipe,
        made_by.output,
        has_reference=made_by.has_reference,
    )
    return card.reads == wanted


def _fits_captions(card: Card, made_by: Reads) -> bool:
    """Whether an inferrer that reads captions fits, whatever views there would be.

    One that needs a reference always was learned for one reference alone, the encoder that the
    target was fine-tuned from: that is for the user to say, by naming it.
    """
    reads = card.reads
    return (
        reads.reads_captions
        and reads.output == made_by.output
        and reads.has_reference == made_by.has_reference
        and find_rule(card.kind).reference != "always"
    )


def _worth(cards: Sequence[Card]) -> tuple[int, float]:
    right = [card.evidence.accuracy.value for card in cards]
    return len({card.kind for card in cards}), sum(right) / len(right)
