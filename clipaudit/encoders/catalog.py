"""Which encoders can be named, and what they were trained on, without loading any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from clipaudit.encoders.base import Output

_DATA = (
    ("openai", "OpenAI's 400M pairs, unpublished; YFCC100M among them"),
    ("commonpool_xl", "CommonPool xlarge (12.8B pairs), published list"),
    ("commonpool_l", "CommonPool large (1.28B pairs), published list"),
    ("commonpool_m", "CommonPool medium (128M pairs), published list"),
    ("commonpool_s", "CommonPool small (12.8M pairs), published list"),
    ("datacompdr", "DataCompDR-1B, reinforced DataComp"),
    ("datacomp_xl", "DataComp-1B, published list"),
    ("datacompxl", "DataComp-1B, published list"),
    ("datacomp1b", "DataComp-1B, published list"),
    ("datacomp_l", "DataComp large, published list"),
    ("datacomp_m", "DataComp medium, published list"),
    ("datacomp_s34b", "DataComp-1B, published list"),
    ("datacomp_s_", "DataComp small, published list"),
    ("frozen_laion5b", "LAION-5B, image half from LAION-2B"),
    ("laion5b", "LAION-5B, published list"),
    ("laion2b", "LAION-2B, published list"),
    ("laion400m", "LAION-400M, published list"),
    ("laion_aesthetic", "LAION-Aesthetics, published list"),
    ("laiona", "LAION-Aesthetics, published list"),
    ("yfcc15m", "YFCC15M, published list"),
    ("cc12m", "CC12M, published list"),
    ("merged2b", "LAION-2B and COYO-700M"),
    ("metaclip2", "MetaCLIP 2, worldwide web; no list"),
    ("metaclip_fullcc", "MetaCLIP, 2.5B pairs of Common Crawl; no list"),
    ("metaclip_2pt5b", "MetaCLIP, 2.5B pairs of Common Crawl; no list"),
    ("metaclip_400m", "MetaCLIP, 400M pairs of Common Crawl; no list"),
    ("metaclip", "MetaCLIP, Common Crawl; no list"),
    ("dfndr2b", "DFN-2B, reinforced; no list"),
    ("dfn2b", "DFN-2B; no list"),
    ("dfn5b", "DFN-5B; no list"),
    ("webli", "WebLI; no list"),
    ("lvd142m", "LVD-142M (DINOv2); no list"),
    ("lvd1689m", "LVD-1689M (DINOv3); no list"),
    ("in22k", "ImageNet-22k"),
    ("in21k", "ImageNet-21k"),
    ("in12k", "ImageNet-12k"),
    ("dino", "ImageNet-1k, without labels (DINO)"),
    ("mae", "ImageNet-1k, without labels (MAE)"),
    ("in1k", "ImageNet-1k"),
)
"""What a part of a tag says of the training data; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder that can be named.

    Attributes:
        spec: What `load_encoder` takes.
        scheme: The library that it comes from: `open_clip`, `timm` or `torchvision`.
        output: The output that it gives unless another is asked for.
        note: What it was trained on, as far as its name tells; may be empty.
    """

    spec: str
    scheme: str
    output: Output
    note: str


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


def trained_on(tag: str) -> str:
    """What a tag says of the training data; empty where it says nothing.

    >>> trained_on("laion2b_ft_in12k_in1k")
    'LAION-2B, published list; fine-tuned on ImageNet-1k'
    """
    before, fine_tuned, after = tag.partition("_ft_")
    note = next((said for part, said in _DATA if part in before), "")
    if fine_tuned and "in1k" in after:
        return f"{note}; fine-tuned on ImageNet-1k" if note else "fine-tuned on ImageNet-1k"
    return note


def _open_clip() -> Iterator[EncoderEntry]:
    import open_clip

    from clipaudit.encoders.open_clip import wrong_gelu

    for model, tag in open_clip.list_pretrained():
        if not wrong_gelu(model, tag):
            yield EncoderEntry(f"{model}/{tag}", "open_clip", "embedding", trained_on(tag))


def _timm() -> Iterator[EncoderEntry]:
    import timm

    from clipaudit.encoders.timm import is_loadable, outputs

    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        if config is not None and is_loadable(name, config):
            output = outputs(name, config.num_classes or 0)[0]
            note = trained_on(name.partition(".")[2])
            yield EncoderEntry(f"timm:{name}", "timm", output, note)


def _torchvision() -> Iterator[EncoderEntry]:
    import torchvision

    for model in torchvision.models.list_models(module=torchvision.models):
        for entry in torchvision.models.get_model_weights(model):
            spec = f"torchvision:{model}/{entry.name}"
            swag = "Instagram hashtags, then " if "SWAG" in entry.name else ""
            yield EncoderEntry(spec, "torchvision", "trunk", f"{swag}ImageNet-1k")
