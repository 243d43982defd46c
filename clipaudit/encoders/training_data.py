"""What is published about an encoder's training data: one table, read by the name of the weights.

A date is in it only where a source supports it, and the source stands beside it. It is the first
day that is certainly not in the data: pictures that were first put online on it or later cannot
have been among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePath
from pkgutil import resolve_name

from clipaudit.encoders.spec import SCHEMES, parse


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What is known of the pictures that an encoder was trained on.

    Attributes:
        about: What they are, in a line; empty where nothing is known.
        n_pairs: Pairs in the data set; an encoder may have seen fewer, or each several times.
        members: The published list of them, and where it is; None where there is none.
        others: Pictures that are known not to be among them.
        quality: What a test with the one against the other is worth.
        cutoff: First day that is certainly not in the data; None where that is not known.
        basis: The source of the cut-off, or why there is none.
        files: What the list is called once it is here, for examples of commands.
        other_files: The same for a list with non-members.
        has_hashes: Whether files of pictures can be looked up in the list, and not only addresses.
        source: Where the pictures were taken from; data sets of one source share pictures. Empty
            where that is not known.
        is_filtered: Whether only rows of the data set were used that a filter kept; how many is
            not in `n_pairs`.
    """

    about: str = ""
    n_pairs: int | None = None
    members: str | None = None
    others: str | None = None
    quality: str = "Nothing is published that a result could be held against."
    cutoff: date | None = None
    basis: str = "nothing that is published says when the data was complete"
    files: str | None = None
    other_files: str | None = None
    has_hashes: bool = False
    source: str = ""
    is_filtered: bool = False


_SAME_POOL = (
    "The best test that there is: both sides are random rows of the same pool, fetched and "
    "prepared in the same way. But each picture was seen about once, so the signal is faint."
)
_FILTERED = (
    "The kept rows were seen many times, so they are remembered; but the filter that kept them "
    "also tells the sides apart. Report the blind baseline beside every figure."
)
_DEAD_LINKS = (
    "Many links are dead or lead to other pictures by now, and no hash was published: a listed "
    "address is a probable member, not a certain one."
)
_DATACOMP_BASIS = "the pools were published in April 2023 (arXiv:2304.14108)"
_POOLS = "https://huggingface.co/datasets/mlfoundations/datacomp_pools"
_DATACOMP_1B = "https://huggingface.co/datasets/mlfoundations/datacomp_1b"
_RELAION = "https://huggingface.co/datasets/laion/relaion2B-en-research-safe"
_COMMONPOOL = "CommonPool, from Common Crawl up to 2022"
_NEWER = "pictures that were first put online on the cut-off or later"


def _pool(name: str, larger: str | None, pairs: str, n_pairs: int) -> TrainingFacts:
    """Facts of an encoder that saw a whole pool of CommonPool once."""
    return TrainingFacts(
        about=f"CommonPool {name} ({pairs} pairs), published list",
        n_pairs=n_pairs,
        members=f"{_POOLS}, {name}/*.parquet (uid, url, sha256)",
        others=f"the rows of {larger}/*.parquet that are not in it" if larger else _NEWER,
        quality=_SAME_POOL
        if larger
        else "There is no larger pool to draw non-members from, and newer pictures are of "
        "another kind; report the blind baseline.",
        cutoff=date(2023, 5, 1),
        basis=_DATACOMP_BASIS,
        files=f"{name}/",
        other_files=f"{larger}/" if larger else None,
        has_hashes=True,
        source=_COMMONPOOL,
    )


_POOL_S = _pool("small", "medium", "12.8M", 12_800_000)
_POOL_M = _pool("medium", "large", "128M", 128_000_000)
_POOL_L = _pool("large", "xlarge", "1.28B", 1_280_000_000)
_POOL_XL = _pool("xlarge", None, "12.8B", 12_800_000_000)


def _kept(pool: TrainingFacts, about: str = "") -> TrainingFacts:
    """Facts of an encoder that saw the rows of a pool that a filter kept, many times."""
    return replace(
        pool,
        about=about or pool.about,
        members=f"{pool.members}, of them the rows whose uid the filter kept (github.com/"
        "mlfoundations/datacomp, baselines.py)",
        others="the rows of the same pool that the filter dropped",
        quality=_FILTERED,
        files="kept.parquet",
        other_files=pool.files,
        is_filtered=True,
    )


