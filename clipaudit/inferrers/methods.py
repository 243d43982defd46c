"""Methods: what people choose, and the shipped inferrer that a choice means.

A method is a kind of inferrer under the name that people type. The folder that fits a run's
output, recipe, views, similarity and reference is found here, and so is the method of a run for
which none was named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipaudit.errors import InferrerError, UsageError, did_you_mean
from clipaudit.inferrers import RULES, find_rule, forms, reads_of
from clipaudit.inferrers.base import Card, Inferrer, Kind, OtherEncoders, Reads
from clipaudit.inferrers.library import best_set, find, list_inferrers, shipped_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.encoders.base import Output

ALL = "all"
"""What stands for every method that fits."""

METHODS: dict[str, Kind] = {kind.lower(): kind for kind in RULES}
"""Name of a method → kind of its inferrers."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of which inferrers ship.

    Attributes:
        name: What `--method` takes.
        cards: Cards of its inferrers.
    """

    name: str
    cards: tuple[Card, ...]

    @property
    def about(self) -> str:
        """What it does: a sentence without its full stop."""
        return find_rule(METHODS[self.name]).about

    @property
    def brief(self) -> str:
        """What it reads, in a few words."""
        return find_rule(METHODS[self.name]).brief

    @property
    def needs(self) -> str:
        """What a run must have for it; in brackets what it reads where that is there."""
        reads = self.cards[0].reads
        what = "captions" if reads.reads_captions else "views" if reads.reads_views else "pictures"
        with_reference = [card.reads.has_reference for card in self.cards]
        if all(with_reference):
            return f"{what} + reference"
        return f"{what} (+ reference)" if any(with_reference) else what

    @property
    def passes(self) -> str:
        """Forward passes of the encoder a picture."""
        numbers = sorted({card.reads.n_passes for card in self.cards})
        text = " + text" if self.cards[0].reads.reads_captions else ""
        return " or ".join(map(str, numbers)) + text

    @property
    def reached(self) -> str:
        """Share of pictures that its inferrers called rightly, with what that was measured on.

        By the number of pictures that the encoders saw, and how often; then on other encoders.
        """
        groups: dict[tuple[str, Output], list[Card]] = {}
        for card in sorted(self.cards, key=lambda card: card.reads.output):
            shadow = card.shadow
            on = f"{shadow.n_members:,} pictures × {shadow.epochs:,}"
            groups.setdefault((on, card.reads.output), []).append(card)
        clauses: dict[str, list[str]] = {}
        for (on, output), cards in groups.items():
            shares = [card.evidence.accuracy.value for card in cards]
            at = "" if output == "embedding" else f"{output} "
            clauses.setdefault(on, []).append(f"{at}{_range(shares)}")
        others = [share for card in self.cards for other in card.others for share in _ends(other)]
        where = f"elsewhere {_range(others)}" if others else "not measured on others"
        return "; ".join([*(f"{', '.join(text)} on {on}" for on, text in clauses.items()), where])


@dataclass(frozen=True, slots=True)
class Offer:
    """What a run has for an inferrer to read.

    Attributes:
        reads: Views, similarity, recipe and output; whether there is a reference.
        has_captions: Whether there are captions.
        has_base: Whether a reference is what the encoder was fine-tuned from.
        shadow: Name of the only shadow data set that may serve; None takes any.
    """

    reads: Reads
    has_captions: bool = False
    has_base: bool = False
    shadow: str | None = None


@dataclass(frozen=True, slots=True)
class Default:
    """A line of the table of defaults.

    Attributes:
        method: The method.
        offer: What the run must offer, for people.
        reason: Why this one: what was measured, and where that is written down.
        needs_reference: Whether there must be a reference.
        needs_base: Whether that must be what the encoder was fine-tuned from.
        output: The only output that it is for; None for both.
    """

    method: str
    offer: str
    reason: str
    needs_reference: bool = False
    needs_base: bool = False
    output: Output | None = None

    def is_met_by(self, offer: Offer) -> bool:
        """Whether a run offers that."""
        return (
            (offer.reads.has_reference or not self.needs_reference)
            and (offer.has_base or not self.needs_base)
            and self.output in (None, offer.reads.output)
        )


DEFAULTS = (
    Default(
        "fine-tune",
        "captions, and what the encoder was fine-tuned from as its reference",
        "AUC 0.63 to 0.99 on fine-tuned encoders, where the loss against the base reached 0.52 to "
        "0.89 and pictures alone 0.44 to 0.55 (docs/lab-clip)",
        needs_base=True,
    ),
    Default(
        "caption",
        "captions",
        "AUC 0.985 on encoders trained as CLIP is, with a reference 0.986; the loss alone 0.976, "
        "pictures alone 0.52 to 0.61 (docs/lab-clip)",
    ),
    Default(
        "combined",
        "a reference, and the output that the loss saw",
        "AUC 0.999 on encoders that over-fit and 0.845 on such as hardly do; of those with a "
        "reference the strongest on encoders trained as CLIP is, too (docs/lab-reference, "
        "docs/lab-clip)",
        needs_reference=True,
        output="embedding",
    ),
    Default(
        "adjusted",
        "a reference, and the trunk",
        "AUC 0.742 and 0.761 on encoders that hardly over-fit, where combined reached 0.731 and "
        "0.758; and the steadier where the control shows something else (docs/lab-reference)",
        needs_reference=True,
        output="trunk",
    ),
    Default(
        "combined",
        "pictures alone",
        "with 20 suspects and 20 control pictures at level 5 %, on a held-out trunk, it found 77 % "
        "of 300 folders of members, where v found 61 %",
    ),
    Default(
        "v",
        "views that are compared otherwise than by their cosine",
        "the paper's strongest, and of these kinds alone inferrers ship",
    ),
)
"""What a run offers → its method, where none is named: the first line that the run meets and that
a shipped inferrer serves. Fixed before any score is seen; never the best of several."""


def shipped_methods() -> tuple[Method, ...]:
    """The methods of which an inferrer ships."""
    cards = list_inferrers()
    return tuple(
        Method(name, of_kind)
        for name, kind in METHODS.items()
        if (of_kind := tuple(card for card in cards if card.kind == kind))
    )


def choose(
    methods: Sequence[str], offer: Offer, *, every_data_set: bool = False
) -> tuple[Inferrer, ...]:
    """The shipped inferrers of the named methods, in their order.

    Args:
        methods: Names of `METHODS`, or `ALL`; none takes the default of the table.
        offer: What the run has to read.
        every_data_set: Whether to take those of every shadow data set, and not of the best alone.

    Raises:
        InferrerError: A method cannot be had for what the run offers; the hint says what to pass.
        UsageError: No inferrer ships that learned from the shadow data set.
    """
    data = sorted({card.shadow.data for card in list_inferrers()})
    if offer.shadow not in (None, *data):
        raise UsageError(
            f"--shadow {offer.shadow} is not known",
            did_you_mean(str(offer.shadow), data, f"Choose among {', '.join(data)}."),
        )
    if not methods:
        return _find_default(offer, every_data_set=every_data_set)
    if ALL in methods:
        return _every(offer, every_data_set=every_data_set)
    return tuple(
        inferrer
        for method in dict.fromkeys(methods)
        for inferrer in _find(method, offer, every_data_set=every_data_set)
    )


def _every(offer: Offer, *, every_data_set: bool) -> tuple[Inferrer, ...]:
    try:
        found = shipped_for(
            offer.reads,
            every_data_set=every_data_set,
            has_captions=offer.has_captions,
            shadow=offer.shadow,
        )
    except InferrerError as error:
        if offer.shadow is None:
            raise
        raise InferrerError(
            f"of shadow data set {offer.shadow} {error}", f"Leave out --shadow. {error.hint}"
        ) from error
    return tuple(found)


def _find_default(offer: Offer, *, every_data_set: bool) -> tuple[Inferrer, ...]:
    for default in DEFAULTS:
        if default.is_met_by(offer) and (cards := _fitting(METHODS[default.method], offer)):
            return _load(cards, every_data_set=every_data_set)
    return _every(offer, every_data_set=every_data_set)[:1]


def _find(method: str, offer: Offer, *, every_data_set: bool) -> tuple[Inferrer, ...]:
    kind = METHODS[method]
    if not _ships(kind, offer):
        among = f" of shadow data set {offer.shadow}" if offer.shadow else ""
        raise InferrerError(
            f"no inferrer of method {method}{among} ships",
            "`clipaudit inferrers` lists what does; `clipaudit train` makes others.",
        )
    if find_rule(kind).reads.startswith("caption") and not offer.has_captions:
        raise InferrerError(
            f"method {method} reads captions, and there are none",
            "Pass --captions with a caption file, or sidecar, embedded or names; or another "
            "method: `clipaudit inferrers` lists them.",
        )
    if find_rule(kind).reference == "always" and not offer.reads.has_reference:
        raise InferrerError(
            f"method {method} reads the signals of a reference encoder too, and there is none",
            "Pass --reference with an encoder that was not trained on these images, or another "
            "method: `clipaudit inferrers` lists them.",
        )
    if not (cards := _fitting(kind, offer)):
        raise InferrerError(
            f"no shipped inferrer of method {method} reads {_in_words(_wanted(kind, offer)[-1])} "
            "together",
            f"Pass {_nearest(kind, offer)}; `clipaudit inferrers show {method}` lists what ships.",
        )
    return _load(cards, every_data_set=every_data_set)


def _ships(kind: Kind, offer: Offer) -> list[Card]:
    return [
        card
        for card in list_inferrers()
        if card.kind == kind and offer.shadow in (None, card.shadow.data)
    ]


def _wanted(kind: Kind, offer: Offer) -> list[Reads]:
    """What an inferrer of a kind would read of a run; with the reference first."""
    reads = offer.reads
    return [
        reads_of(
            kind,
            reads.similarity,
            reads.n_views,
            reads.recipe,
            reads.output,
            has_reference=has_reference,
        )
        for has_reference in reversed(forms(kind, has_reference=reads.has_reference))
    ]


def _fitting(kind: Kind, offer: Offer) -> list[Card]:
    """Cards of a kind that read what there is: with the reference, where one of these ships."""
    if find_rule(kind).reads.startswith("caption") and not offer.has_captions:
        return []
    for wanted in _wanted(kind, offer):
        if found := [card for card in _ships(kind, offer) if not _differences(card.reads, wanted)]:
            return found
    return []


def _differences(reads: Reads, wanted: Reads) -> dict[str, str]:
    """What to pass, an option each, for a run to make what an inferrer reads."""
    options = {
        "--views": (reads.n_views, wanted.n_views),
        "--similarity": (reads.similarity, wanted.similarity),
        "--output": (reads.output, wanted.output),
        # Those of captions see the picture as it is, whatever the views are.
        "--recipe": (reads.recipe, reads.recipe if reads.reads_captions else wanted.recipe),
        "--reference": (reads.has_reference, wanted.has_reference),
    }
    return {name: str(here) for name, (here, there) in options.items() if here != there}


def _nearest(kind: Kind, offer: Offer) -> str:
    """The options that bring a run to the nearest inferrer of a kind."""
    changes = [
        _differences(card.reads, wanted)
        for wanted in _wanted(kind, offer)
        for card in _ships(kind, offer)
        if card.reads.has_reference == wanted.has_reference
    ]
    return " ".join(f"{name} {value}" for name, value in min(changes, key=len).items())


def _load(cards: Sequence[Card], *, every_data_set: bool) -> tuple[Inferrer, ...]:
    chosen = sorted(cards, key=lambda card: card.name) if every_data_set else best_set(cards)
    return tuple(find(card.name) for card in chosen)


def _in_words(reads: Reads) -> str:
    views = f"{reads.n_views} views, {reads.similarity} similarities, " if reads.n_views else ""
    recipe = "" if reads.reads_captions else f" and recipe {reads.recipe}"
    return f"{views}the {reads.output} output{recipe}"


def _ends(other: OtherEncoders) -> tuple[float, float]:
    return other.low, other.high


def _range(shares: Sequence[float]) -> str:
    """Shares in whole percent, from the lowest to the highest."""
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"
