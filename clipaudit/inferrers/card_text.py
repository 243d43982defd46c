"""A card as a person reads it. Every figure comes from the card itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.inferrers import find_rule

if TYPE_CHECKING:
    from clipaudit.inferrers.base import Card, Reads
    from clipaudit.statistics.metrics import Estimate


def render(card: Card) -> str:
    """Markdown for readers new to all this: what it tells, how often it is right, where it fails.

    What specialists want comes after that: what it reads, and how it was made.
    """
    reads, evidence = card.reads, card.evidence
    return f"""# {card.name}

An image encoder turns a picture into a list of numbers, and learns to do so from millions of \
pictures. This *inferrer* gives a hint whether one picture was among them. It never sees the \
picture. {_sees(reads)}

The hint is a score, and the higher it is, the more the encoder behaves as if it knew the picture. \
From {card.threshold:.6g} on the inferrer says *member-like*. Below, it says nothing: such a \
picture may have been used all the same. How often either is wrong on another encoder, only \
`clipaudit calibrate` can tell.

## How often it is right
{_tested(card)}

- It found {_count(evidence.tpr)} of the {evidence.tpr.n} used pictures.
- It wrongly accused {_count(evidence.fpr)} of the {evidence.fpr.n} unused ones.

| | measured on {card.judged_on} | 95 % interval | pictures |
|---|---|---|---|
{_line("right answers (accuracy)", evidence.accuracy)}
{_line("used pictures that it found (TPR)", evidence.tpr)}
{_line("unused pictures that it called used (FPR)", evidence.fpr)}
{_line("used above unused, pair by pair (AUC; 50% is guessing)", evidence.auc)}

{_caution(card)}

{_elsewhere(card)}

## Where it fails
**A verdict of this inferrer is no proof that a picture was used.** The figures above hold for \
{"the encoder" if card.n_targets < 2 else "encoders"} that we trained and for pictures like \
{"its" if card.n_targets < 2 else "their"} own. Another encoder finds copies more or \
less alike for reasons that have nothing to do with its training pictures: its construction, how \
it was trained, and what is in the picture (plain pictures look alike to any encoder). Large \
encoders that saw each picture only a few times, such as CLIP, leave a much fainter trace: expect \
far more wrong verdicts there, false accusations among them. Score pictures that cannot have been \
used (newer than the encoder, say) beside your own: if the inferrer calls many of those members \
too, its verdicts mean little.{_more_cautions(reads)}

## What it reads
{find_rule(card.kind).about}. Input: {_input(reads)}

## How it was made
{_made(card)}