_BEST_OF_XL = TrainingFacts(
    about="DataComp-1B, published list",
    n_pairs=1_400_000_000,
    members=f"{_DATACOMP_1B} (uid, url, sha256)",
    others=f"the rows of xlarge/*.parquet of {_POOLS} that are not in it",
    quality=_FILTERED,
    cutoff=date(2023, 5, 1),
    basis=_DATACOMP_BASIS,
    files="datacomp_1b/",
    other_files="xlarge/",
    has_hashes=True,
    source=_COMMONPOOL,
)
_LAION_400M = TrainingFacts(
    about="LAION-400M, published list",
    n_pairs=413_000_000,
    members="https://huggingface.co/datasets/laion/laion400m (url)",
    others="rows of LAION-2B that are not in it",
    quality=_DEAD_LINKS,
    cutoff=date(2021, 8, 21),
    basis="published on 2021-08-20, from pages that Common Crawl saw from 2014 to 2021 "
    "(laion.ai/blog/laion-400-open-dataset)",
    files="laion400m/",
    other_files="relaion2B-en-research-safe/",
    source="Common Crawl up to 2021",
)
_LAION_2B = TrainingFacts(
    about="LAION-2B, published list",
    n_pairs=2_320_000_000,
    members=f"{_RELAION} (url; gated, 467 GB): the original list was withdrawn, and this one lacks "
    "the rows that were removed",
    others=_NEWER,
    quality=_DEAD_LINKS + " Newer pictures are of another kind; report the blind baseline.",
    cutoff=date(2022, 4, 1),
    basis="LAION-5B, which it is part of, was published on 2022-03-31 (laion.ai/blog/laion-5b)",
    files="relaion2B-en-research-safe/",
    source="Common Crawl up to 2021",
)
_LAION_5B = replace(
    _LAION_2B,
    about="LAION-5B, published list",
    n_pairs=5_850_000_000,
    members=f"{_LAION_2B.members}. That is the English part; relaion2B-multi-research-safe and "
    "relaion1b-nolang-research-safe beside it are the others",
)
_LAION_AESTHETICS = replace(
    _LAION_2B,
    about="LAION-Aesthetics, published list",
    n_pairs=None,
    members=f"a part of LAION-5B, so a listed address is a probable member: {_RELAION}",
)
_YFCC15M = TrainingFacts(
    about="YFCC15M, published list",
    n_pairs=14_829_396,
    members="https://openaipublic.azureedge.net/clip/data/yfcc100m_subset_data.tsv.bz2 (Flickr "
    "photo ids; github.com/openai/CLIP, data/yfcc100m.md)",
    others="other photos of YFCC100M",
    quality="Both sides are Flickr photos of the same years; but members are those with an "
    "English title or description.",
    cutoff=date(2015, 1, 1),
    basis="YFCC100M was published in 2014 (Thomee et al., arXiv:1503.01817)",
    files="yfcc100m_subset_data.tsv",
    source="YFCC100M",
)
_IMAGENET_1K = TrainingFacts(
    about="ImageNet-1k",
    n_pairs=1_281_167,
    members="the training split of ILSVRC 2012 (image-net.org, terms of its own)",
    others="its validation split",
    quality="A clean split, drawn at random, and many epochs: it shows whether a method works at "
    "all. It has no list of addresses to look pictures up in.",
    cutoff=date(2013, 1, 1),
    basis="the pictures are those of the challenge of 2012 (arXiv:1409.0575)",
    source="ImageNet",
)
_METACLIP_BASIS = (
    "the last of these weights were published on 2023-12-21 (github.com/facebookresearch/MetaCLIP)"
)
_DFN_2B = replace(
    _kept(_POOL_XL, "DFN-2B; no list"),
    n_pairs=2_000_000_000,
    is_filtered=False,
    members=f"no list of addresses, but the uids that were kept of CommonPool xlarge ({_POOLS}): "
    "https://huggingface.co/datasets/apf1/datafilteringnetworks_2b",
    basis=f"chosen from CommonPool xlarge; {_DATACOMP_BASIS}",
)

