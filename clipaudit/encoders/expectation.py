"""What can be expected of an audit before it is run: from pairs, epochs and what is published.

No figure without its source; that nobody knows is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipaudit.encoders.references import find_bases
from clipaudit.encoders.spec import SCHEMES, parse
from clipaudit.encoders.training_data import TrainingFacts, training_facts
from clipaudit.encoders.training_length import TrainingLength, training_length
from clipaudit.errors import EncoderError
from clipaudit.statistics.expected_auc import FEWEST, SOURCE, expected_auc, tpr_at
from clipaudit.statistics.two_sets import pictures_needed, power_of
from clipaudit.text.numbers import percent

Outlook = Literal["promising", "possible", "out of reach", "unknown", "closed"]

ALPHA, POWER = 0.05, 0.8
"""Level and power that numbers of pictures are given for."""

AUCS = (0.51, 0.52, 0.55, 0.6, 0.7, 0.85)
"""What the table of pictures needed shows."""

_FEW, _MANY = 1_000, 20_000
"""Up to so many pictures a side a folder is promising, and possible."""
_FAINT, _CLEAR = 0.55, 0.7
"""AUCs from which on captions are a possible way, and a promising one."""
_FPR, _WORTH = 0.01, 0.2
"""Rate of false accusations, and members found at it that make single pictures worth a try."""
_HALF = 0.505
_FINE_TUNE = (0.78, 0.87)
_FINE_TUNE_SOURCE = (
    "a trial of our own: 300 pictures, 1 to 10 epochs, by the caption's loss against the base "
    "(docs/expect.md); more pictures give less"
)


@dataclass(frozen=True, slots=True)
class Hope:
    """The AUC that can be hoped for.

    Attributes:
        low: The least, where that is known; else None.
        high: The most, where that is known; else None.
        words: What is hoped for, for people.
        source: Where that comes from, or why it is not known.
    """

    low: float | None
    high: float | None
    words: str
    source: str

    @property
    def value(self) -> float | None:
        """The figure to plan with: the least of those that are known."""
        return self.high if self.low is None else self.low


@dataclass(frozen=True, slots=True)
class Way:
    """One way to an answer.

    Attributes:
        name: Name of the way.
        outlook: What can be hoped from it.
        text: Why.
        command: An example; empty where there is none.
    """

    name: str
    outlook: Outlook
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What can be expected of an audit of an encoder.

    Attributes:
        encoder: Its name.
        about: What it was trained on; empty where that is not published.
        length: How long.
        base: What it was fine-tuned from; None where that is not known.
        hope: The AUC to hope for.
        needed: Pictures in the folder, and as many in its control, with which a test finds a
            folder of members as often as `POWER` says; None where that is not known.
        n_pictures: Pictures at hand; None where that was not said.
        power: How often so many would be enough; None likewise.
        table: Pictures needed for several AUCs.
        ways: Ways to an answer, the most promising first.
    """

    encoder: str
    about: str
    length: TrainingLength
    base: str | None
    hope: Hope
    needed: int | None
    n_pictures: int | None
    power: float | None
    table: tuple[tuple[float, int], ...]
    ways: tuple[Way, ...]


def expect(
    spec: str,
    n_pictures: int | None = None,
    *,
    base: str | None = None,
    n_pairs: int | None = None,
) -> Expectation:
    """What can be expected of an audit, without loading anything.

    Args:
        spec: The encoder.
        n_pictures: Pictures at hand.
        base: What it was fine-tuned from, where its own files do not say.
        n_pairs: Pairs that it was trained on, for an encoder of which nothing is published.

    Raises:
        EncoderError: No scheme has this name.
    """
    facts, length = training_facts(spec), training_length(spec)
    found_base = next((reference.spec for reference in find_bases(spec, base)), None)
    hope = _fine_tuned(spec) if found_base else _hope(spec, facts, length, n_pairs)
    needed = None if hope.value is None else pictures_needed(hope.value, POWER, ALPHA)
    power = None
    if hope.value is not None and n_pictures is not None:
        power = power_of(hope.value, n_pictures, ALPHA)
    ways = (
        _fine_tune(spec, found_base),
        _look_up(facts),
        _captions(spec, hope),
        _folder(hope, needed, n_pictures, power),
        _one_by_one(hope),
    )
    order = ["promising", "possible", "unknown", "out of reach", "closed"]
    return Expectation(
        encoder=spec,
        about=facts.about,
        length=length,
        base=found_base,
        hope=hope,
        needed=needed,
        n_pictures=n_pictures,
        power=power,
        table=tuple((auc, pictures_needed(auc, POWER, ALPHA) or 0) for auc in AUCS),
        ways=tuple(sorted(ways, key=lambda way: order.index(way.outlook))),
    )


def expectation_line(spec: str) -> str:
    """One line on what can be expected of an encoder, by what is published alone."""
    try:
        hope = _hope(spec, training_facts(spec), training_length(spec), None)
    except EncoderError:  # a name that another package, or another version, gave
        hope = _nobody("nothing is known of encoders of this name")
    if hope.value is None:
        return f"{hope.words}: {hope.source}"
    needed = _pictures(hope, pictures_needed(hope.value, POWER, ALPHA))
    return f"{hope.words}. {needed}; see `clipaudit expect`"


# --- the AUC -------------------------------------------------------------------------------------


