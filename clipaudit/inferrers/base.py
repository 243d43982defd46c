"""Stage 5: membership features → scores. What every inferrer is.

An inferrer never sees an image, only similarities and lengths of embeddings: those that the
target encoder gives and, where it reads a reference, those of an encoder that did not see the
images, beside them. It carries what it reads, the threshold at which a score reads as member, and
the evidence for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.base import Output
from clipaudit.errors import InferrerError
from clipaudit.features.signals import Float32Array, Signals, Similarity, n_pairs
from clipaudit.inferrers.rules import Rule, What
from clipaudit.statistics.metrics import Evidence
from clipaudit.text.numbers import percent

Kind = str
"""A name of `clipaudit.inferrers.RULES`: V, S, T, …"""

_N_COLUMNS = {"norm": 1, "summary": 3, "caption": 5, "caption-loss": 1}


@dataclass(frozen=True, slots=True)
class Reads:
    """What features an inferrer was trained on, and so the only ones that it understands.

    Attributes:
        similarity: Similarity of the views.
        n_views: Number of views; 0 for an inferrer that reads no views but the image itself.
        recipe: Recipe of the views.
        output: Output of the encoder.
        what: Which of its signals.
        has_reference: Whether it reads those of a reference encoder beside them.
    """

    similarity: Similarity
    n_views: int
    recipe: str
    output: Output
    what: What = "similarities"
    has_reference: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features of one image; see `Features.values`."""
        n_columns = _N_COLUMNS.get(self.what) or n_pairs(self.n_views)
        return (2, n_columns) if self.has_reference else (n_columns,)

    @property
    def reads_views(self) -> bool:
        """Whether it reads views, and not the image itself alone."""
        return self.what in ("similarities", "summary")

    @property
    def reads_captions(self) -> bool:
        """Whether it reads what the encoder makes of captions."""
        return self.what.startswith("caption")

    @property
    def n_passes(self) -> int:
        """Forward passes of the target encoder for one image."""
        return self.n_views + (self.what != "similarities")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The membership features of some images.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; n_images of them.
        values: Shape (n_images, n_columns), float32: pairwise similarities of its views, or
            whatever else `made_by.what` says. With a reference (n_images, 2, n_columns): the
            target encoder's, then the reference's, of the very same views.
        made_by: What they are.
    """

    image_ids: tuple[str, ...]
    values: Float32Array
    made_by: Reads

    @classmethod
    def of(cls, signals: Signals, made_by: Reads, reference: Signals | None = None) -> Features:
        """The features that an inferrer of this kind reads, picked from all signals.

        Args:
            signals: Of the target encoder.
            made_by: What is to be picked.
            reference: Of the reference, for the same images and views.

        Raises:
            ValueError: A reference is read and none is given, or it saw other images; captions
                are read, and there are no signals of any.
        """
        values = _columns(signals, made_by)
        if made_by.has_reference:
            if reference is None or reference.image_ids != signals.image_ids:
                raise ValueError("the reference must have seen the very same images")
            values = np.stack([values, _columns(reference, made_by)], axis=1)
        return cls(signals.image_ids, values, made_by)


def _columns(signals: Signals, made_by: Reads) -> Float32Array:
    """Features of one encoder, shape (n_images, n_columns)."""
    pairs = signals.pairs(made_by.similarity)
    if made_by.what == "similarities":
        return pairs
    columns = [np.log(signals.plain_norm.astype(np.float64))]
    if made_by.what == "summary":
        lengths = np.log(signals.norms.astype(np.float64)).mean(axis=1)
        columns = [pairs.mean(axis=1, dtype=np.float64), lengths, *columns]
    if made_by.reads_captions:
        captions = signals.captions
        if captions is None:
            raise ValueError("captions are read, and the signals have none")
        columns = [
            captions.cosine,
            captions.loss,
            captions.gradient,
            np.log(captions.text_norm.astype(np.float64)),
            *columns,
        ]
    if made_by.what == "caption-loss":
        columns = [-columns[1]]
    return np.stack(columns, axis=1).astype(np.float32)


def card_name(data: str, reads: Reads, kind: Kind, usual_views: int | None = None) -> str:
    """Name of an inferrer; what is usual is left out.

    Args:
        data: Name of the shadow data set.
        reads: What it reads.
        kind: Kind of the inferrer.
        usual_views: Number of views that need not be named; None names none.

    >>> card_name("cifar10", Reads("pearson", 10, "encodermi@1", "trunk"), "V")
    'cifar10-trunk-pearson-v'
    >>> few = Reads("cosine", 3, "encodermi@1", "embedding", "summary", has_reference=True)
    >>> card_name("cifar10", few, "combined", usual_views=10)
    'cifar10-reference-combined-3-views'
    """
    words = [data]
    words += [] if reads.output == "embedding" else [reads.output]
    words += [] if reads.similarity == "cosine" else [reads.similarity]
    words += ["reference"] if reads.has_reference else []
    words += [kind.lower()]
    is_unusual = usual_views is not None and reads.n_views not in (0, usual_views)
    return "-".join([*words, f"{reads.n_views}-views"] if is_unusual else words)


@dataclass(frozen=True, slots=True)
class ShadowFacts:
    """The shadow encoder behind an inferrer, or several that differ by their seed alone.

    Attributes:
        data: Name of the shadow data set, such as `cifar10`.
        n_members: Pictures that pre-trained each.
        n_nonmembers: Pictures of the same set that did not.
        architecture: As `clipaudit train --architecture` takes it.
        algorithm: As `clipaudit train --algorithm` takes it.
        epochs: Passes over the members.
        size_px: Side of the pictures.
        encoder: Fingerprint of the shadow encoder for the output that is read; of several,
            SHA-256 over theirs, one after the other.
        n_encoders: Number of shadow encoders.
        n_references: Reference encoders of each: trained likewise, on other pictures. They stood
            in one role, as the mean of their signals.
    """

    data: str
    n_members: int
    n_nonmembers: int
    architecture: str
    algorithm: str
    epochs: int
    size_px: int
    encoder: str
    n_encoders: int = 1
    n_references: int = 0

    def __str__(self) -> str:
        times = "" if self.n_encoders == 1 else f"{self.n_encoders} × "
        return (
            f"{times}{self.data} ({self.n_members} members), {self.architecture}, "
            f"{self.algorithm}, {self.epochs} epochs"
        )


@dataclass(frozen=True, slots=True)
class OtherEncoders:
    """How often a kind of inferrer was right on encoders unlike those of its card.

    Attributes:
        difference: What was otherwise about them, to follow the word "on".
        low: Lowest accuracy on one of them.
        high: Highest.
        n_trials: Number of encoders, each counted once for every inferrer that was tried on it.
        source: Folder of the results, in the sources of clipaudit.
    """

    difference: str
    low: float
    high: float
    n_trials: int
    source: str

    def __str__(self) -> str:
        return f"on {self.difference} {percent(self.low)} to {percent(self.high)}"


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known of an inferrer; `inferrer.json` holds exactly this.

    Attributes:
        name: What `--inferrer` takes.
        kind: V, S, T, or one of the others.
        reads: The features that it understands.
        threshold: A score equal to or above it reads as member.
        shadow: What it was trained on.
        evidence: Its figures on pictures that neither the rule nor its threshold was fitted to:
            those of `n_targets` other encoders or, where that is 0, held-out ones of the shadow
            encoder.
        n_fitted: Pictures that the rule was fitted to.
        seed: Seed of the split, the pre-training and the fit.
        command: What made it.
        created: UTC date, ISO 8601.
        clipaudit_version: The package that made it.
        weights_sha256: SHA-256 of `weights.safetensors`.
        n_targets: Number of encoders that it never met, and was tested on.
        others: What its kind reached on other encoders than its evidence is of.
    """

    name: str
    kind: Kind
    reads: Reads
    threshold: float
    shadow: ShadowFacts
    evidence: Evidence
    n_fitted: int
    seed: int
    command: str
    created: str
    clipaudit_version: str
    weights_sha256: str = ""
    n_targets: int = 0
    others: tuple[OtherEncoders, ...] = ()

    @property
    def elsewhere(self) -> str:
        """What its kind reached on other encoders, a clause."""
        if not self.others:
            return "not measured on others"
        return f"its kind elsewhere: {'; '.join(map(str, self.others))}"

    @property
    def judged_on(self) -> str:
        """What its evidence was measured on, to follow the word "on"."""
        if not self.n_targets:
            return f"held-out pictures of {self.shadow.data}, with its own shadow encoder"
        return f"{self.n_targets} encoders that it never met, trained on {self.shadow.data}"