_TABLE: tuple[tuple[str, TrainingFacts], ...] = (
    (
        "openai",
        TrainingFacts(
            about="OpenAI's 400M pairs, unpublished; YFCC100M among them",
            n_pairs=400_000_000,
            members="not published. The model card names YFCC100M as one source, and the subset "
            f"used in the paper is listed: {_YFCC15M.members}",
            others=_NEWER,
            quality="Probable members at best: nobody outside knows which photos of YFCC100M were "
            "used, and newer pictures are of another kind. Report the blind baseline.",
            cutoff=date(2021, 2, 1),
            basis="the model card dates the model January 2021 (github.com/openai/CLIP, "
            "model-card.md)",
            files=_YFCC15M.files,
        ),
    ),
    ("commonpool_xl_s13b", _POOL_XL),
    ("commonpool_l_s1b", _POOL_L),
    ("commonpool_m_s128m", _POOL_M),
    ("commonpool_s_s13m", _POOL_S),
    ("commonpool_xl", _kept(_POOL_XL)),
    ("commonpool_l", _kept(_POOL_L)),
    ("commonpool_m", _kept(_POOL_M)),
    ("commonpool_s", _kept(_POOL_S)),
    ("datacompdr", replace(_BEST_OF_XL, about="DataCompDR-1B, reinforced DataComp")),
    ("datacomp_xl", _BEST_OF_XL),
    ("datacompxl", _BEST_OF_XL),
    ("datacomp1b", _BEST_OF_XL),
    ("datacomp_l", _kept(_POOL_L, "DataComp large, published list")),
    ("datacomp_m", _kept(_POOL_M, "DataComp medium, published list")),
    ("datacomp_s34b", _BEST_OF_XL),
    ("datacomp_s_", _kept(_POOL_S, "DataComp small, published list")),
    ("frozen_laion5b", replace(_LAION_2B, about="LAION-5B, image half from LAION-2B")),
    ("laion5b", _LAION_5B),
    ("laion2b", _LAION_2B),
    ("laion400m", _LAION_400M),
    ("laion_aesthetic", _LAION_AESTHETICS),
    ("laiona", _LAION_AESTHETICS),
    ("yfcc15m", _YFCC15M),
    (
        "cc12m",
        TrainingFacts(
            about="CC12M, published list",
            n_pairs=12_423_374,
            members="https://storage.googleapis.com/conceptual_12m/cc12m.tsv (url), with hashes "
            "of the files in https://storage.googleapis.com/cc_hashes/cc12m.tsv.gz; the pictures "
            "themselves, at most 512 px on the short side, in "
            "https://huggingface.co/datasets/pixparse/cc12m-wds",
            others="rows of CC3M that are not in it (some 63,000 addresses are in both)",
            quality="The easiest to fetch; but CC3M was filtered more strictly, and copies of "
            "pictures differ from those that were trained on.",
            cutoff=date(2021, 3, 1),
            basis="published in February 2021 (arXiv:2102.08981)",
            files="cc12m.tsv",
            other_files="cc3m.tsv",
        ),
    ),
    (
        "merged2b",
        replace(
            _LAION_2B,
            about="LAION-2B and COYO-700M",
            n_pairs=2_000_000_000,
            members=f"1.6B of LAION-2B ({_RELAION}) and 0.4B of COYO-700M "
            "(https://huggingface.co/datasets/kakaobrain/coyo-700m): a listed picture is a "
            "probable member",
            basis=f"{_LAION_2B.basis}; COYO-700M is from Common Crawl up to August 2021",
            files="coyo-700m/",
        ),
    ),
    ("metaclip2", TrainingFacts("MetaCLIP 2, worldwide web; no list")),
    (
        "metaclip_fullcc",
        TrainingFacts(
            "MetaCLIP, 2.5B pairs of Common Crawl; no list",
            2_500_000_000,
            cutoff=date(2023, 12, 22),
            basis=_METACLIP_BASIS,
        ),
    ),
    ("metaclip_2pt5b", TrainingFacts("MetaCLIP, 2.5B pairs of Common Crawl; no list")),
    (
        "metaclip_400m",
        TrainingFacts(
            "MetaCLIP, 400M pairs of Common Crawl; no list",
            400_000_000,
            cutoff=date(2023, 12, 22),
            basis=_METACLIP_BASIS,
        ),
    ),
    ("metaclip", TrainingFacts("MetaCLIP, Common Crawl; no list")),
    ("dfndr2b", replace(_DFN_2B, about="DFN-2B, reinforced; no list")),
    ("dfn2b", _DFN_2B),
    (
        "dfn5b",
        TrainingFacts(
            "DFN-5B; no list",
            5_000_000_000,
            cutoff=date(2023, 11, 1),
            basis="the weights were online on 2023-10-31 (huggingface.co, "
            "apple/DFN5B-CLIP-ViT-H-14)",
        ),
    ),
    ("webli", TrainingFacts("WebLI; no list")),
    ("lvd142m", TrainingFacts("LVD-142M (DINOv2); no list", 142_000_000)),
    ("lvd1689m", TrainingFacts("LVD-1689M (DINOv3); no list", 1_689_000_000)),
    ("in22k", TrainingFacts("ImageNet-22k", source="ImageNet")),
    ("in21k", TrainingFacts("ImageNet-21k", source="ImageNet")),
    (
        "in12k",
        TrainingFacts(
            "ImageNet-12k",
            source="ImageNet",
            cutoff=date(2012, 1, 1),
            basis="a subset of the release of autumn 2011 (huggingface.co/datasets/timm/"
            "imagenet-12k-wds)",
        ),
    ),
    ("dino", replace(_IMAGENET_1K, about="ImageNet-1k, without labels (DINO)")),
    ("mae", replace(_IMAGENET_1K, about="ImageNet-1k, without labels (MAE)")),
    ("in1k", _IMAGENET_1K),
)
"""What a part of a tag says of the training data; the first that fits counts."""

