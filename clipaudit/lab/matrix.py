"""A matrix: a TOML file that names data sets, scales and experiments."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from clipaudit.encoders.base import Output
from clipaudit.errors import UsageError, nearest
from clipaudit.lab.experiments import EXPERIMENTS, experiment_kind
from clipaudit.lab.knowledge import COMBINATIONS, Knowledge
from clipaudit.lab.scale import Name, Scale, Several, Strict


def _known_kind(kind: str) -> str:
    if kind not in EXPERIMENTS:
        raise ValueError(f"choose one of {', '.join(map(repr, EXPERIMENTS))}")
    return kind


class Experiment(Strict):
    """One table or figure.

    Attributes:
        kind: Kind of the experiment, one of `EXPERIMENTS`.
        data: Data set of the target encoder.
        unknown_data: Data set of the shadow encoder, where the target's is not known.
        combinations: What is known of the target encoder, for `background`; all eight by default.
    """

    kind: Annotated[str, AfterValidator(_known_kind)]
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
        return experiment_kind(self.kind).knowledge(self.combinations)

    @property
    def name(self) -> str:
        """Name that no other experiment of a matrix has."""
        return f"{self.kind}-{self.data}"


class Matrix(Strict):
    """What a lab is to run.

    Attributes:
        name: Name for people, and for the file with its results.
        data: Data sets by name: a folder, a zip file, or a name that can be fetched.
        captions: Where the captions of data sets come from, by name, as `--captions` takes it.
        outputs: Outputs of the encoders: `embedding` is what the loss saw, `trunk` lies below.
        kinds: EncoderMI's inferrers that are run; `reference` judges the others beside them.
        scale: Scales by name; one is chosen for a run.
        experiment: Experiments in the order in which they are shown.
    """

    name: Name
    data: dict[Name, str]
    captions: dict[Name, str] = Field(default_factory=dict)
    outputs: Annotated[Several[Output], Field(min_length=1)] = ("embedding", "trunk")
    kinds: Annotated[Several[Literal["V", "S", "T"]], Field(min_length=1)] = ("V", "S", "T")
    scale: Annotated[dict[Name, Scale], Field(min_length=1)]
    experiment: Annotated[tuple[Experiment, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> Matrix:
        for entry in self.experiment:
            for name in filter(None, (entry.data, entry.unknown_data)):
                if name not in self.data:
                    raise ValueError(
                        f"experiment {entry.kind} names the data set {name}, and [data] has "
                        f"{', '.join(self.data)}"
                    )
        for kind in dict.fromkeys(entry.kind for entry in self.experiment):
            for name, scale in self.scale.items():
                if missing := experiment_kind(kind).missing_from(scale):
                    raise ValueError(f"experiment {kind} needs {missing} in scale {name}")
        names = [entry.name for entry in self.experiment]
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
        return {key: _with_tuples(item) for key, item in value.items()}
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