def _hope(spec: str, facts: TrainingFacts, length: TrainingLength, given_pairs: int | None) -> Hope:
    n_pairs = given_pairs or length.n_pairs
    if not _is_of_images_and_text(spec):
        return _nobody("published figures are of encoders of images and text")
    if n_pairs is None and facts.is_filtered and facts.n_pairs:
        return _nobody(f"how many of the {facts.n_pairs:,} pairs a filter kept is not known here")
    if n_pairs is None:
        return _nobody("how many pairs it was trained on is not published")
    auc = expected_auc(n_pairs)
    source = f"{SOURCE}; for {n_pairs:,} pairs, and as many epochs as there, which it does not say"
    if n_pairs <= FEWEST[0]:
        return Hope(FEWEST[1], None, f"AUC {FEWEST[1]} or more, with captions", source)
    about = "0.50" if auc < _HALF else f"{auc:.2f}"
    if length.epochs is not None and length.epochs < 2 and given_pairs is None:
        words = f"AUC {about} at most, with captions: it saw each picture about once"
        return Hope(None, auc, words, source)
    return Hope(auc, auc, f"AUC about {about}, with captions", source)


def _is_of_images_and_text(spec: str) -> bool:
    scheme, name = parse(spec)
    return _has_text(spec) or (scheme == "timm" and "clip" in name.lower())


def _has_text(spec: str) -> bool:
    scheme, _ = parse(spec)
    return scheme in SCHEMES and bool(SCHEMES[scheme].text)


def _nobody(why: str) -> Hope:
    return Hope(None, None, "nobody knows which AUC can be hoped for", why)


def _fine_tuned(spec: str) -> Hope:
    if not _has_text(spec):
        return _nobody("no figure is published of fine-tuned encoders without a text tower")
    low, high = _FINE_TUNE
    words = f"AUC {low} to {high} on pictures of the fine-tuning, with captions and its base"
    return Hope(low, high, words, _FINE_TUNE_SOURCE)


# --- the ways ------------------------------------------------------------------------------------


def _look_up(facts: TrainingFacts) -> Way:
    name = "look-up in its list"
    if facts.files is None:
        members = f": {facts.members}" if facts.members else " is published"
        return Way(name, "closed", f"No list to look pictures up in{members}.")
    wanted = "./images" if facts.has_hashes else "--urls addresses.txt"
    command = f"clipaudit lookup {wanted} --metadata {facts.files}"
    if facts.has_hashes:
        why = "Its list is published with hashes: it says of each file whether it was in the data."
        return Way(name, "promising", why, command)
    return Way(name, "possible", f"Its list: {facts.members}.", command)


def _fine_tune(spec: str, base: str | None) -> Way:
    name = "fine-tune against base"
    if base is None:
        text = "Only where it was fine-tuned from a public encoder: name that with --base."
        return Way(name, "closed", text)
    command = f"clipaudit score ./images --encoder {spec} --reference {base}"
    if not _has_text(spec):
        text = "A known base shows what the fine-tuning added; how much that is, nobody knows."
        return Way(name, "unknown", text, command)
    text = "Few pictures, several epochs and a known base: what the fine-tuning added shows."
    return Way(name, "promising", text, f"{command} --captions auto")


def _captions(spec: str, hope: Hope) -> Way:
    name = "captions"
    if not _has_text(spec):
        return Way(name, "closed", "It has no text tower that could read them.")
    text = (
        "A picture's own caption tells more than the picture alone: the AUC above is with it. It "
        "must be the one that was trained on, and must not give membership away by itself."
    )
    outlook: Outlook = "out of reach"
    if hope.value is None:
        outlook = "unknown"
    elif hope.value >= _FAINT:
        outlook = "promising" if (hope.low or 0) >= _CLEAR else "possible"
    return Way(name, outlook, text, f"clipaudit score ./images --encoder {spec} --captions auto")


def _folder(hope: Hope, needed: int | None, n: int | None, power: float | None) -> Way:
    name, command = "folder with control", "clipaudit score ./images --control ./others"
    if needed is None:
        text = f"How many pictures it takes is not known: {hope.source}."
        return Way(name, "unknown", text, command)
    text = f"{_pictures(hope, needed)}."
    is_sure = hope.low is not None
    outlook: Outlook = "possible"
    if n is not None and power is not None:
        most = "" if is_sure else "at most "
        text += f" With {n:,}, and as many there, the chance is {most}{percent(power)}."
        if power < 2 * ALPHA:
            outlook = "out of reach"
        elif power >= POWER and is_sure:
            outlook = "promising"
    elif needed > _MANY:
        outlook = "out of reach"
    elif needed <= _FEW and is_sure:
        outlook = "promising"
    return Way(name, outlook, text, command)


def _pictures(hope: Hope, needed: int | None) -> str:
    assert needed is not None  # there is an AUC above one half
    least = "" if hope.low else "at least "
    return (
        f"A folder of members needs {least}{needed:,} pictures, and as many in its control, to be "
        f"found in {percent(POWER)} of tests at level {percent(ALPHA)}"
    )


def _one_by_one(hope: Hope) -> Way:
    name = "picture by picture"
    if hope.value is None:
        return Way(name, "unknown", f"Not known: {hope.source}.")
    found = tpr_at(hope.value, _FPR)
    most = "" if hope.low else "at most "
    text = f"Where 1 of 100 others is accused, {most}{100 * found:.1f} of 100 members are found."
    return Way(name, "possible" if found >= _WORTH else "out of reach", text)