```
{card.command}
```
On {card.created} with clipaudit {card.clipaudit_version}, seed {card.seed}.
"""


def measured_line(card: Card) -> str:
    """The figures of a card in a line, with what they were measured on and what others gave."""
    evidence = card.evidence
    return (
        f"on {card.judged_on}: accuracy {evidence.accuracy}; non-members called members "
        f"{evidence.fpr}; {card.elsewhere}"
    )


def _sees(reads: Reads) -> str:
    """Its view of an encoder, for readers new to all this."""
    copies = f"{reads.n_views} altered copies of it (cut, mirrored, recoloured)"
    text = {
        "similarities": f"It sees how alike the encoder finds {copies}: encoders tend to find them "
        "more alike if they have practised on that picture.",
        "norm": "It sees how large the numbers are that the encoder makes of it: encoders tend to "
        "make them larger if they have practised on that picture.",
        "summary": f"It sees how alike the encoder finds {copies}, and how large the numbers are: "
        "encoders tend to find the copies more alike, and to make the numbers larger, if they have "
        "practised on that picture.",
        "caption": "It sees how well the encoder knows the picture and its caption to belong "
        "together: an encoder that was trained on pictures with captions tends to know it better "
        "if it has practised on that pair.",
        "caption-loss": "It sees how well the encoder picks the picture's own caption out of many, "
        "and the picture for the caption: encoders that were trained so tend to do it better if "
        "they have practised on that pair.",
    }[reads.what]
    if not reads.has_reference:
        return text
    return (
        f"{text} Pictures differ in that by themselves, so it sees beside it what another encoder "
        "makes of the very same, a *reference* that has not practised on that picture."
    )


def _more_cautions(reads: Reads) -> str:
    text = ""
    if reads.what != "similarities":
        text += (
            " The numbers of each encoder have a scale of their own, so with an encoder of another "
            "construction the threshold says nothing: only the order of the pictures does."
        )
    if reads.reads_captions:
        text += (
            " Its figures were taken against a bank of pictures and captions of the same data set. "
            "With another bank, such as the neutral captions that a run takes unless told "
            "otherwise, members still stand out, but the threshold lies elsewhere and accuses far "
            "more unused pictures: calibrate with the bank that you score with."
        )
    if reads.has_reference:
        text += (
            " And it takes a reference that is like the encoder and was trained on other pictures: "
            "one that was trained on the same ones hides what is to be found."
        )
    return text


def _input(reads: Reads) -> str:
    pairs = f"the {reads.similarity} similarities of all pairs of {reads.n_views} views"
    what = {
        "similarities": f"{pairs} of recipe `{reads.recipe}`",
        "norm": "one embedding, of the picture without views",
        "summary": f"{pairs} of recipe `{reads.recipe}`, and their embeddings' lengths",
        "caption": "one embedding of the picture without views, and one of its caption",
        "caption-loss": "one embedding of the picture without views, and one of its caption",
    }[reads.what]
    text = f"{what}, from the `{reads.output}` output of an encoder"
    more = " and of the reference; of several references, the mean" if reads.has_reference else ""
    return f"{text}{more}."


def _tested(card: Card) -> str:
    evidence = card.evidence
    if not card.n_targets:
        return (
            "It was tested on an encoder that we trained ourselves, so that the truth was known, "
            f"with {evidence.accuracy.n} pictures that the inferrer had not seen before: "
            f"{evidence.tpr.n} that the encoder was trained on, and {evidence.fpr.n} of the same "
            "kind that it was not trained on."
        )
    return (
        f"It was tested on {_encoders(card.n_targets)} that it had never met. We trained "
        f"{'it' if card.n_targets == 1 else 'them'} ourselves, so that the truth was known, with "
        f"{evidence.accuracy.n} pictures: {evidence.tpr.n} that "
        f"{'it was' if card.n_targets == 1 else 'they were'} trained on, and {evidence.fpr.n} of "
        "the same kind that none was trained on."
    )


def _caution(card: Card) -> str:
    if not card.n_targets:
        return (
            "The interval says how far chance in the choice of test pictures may have moved a "
            "figure. It does not cover the change to another encoder, which is larger."
        )
    return (
        "The interval says how far chance may have moved a figure: in the choice of test pictures, "
        "and in the encoders, which differ in their pictures and first weights alone. It does not "
        "cover the change to an encoder of another construction, which is larger."
    )


def _elsewhere(card: Card) -> str:
    """What its kind reached on encoders unlike those above."""
    if not card.others:
        return "It was not measured on other encoders than these."
    lines = [
        "What its kind reached on encoders unlike these, from the worst to the best of them:",
        "",
        "| on | accuracy | trials | results |",
        "|---|---|---|---|",
    ]
    for other in card.others:
        figures = f"{other.low:.1%} to {other.high:.1%}".replace("%", " %")
        lines.append(f"| {other.difference} | {figures} | {other.n_trials} | `{other.source}` |")
    return "\n".join(lines)


def _made(card: Card) -> str:
    shadow = card.shadow
    several = shadow.n_encoders > 1
    is_tuned = card.kind == "fine-tune"
    text = (
        f"{'Shadow encoders' if several else 'Shadow encoder'}: "
        f"{f'{shadow.n_encoders} × ' if several else ''}{shadow.architecture}, "
        f"{'fine-tuned' if is_tuned else 'pre-trained'} with "
        f"{shadow.algorithm} for {shadow.epochs} epochs on {shadow.n_members} pictures of "
        f"{shadow.data}{' each' if several else ''} at {shadow.size_px} × {shadow.size_px} pixels"
        f"{', and looked at after fewer epochs too' if is_tuned else ''}; "
        f"fingerprint {'of all ' if several else ''}`{shadow.encoder}`. {_references(card)}"
        "The inferrer was fitted to "
    )
    if card.n_targets:
        return (
            f"{text}{card.n_fitted} pictures: {'their' if several else 'its'} members and as many "
            "non-members."
        )
    return (
        f"{text}{card.n_fitted} of its {shadow.n_members} members and {shadow.n_nonmembers} "
        "non-members together, and tested on the rest."
    )


def _references(card: Card) -> str:
    count = card.shadow.n_references
    if not card.reads.has_reference:
        return ""
    if card.kind == "fine-tune":
        return "The reference of each is the encoder that it was fine-tuned from. "
    return (
        f"References: {count} for each, trained likewise on as many other pictures, and as many "
        "likewise for each encoder that it was tested on. "
        if card.n_targets
        else f"References: {count}, trained likewise on as many other pictures. "
    )


def _encoders(count: int) -> str:
    return "an encoder" if count == 1 else f"{count} encoders"


def _count(share: Estimate) -> int:
    return round(share.value * share.n)


def _line(name: str, estimate: Estimate) -> str:
    interval = f"{estimate.low:.1%} to {estimate.high:.1%}"
    return f"| {name} | {estimate.value:.1%} | {interval} | {estimate.n} |".replace("%", " %")
