"""A matrix: a TOML file that names data sets, scales and experiments."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from clipaudit.encoders.base import Output
from clipaudit.errors import UsageError, nearest
from clipaudit.shadow.architectures import Architecture
from clipaudit.shadow.pretrain import ALGORITHMS, Algorithm, Precision, PretrainConfig

Knowledge = Literal["data", "architecture", "algorithm"]
ExperimentKind = Literal[
    "background",
    "algorithms",
    "views",
    "similarity",
    "target-size",
    "shadow-size",
    "augmentations",
    "epochs",
    "baselines",
    "reference",
]

COMBINATIONS: tuple[tuple[Knowledge, ...], ...] = (
    (),
    ("data",),
    ("architecture",),
    ("algorithm",),
    ("data", "architecture"),
    ("data", "algorithm"),
    ("architecture", "algorithm"),
    ("data", "architecture", "algorithm"),
)
"""What may be known of the target encoder, from nothing to all of it."""

FULL = COMBINATIONS[-1]

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=10)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""What may be a name, which is a part of names of files too."""

Name = Annotated[str, Field(pattern=NAME)]
Views = Annotated[int, Field(ge=2, le=1000)]
Passes = Annotated[int, Field(ge=1, le=1001)]

Item = TypeVar("Item")


def _none_twice(some: tuple[Item, ...]) -> tuple[Item, ...]:
    """What is there twice would be run, and counted, twice."""
    if len(set(some)) < len(some):
        raise ValueError("something is named twice")
    return some


