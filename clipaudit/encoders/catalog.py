"""Which encoders can be named, and what they were trained on, without loading any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher

from clipaudit.encoders.base import Output
from clipaudit.encoders.training_data import TrainingFacts, facts_of, facts_of_torchvision


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder that can be named.

    Attributes:
        spec: What `load_encoder` takes.
        scheme: The library that it comes from: `open_clip`, `timm` or `torchvision`.
        output: The output that it gives unless another is asked for.
        note: What it was trained on, as far as its name tells; may be empty.
        cutoff: First day that is certainly not in that data; None where that is not known.
    """

    spec: str
    scheme: str
    output: Output
    note: str
    cutoff: date | None


def list_encoders(search: str | None = None) -> list[EncoderEntry]:
    """The encoders with published weights, of open_clip first, then timm and torchvision.

    Names that would be refused, because they join weights with a wrong activation, are left out.

    Args:
        search: Words that an entry's spec or note must all hold, upper or lower case; where none
            does, the entries whose specs look most like it, best first.
    """
    entries = [*_open_clip(), *_timm(), *_torchvision()]
    if not search or not search.strip():
        return entries
    words = search.lower().split()
    found = [
        entry
        for entry in entries
        if all(word in f"{entry.spec} {entry.note}".lower() for word in words)
    ]
    return found or _alike(search, entries)


def _alike(search: str, entries: list[EncoderEntry], limit: int = 10) -> list[EncoderEntry]:
    matcher = SequenceMatcher(b=_squeezed(search))
    ranked = []
    for place, entry in enumerate(entries):
        matcher.set_seq1(_squeezed(entry.spec.partition(":")[2] or entry.spec))
        if matcher.real_quick_ratio() >= 0.6 and matcher.ratio() >= 0.6:
            ranked.append((-matcher.ratio(), place, entry))
    return [entry for _, _, entry in sorted(ranked)[:limit]]


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _entry(spec: str, scheme: str, output: Output, facts: TrainingFacts) -> EncoderEntry:
    return EncoderEntry(spec, scheme, output, facts.about, facts.cutoff)


def _open_clip() -> Iterator[EncoderEntry]:
    import open_clip

    from clipaudit.encoders.backends.open_clip import wrong_gelu

    for model, tag in open_clip.list_pretrained():
        if not wrong_gelu(model, tag):
            yield _entry(f"{model}/{tag}", "open_clip", "embedding", facts_of(tag))


def _timm() -> Iterator[EncoderEntry]:
    import timm

    from clipaudit.encoders.backends.timm import is_loadable, outputs

    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        if config is not None and is_loadable(name, config):
            output = outputs(name, config.num_classes or 0)[0]
            facts = facts_of(name.partition(".")[2])
            yield _entry(f"timm:{name}", "timm", output, facts)


def _torchvision() -> Iterator[EncoderEntry]:
    import torchvision

    for model in torchvision.models.list_models(module=torchvision.models):
        for entry in torchvision.models.get_model_weights(model):
            spec = f"torchvision:{model}/{entry.name}"
            yield _entry(spec, "torchvision", "trunk", facts_of_torchvision(entry.name))