@dataclass(frozen=True, slots=True)
class Inferrer:
    """A rule and its card."""

    card: Card
    rule: Rule = field(repr=False)

    def score(self, features: Features) -> npt.NDArray[np.float64]:
        """Scores, shape (n_images,); at or above `card.threshold` reads as member.

        Raises:
            InferrerError: The features are not those that it was trained on.
        """
        self.check(features.made_by)
        return self.rule.score(features.values)

    def check(self, made_by: Reads) -> None:
        """Check that features of this kind can be read.

        Raises:
            InferrerError: They cannot; the message names the difference.
        """
        wants = self.card.reads
        name = self.card.name
        if wants.has_reference and not made_by.has_reference:
            raise InferrerError(
                f"inferrer {name} reads the signals of a reference encoder too, and there is none",
                "Pass --reference with an encoder that was not trained on these images, or "
                "another inferrer: `clipaudit inferrers` lists them.",
            )
        if (wants.what, wants.has_reference) != (made_by.what, made_by.has_reference):
            raise InferrerError(
                f"inferrer {name} reads {_in_words(wants)}, got {_in_words(made_by)}",
                "Pick its features with `Features.of(signals, inferrer.card.reads, reference)`.",
            )
        if wants.n_views != made_by.n_views:
            raise InferrerError(
                f"inferrer {name} reads {wants.n_views} views, got {made_by.n_views}",
                f"Pass --views {wants.n_views}, or train an inferrer for {made_by.n_views} "
                "views with `clipaudit train`.",
            )
        if wants.similarity != made_by.similarity:
            raise InferrerError(
                f"inferrer {name} reads {wants.similarity} similarities, got {made_by.similarity}",
                f"Pass --similarity {wants.similarity}, or another inferrer: "
                "`clipaudit inferrers` lists them.",
            )
        if wants.output != made_by.output:
            raise InferrerError(
                f"inferrer {name} was trained on the {wants.output} output of its shadow "
                f"encoder, and this encoder gives its {made_by.output}",
                f"Pass --output {wants.output} if the encoder has it, or an inferrer that reads "
                f"the {made_by.output}: `clipaudit inferrers` lists them.",
            )
        if wants.n_views and wants.recipe != made_by.recipe:
            raise InferrerError(
                f"inferrer {name} reads views of recipe {wants.recipe}, got {made_by.recipe}",
                "Use an inferrer that was trained on this recipe, or train one with "
                "`clipaudit train`.",
            )


def _in_words(reads: Reads) -> str:
    return f"{reads.what} {'with' if reads.has_reference else 'without'} a reference"
