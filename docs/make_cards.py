"""Put on every shipped card what its kind reached on other encoders: `python docs/make_cards.py`.

The figures are those of docs/lab*/results, and the text of the cards is made anew. With `--check`
it writes nothing and exits with 1 where a card is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers.base import Card, OtherEncoders
from clipaudit.inferrers.library import list_inferrers, load, save, shipped_folder

DOCS = Path(__file__).parent

Outcome = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """Results of the laboratory that say what a kind reaches on other encoders.

    Attributes:
        difference: See `OtherEncoders`.
        results: File of the results, in docs.
        experiment: Kind of the experiment.
        is_of: Whether its outcomes say something of a card.
        is_other: Whether an outcome, with this setting, is of another encoder than the card's.
    """

    difference: str
    results: str
    experiment: str
    is_of: Callable[[Card], bool]
    is_other: Callable[[Card, str], bool]


def _is_papers(card: Card) -> bool:
    """Whether the encoders that it was tested on are those of the paper's experiments."""
    reads = card.reads
    return (
        card.kind in ("V", "S", "T")
        and reads.recipe == ENCODERMI.id
        and (reads.similarity, reads.n_views, reads.has_reference) == ("cosine", 10, False)
    )


def _is_of_reference(card: Card) -> bool:
    reads = card.reads
    return (
        card.shadow.algorithm == "simclr"
        and reads.similarity == "cosine"
        and (not _is_papers(card))
    )


def _n_passes(card: Card, setting: str) -> bool:
    """Whether a setting, a number of forward passes, is the nearest to the card's."""
    wanted = {0: "1", 3: "4", 10: "10"}.get(card.reads.n_views)
    return setting == wanted


def _has_fewer_rounds(card: Card, setting: str) -> bool:
    return setting.endswith("epochs") and f" {card.shadow.epochs} epochs" not in setting


def _is_fine_tuned_otherwise(card: Card, setting: str) -> bool:
    return f" {card.shadow.n_members} pictures" not in setting


CPU, WEAK, CLIP = (
    f"lab-{name}/results/{file}.json"
    for name, file in (
        ("cpu", "encodermi-cpu"),
        ("reference", "reference-weak"),
        ("clip", "clip-cpu"),
    )
)

TRIALS = (
    Trial(
        "encoders of another architecture",
        CPU,
        "background",
        _is_papers,
        lambda card, setting: "architecture" not in setting,
    ),
    Trial(
        "encoders trained for fewer rounds",
        CPU,
        "epochs",
        _is_papers,
        lambda card, setting: int(setting) != card.shadow.epochs,
    ),
    Trial(
        "encoders trained with other views",
        CPU,
        "augmentations",
        _is_papers,
        lambda card, setting: True,
    ),
    Trial(
        "encoders trained for an eighth of the rounds, fitted to their like",
        WEAK,
        "reference",
        _is_of_reference,
        _n_passes,
    ),
    Trial(
        "encoders trained for fewer rounds, fitted to their like",
        CLIP,
        "clip",
        lambda card: card.shadow.algorithm == "clip" and card.kind != "fine-tune",
        _has_fewer_rounds,
    ),
    Trial(
        "encoders fine-tuned on fewer or more pictures, fitted to their like",
        CLIP,
        "fine-tune",
        lambda card: card.kind == "fine-tune",
        _is_fine_tuned_otherwise,
    ),
)


def other_encoders(card: Card) -> tuple[OtherEncoders, ...]:
    """What the kind of a card reached on other encoders than the card was measured on."""
    return tuple(_figures(card))


def _figures(card: Card) -> Iterator[OtherEncoders]:
    for trial in TRIALS:
        if not trial.is_of(card):
            continue
        found = json.loads((DOCS / trial.results).read_text(encoding="utf-8"))
        shares = [
            (outcome["found"] + outcome["spared"]) / _n(outcome)
            for outcome in found["outcomes"]
            if found["experiments"][outcome["experiment"]]["kind"] == trial.experiment
            and outcome["output"] == card.reads.output
            and outcome["method"] == _method(card)
            and trial.is_other(card, outcome["setting"])
        ]
        if shares:
            source = f"docs/{trial.results.partition('/')[0]}"
            yield OtherEncoders(trial.difference, min(shares), max(shares), len(shares), source)


def _n(outcome: Outcome) -> int:
    return sum(outcome[name] for name in ("found", "missed", "accused", "spared"))


def _method(card: Card) -> str:
    """Name of a form of a kind in the results."""
    always = card.kind in ("adjusted", "difference", "fine-tune")
    return f"{card.kind} + reference" if card.reads.has_reference and not always else card.kind


def main() -> None:
    """Write the cards, or say which are stale."""
    stale = [card for card in list_inferrers() if card.others != other_encoders(card)]
    if "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(card.name for card in stale)}" if stale else 0)
    for card in list_inferrers():
        inferrer = load(shipped_folder() / card.name)
        written = replace(inferrer, card=replace(card, others=other_encoders(card)))
        save(written, shipped_folder() / card.name)


if __name__ == "__main__":
    main()