Several = Annotated[tuple[Item, ...], AfterValidator(_none_twice)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Choice(_Strict):
    """One side of what may be known: the target's own choice, or the other one.

    Attributes:
        architecture: Of the encoder.
        algorithm: That pre-trains it.
    """

    architecture: Architecture
    algorithm: Algorithm


class SplitSizes(_Strict):
    """How many pictures are drawn from each data set for one seed.

    Attributes:
        target: Members of the target encoder, and as many non-members.
        shadow: Likewise for the shadow encoder.
        probe: Pictures to train the downstream classifier, and as many to test it.
    """

    target: Size
    shadow: Size
    probe: Size

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by the name of their group."""
        return {
            "target-members": self.target,
            "target-nonmembers": self.target,
            "shadow-members": self.shadow,
            "shadow-nonmembers": self.shadow,
            "probe-train": self.probe,
            "probe-test": self.probe,
        }


class PretrainOptions(_Strict):
    """Options of the pre-training, as `PretrainConfig` takes them; None keeps what is there."""

    epochs: Count | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    temperature: float | None = None
    queue: int | None = None
    momentum: float | None = None
    precision: Precision | None = None


class Sweeps(_Strict):
    """The values that each experiment goes through.

    Attributes:
        views: n, in rising order.
        target_sizes: Members of the target encoder.
        shadow_sizes: Members of the shadow encoder.
        epochs: After how many the target encoder is looked at; its last are the whole run.
        passes: Forward passes of the target encoder an image.
    """

    views: Several[Views] = ()
    target_sizes: Several[Size] = ()
    shadow_sizes: Several[Size] = ()
    epochs: Several[Count] = ()
    passes: Several[Passes] = ()


class Scale(_Strict):
    """How large everything is.

    Attributes:
        about: For people: what this scale is for.
        seeds: One repetition each: its own split, encoders and views.
        size_px: Side of the pictures.
        members: Of an encoder, where an experiment does not say otherwise.
        split: Pictures that are drawn for a seed.
        views: n, where an experiment does not say otherwise.
        draws: Times that the views of shadow pictures are drawn for the fits.
        references: Reference encoders beside each target and shadow encoder, for `reference`.
        known: What the target encoder is.
        unknown: What a shadow encoder is where it is not known what the target is.
        pretrain: Options for all encoders.
        algorithm: Further options for those of one algorithm.
        architecture: Likewise, of one architecture.
        sweeps: Values of the experiments.
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


class Experiment(_Strict):
    """One table or figure.

    Attributes:
        kind: Which.
        data: Data set of the target encoder.
        unknown_data: Of the shadow encoder, where the target's is not known.
        combinations: For `background`: what is known; all eight by default.
    """

    kind: ExperimentKind
    data: str
    unknown_data: str | None = None
    combinations: tuple[Several[Knowledge], ...] = COMBINATIONS

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        if self.unknown_data is None and any("data" not in known for known in self.knowledge):
            raise ValueError("unknown_data is missing: the data set that the shadow side takes")
        if self.unknown_data == self.data:
            raise ValueError("unknown_data must be another data set than data")
        if len(set(map(frozenset, self.combinations))) < len(self.combinations):
            raise ValueError("one of its combinations is named twice")
        return self

    @property
    def knowledge(self) -> tuple[tuple[Knowledge, ...], ...]:
        """The combinations that are needed; a sweep is run with full knowledge."""
        return self.combinations if self.kind == "background" else (FULL,)

    @property
    def name(self) -> str:
        """One word that no other experiment of a matrix has."""
        return f"{self.kind}-{self.data}"


class Matrix(_Strict):
    """What a lab is to run.

    Attributes:
        name: For people, and for the file with its results.
        data: Name → folder, zip file, or a name that can be fetched.
        outputs: Of the encoders: `embedding` is what the loss saw, `trunk` lies below.
        kinds: Of EncoderMI's inferrers; `reference` judges the others beside them.
        scale: By name; one is chosen for a run.
        experiment: In the order in which they are shown.
    """

    name: Name
    data: dict[Name, str]
    outputs: Annotated[Several[Output], Field(min_length=1)] = ("embedding", "trunk")
    kinds: Annotated[Several[Literal["V", "S", "T"]], Field(min_length=1)] = ("V", "S", "T")
    scale: Annotated[dict[Name, Scale], Field(min_length=1)]
    experiment: Annotated[tuple[Experiment, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> Matrix:
        for one in self.experiment:
            for name in filter(None, (one.data, one.unknown_data)):
                if name not in self.data:
                    raise ValueError(
                        f"experiment {one.kind} names the data set {name}, and [data] has "
                        f"{', '.join(self.data)}"
                    )
        if any(one.kind == "reference" for one in self.experiment):
            for name, scale in self.scale.items():
                if not (scale.references and scale.sweeps.passes):
                    raise ValueError(
                        f"experiment reference needs references and sweeps.passes in scale {name}"
                    )
        names = [one.name for one in self.experiment]
        if len(set(names)) < len(names):
            raise ValueError("two experiments are of one kind on one data set")
        return self


def shipped_matrices() -> dict[str, Path]:
    """The matrices that come with the package, by name."""
    folder = Path(str(resources.files("clipaudit.lab"))) / "matrices"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_matrix(name: str) -> Matrix:
    """A matrix by its file, or by the name of a shipped one.

    Raises:
        UsageError: There is none, or it says what cannot be; the message names the place.
    """
    shipped = shipped_matrices()
    path = shipped.get(name, Path(name))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        near = nearest(name, list(shipped), limit=1)
        raise UsageError(
            f"there is no matrix {name}: {error}",
            f"Pass a TOML file, or one that comes along: {', '.join(shipped)}."
            + (f" Did you mean {near[0]}?" if near else ""),
        ) from error
    try:
        return Matrix.model_validate(_with_tuples(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path} is no TOML: {error}", "Mend that line; docs/lab.md has an example."
        ) from error
    except ValidationError as error:
        raise UsageError(
            f"{path} is no matrix: {_sentence(error)}",
            "Mend that entry; docs/lab.md describes every one.",
        ) from error


def _with_tuples(value: Any) -> Any:
    """TOML's lists as the tuples that a frozen model holds."""
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    if isinstance(value, dict):
        return {key: _with_tuples(one) for key, one in value.items()}
    return value


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    given = first["input"]
    shown = f" (it is {given!r})" if isinstance(given, str | int | float) else ""
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        text, shown = "there is no such entry", ""
    return f"{place}: {text}{shown}{more}"