_NOTHING = TrainingFacts()
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def training_facts(spec: str) -> TrainingFacts:
    """What is published about an encoder's training data; all unknown for files of the user's own.

    >>> training_facts("ViT-B-32/openai").cutoff
    datetime.date(2021, 2, 1)
    >>> training_facts("ViT-B-32/./mine.safetensors").cutoff is None
    True

    Raises:
        EncoderError: No scheme has this name.
    """
    scheme, name = parse(spec)
    if scheme not in SCHEMES or not SCHEMES[scheme].training_facts:
        return _NOTHING
    facts: TrainingFacts = resolve_name(SCHEMES[scheme].training_facts)(name)
    return facts


def is_file(name: str) -> bool:
    """Whether an open_clip name, MODEL/TAG, has a file of weights in the place of a tag."""
    return name.lower().endswith(_WEIGHTS)


def facts_of(tag: str) -> TrainingFacts:
    """What a tag of weights says of the training data.

    >>> facts_of("laion2b_ft_in12k_in1k").about
    'LAION-2B, published list; fine-tuned on ImageNet-1k'
    """
    plain = tag.lower().replace("-", "_").replace(".", "_")
    before, fine_tuned, after = plain.partition("_ft_")
    found = next((facts for part, facts in _TABLE if part in before), _NOTHING)
    if fine_tuned and "in1k" in after:
        words = "fine-tuned on ImageNet-1k"
        return replace(found, about=f"{found.about}; {words}" if found.about else words)
    return found


def facts_of_open_clip(name: str) -> TrainingFacts:
    """What is known of `MODEL/TAG`; nothing of `MODEL/CHECKPOINT_FILE`."""
    return _NOTHING if is_file(name) else facts_of(name.partition("/")[2])


def facts_of_transformers(name: str) -> TrainingFacts:
    """What is known of `ORGANISATION/NAME`; nothing of `FOLDER`."""
    return _NOTHING if Path(name).expanduser().is_dir() else facts_of(name)


def facts_of_timm(name: str) -> TrainingFacts:
    """What is known of `NAME.TAG`."""
    return facts_of(name.partition(".")[2])


def facts_of_torchvision(name: str) -> TrainingFacts:
    """What is known of `MODEL/WEIGHTS`, such as `resnet50/IMAGENET1K_V2`."""
    if "SWAG" in PurePath(name).name:
        return TrainingFacts("Instagram hashtags, then ImageNet-1k")
    return _IMAGENET_1K
