"""How large the experiments of a matrix are: pictures, encoders, views, repetitions."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from clipaudit.errors import UsageError
from clipaudit.shadow.architectures import Architecture, PairArchitecture
from clipaudit.shadow.config import (
    ALGORITHMS,
    Algorithm,
    PairConfig,
    PretrainConfig,
    TrainingPrecision,
)

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=10)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""What may be a name, which is a part of names of files too."""

Name = Annotated[str, Field(pattern=NAME)]
Views = Annotated[int, Field(ge=2, le=1000)]
Passes = Annotated[int, Field(ge=1, le=1001)]

Item = TypeVar("Item")


def _none_twice(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Refuse an item that is there twice: it would be run, and counted, twice."""
    if len(set(items)) < len(items):
        raise ValueError("something is named twice")
    return items


Several = Annotated[tuple[Item, ...], AfterValidator(_none_twice)]


class Strict(BaseModel):
    """A table of a matrix: no entry that is not described, and none of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Choice(Strict):
    """One side of what may be known: the target's own choice, or the other one.

    Attributes:
        architecture: Architecture of the encoder.
        algorithm: Algorithm that pre-trains it.
    """

    architecture: Architecture
    algorithm: Algorithm


class SplitSizes(Strict):
    """How many pictures are drawn from each data set for one seed.

    Attributes:
        target: Members of the target encoder, and as many non-members.
        shadow: Members of the shadow encoder, and as many non-members.
        probe: Pictures to train the downstream classifier, which references are trained on too.
        probe_test: Pictures to test it; as many, if not given.
    """

    target: Size
    shadow: Size
    probe: Size
    probe_test: Size | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by the name of their group."""
        return {
            "target-members": self.target,
            "target-nonmembers": self.target,
            "shadow-members": self.shadow,
            "shadow-nonmembers": self.shadow,
            "probe-train": self.probe,
            "probe-test": self.probe_test or self.probe,
        }


class PretrainOptions(Strict):
    """Options of the pre-training, as `PretrainConfig` takes them; None keeps what is there."""

    epochs: Count | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    temperature: float | None = None
    queue: int | None = None
    momentum: float | None = None
    precision: TrainingPrecision | None = None


class Sweeps(Strict):
    """The values that each experiment goes through.

    Attributes:
        views: Views an image, in rising order.
        target_sizes: Members of the target encoder.
        shadow_sizes: Members of the shadow encoder.
        epochs: Epochs at which the target encoder is audited; the last may be the whole run.
        passes: Forward passes of the target encoder an image.
    """

    views: Several[Views] = ()
    target_sizes: Several[Size] = ()
    shadow_sizes: Several[Size] = ()
    epochs: Several[Count] = ()
    passes: Several[Passes] = ()


class FineTunes(Strict):
    """How encoders are fine-tuned, for `fine-tune`.

    Attributes:
        members: Pictures that an encoder is fine-tuned on.
        epochs: Epochs after which it is audited; the last is the whole run.
        learning_rates: Learning rates, which stay as they are.
        batch_size: Pairs a step.
    """

    members: Several[Size]
    epochs: Several[Count]
    learning_rates: Several[float]
    batch_size: int = 50


class Pairs(Strict):
    """Encoders that are trained with captions, for `clip` and `fine-tune`.

    Attributes:
        architectures: Architectures, each a block of cells.
        epochs: Passes over the members.
        batch_size: Pairs a step.
        learning_rate: Highest learning rate.
        snapshots: Epochs at which an encoder is audited before it is finished.
        members: Fewer members, on which an encoder is trained as long.
        passes: Numbers of views at which the finished encoder is audited too.
        few_views: Views of an encoder that is not finished or has fewer members.
        fine_tunes: How encoders are fine-tuned.
    """

    architectures: Several[PairArchitecture] = ("clip-vit-tiny", "clip-resnet-tiny")
    epochs: Count = 80
    batch_size: int = 125
    learning_rate: float = 1e-3
    snapshots: Several[Count] = ()
    members: Several[Size] = ()
    passes: Several[Views] = ()
    few_views: Views = 4
    fine_tunes: FineTunes | None = None

    @model_validator(mode="after")
    def _fits(self) -> Pairs:
        if any(epoch >= self.epochs for epoch in self.snapshots):
            raise ValueError(f"snapshots go beyond the {self.epochs} epochs of a run")
        self.options("clip-vit-tiny", 0)
        return self

    def options(self, architecture: PairArchitecture, seed: int) -> PairConfig:
        """How an encoder is trained.

        Raises:
            UsageError: An option cannot work.
        """
        return PairConfig(
            architecture=architecture,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=seed,
        )

    def tuned_options(
        self, architecture: PairArchitecture, seed: int, learning_rate: float, base: str
    ) -> PairConfig:
        """How an encoder is fine-tuned.

        Raises:
            UsageError: An option cannot work.
        """
        assert self.fine_tunes is not None  # or the matrix was refused
        return PairConfig(
            architecture=architecture,
            epochs=max(self.fine_tunes.epochs),
            batch_size=self.fine_tunes.batch_size,
            learning_rate=learning_rate,
            seed=seed,
            base=base,
        )


class Scale(Strict):
    """How large everything is.

    Attributes:
        about: What this scale is for, for people.
        seeds: A repetition each: its own split, encoders and views.
        size_px: Side of the pictures.
        members: Members of an encoder, where an experiment does not say otherwise.
        split: Numbers of pictures that are drawn for a seed.
        views: Views an image, where an experiment does not say otherwise.
        draws: Times that the views of shadow pictures are drawn for the fits.
        references: Reference encoders beside each target and shadow encoder, for `reference`.
        known: What the target encoder is.
        unknown: What a shadow encoder is where it is not known what the target is.
        pretrain: Options of all encoders.
        algorithm: Further options of the encoders of one algorithm.
        architecture: Further options of the encoders of one architecture.
        sweeps: Values of the experiments.
        pairs: Encoders that are trained with captions.
    """

    about: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    size_px: Annotated[int, Field(ge=8, le=512)]
    members: Size
    split: SplitSizes
    views: Views = 10
    draws: Count = 4
    references: Annotated[int, Field(ge=0)] = 0
    known: Choice
    unknown: Choice
    pretrain: PretrainOptions
    algorithm: dict[Algorithm, PretrainOptions] = {}
    architecture: dict[Architecture, PretrainOptions] = {}
    sweeps: Sweeps = Sweeps()
    pairs: Pairs | None = None

    @model_validator(mode="after")
    def _fits(self) -> Scale:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must be one or more different numbers")
        if self.known.architecture == self.unknown.architecture:
            raise ValueError("known and unknown must differ in their architecture")
        if self.known.algorithm == self.unknown.algorithm:
            raise ValueError("known and unknown must differ in their algorithm")
        if max((self.members, *self.sweeps.target_sizes)) > self.split.target:
            raise ValueError("split.target is smaller than the members of a target encoder")
        tuned = self.pairs.fine_tunes.members if self.pairs and self.pairs.fine_tunes else ()
        if max((0, *tuned)) > self.members:
            raise ValueError("pairs.fine_tunes.members go beyond the members of an encoder")
        if self.references * self.members > self.split.probe:
            raise ValueError("split.probe is smaller than the members of all references")
        if max((self.members, *self.sweeps.shadow_sizes)) > self.split.shadow:
            raise ValueError("split.shadow is smaller than the members of a shadow encoder")
        for architecture in (self.known.architecture, self.unknown.architecture):
            for algorithm in ALGORITHMS:
                try:
                    self.options(architecture, algorithm, "encodermi@1", 0)
                except UsageError as error:
                    raise ValueError(
                        f"options of {architecture} with {algorithm}: {error} ({error.hint})"
                    ) from error
        whole = self.options(self.known.architecture, self.known.algorithm, "encodermi@1", 0).epochs
        if any(epoch > whole for epoch in self.sweeps.epochs):
            raise ValueError(f"sweeps.epochs go beyond the {whole} epochs of a run")
        return self

    def options(
        self, architecture: Architecture, algorithm: Algorithm, recipe: str, seed: int
    ) -> PretrainConfig:
        """How an encoder of this scale is pre-trained; the more special option wins.

        Raises:
            UsageError: An option cannot work.
        """
        none = PretrainOptions()
        chosen: dict[str, Any] = {}
        for options in (
            self.pretrain,
            self.algorithm.get(algorithm, none),
            self.architecture.get(architecture, none),
        ):
            chosen |= options.model_dump(exclude_none=True)
        return PretrainConfig(
            architecture=architecture, algorithm=algorithm, recipe=recipe, seed=seed, **chosen
        )
