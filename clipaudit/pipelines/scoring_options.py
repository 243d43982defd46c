"""Options of scoring: name, default and help of each, for the command line and for Python.

A field of `ScoringOptions` is an option of `clipaudit score`, `calibrate` and `evaluate`, a keyword
of `clipaudit.score` and its siblings, and an attribute of the `ScoreConfig` that pipelines read.
There is no second place to name it in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from clipaudit.encoders.base import BATCH_TIMEOUT_S, InputOverrides, Output, Precision
from clipaudit.encoders.published_names import names_at_release
from clipaudit.errors import UsageError, did_you_mean
from clipaudit.features.recipes import AUTO
from clipaudit.features.signals import Similarity
from clipaudit.features.views import ENCODERMI, RECIPES
from clipaudit.inferrers.methods import ALL, METHODS
from clipaudit.pictures.base import Limits

ENCODER = "Encoder"
VIEWS = "Views and inferrers"
RUN = "Run"
_LONGEST_S = 1_000_000

MOST_VIEWS = 1000
MOST_IN_A_BATCH = 100_000
MOST_WORKERS = 256
MOST_PX = 8192


@dataclass(frozen=True, slots=True)
class Option:
    """How the command line and `help()` present a field.

    Attributes:
        help: A sentence or two.
        panel: Heading that it stands below in `--help`.
        name: Name on the command line; None takes the field's own.
        is_typed: Whether the command line has it at all.
        variables: Environment variables that give its value.
        default: Words for a default that is not a plain value.
        minimum: Lowest value.
        maximum: Highest value.
        unit: Of a number that is typed in a larger unit, how many make one.
        parts: Options of the fields of a field that is a dataclass, by their names.
        meaning: Sentence for Python, where the one for the command line does not serve.
        values: Gives values that a shell can complete, where there are more than a type lists.
    """

    help: str
    panel: str | None = None
    name: str | None = None
    is_typed: bool = True
    variables: tuple[str, ...] = ()
    default: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: float | None = None
    parts: Mapping[str, Option] = field(default_factory=dict)
    meaning: str | None = None
    values: Callable[[], Iterable[str]] | None = None


def _reference_names() -> tuple[str, ...]:
    return AUTO, *names_at_release()


def _method_names() -> tuple[str, ...]:
    return *METHODS, ALL


def _recipe_names() -> tuple[str, ...]:
    return AUTO, *RECIPES


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """What to score with; each field's `Option` says what it means."""

    encoder: Annotated[
        str,
        Option(
            "The encoder that is audited: MODEL/TAG of open_clip, or SCHEME:NAME; "
            "`clipaudit encoders` lists them.",
            ENCODER,
            variables=("CLIPAUDIT_ENCODER",),
            values=names_at_release,
        ),
    ] = "ViT-B-32/openai"
    references: Annotated[
        tuple[str, ...],
        Option(
            "An encoder like it that was not trained on these pictures. It sees the very same "
            "views, and inferrers that read both tell more; may be repeated. `auto` takes the "
            "first on this machine that `clipaudit encoders references` lists.",
            ENCODER,
            "--reference",
            default="none",
            meaning="Specs of encoders like it that were not trained on these pictures. They see "
            "the very same views, for inferrers that read both; of several, the mean of their "
            "signals is read. `auto` takes the first on this machine that could serve.",
            values=_reference_names,
        ),
    ] = ()
    output: Annotated[
        Output | None,
        Option("Which output of the encoder to read.", ENCODER, default="what its loss saw"),
    ] = None
    device: Annotated[
        str,
        Option(
            "auto, cpu, cuda, cuda:1, cuda:all (every GPU, each a share of each batch) or mps.",
            ENCODER,
            variables=("CLIPAUDIT_DEVICE",),
        ),
    ] = "auto"
    backend: Annotated[
        Literal["auto", "torch", "onnx"],
        Option("What runs the encoder.", ENCODER, variables=("CLIPAUDIT_BACKEND",)),
    ] = "auto"
    precision: Annotated[
        Precision,
        Option(
            "bfloat16 is two to three times as fast where the processor has AMX, and moves scores "
            "by a rounding; float16 is for GPUs. Features are kept apart.",
            ENCODER,
        ),
    ] = "float32"
    offline: Annotated[
        bool,
        Option(
            "Open no connection; take the weights that are on this machine.",
            ENCODER,
            variables=("CLIPAUDIT_OFFLINE", "HF_HUB_OFFLINE"),
        ),
    ] = False
    allow_code: Annotated[
        bool,
        Option("Load a file that is a program (TorchScript). Only from people you trust.", ENCODER),
    ] = False
    architecture: Annotated[
        str | None,
        Option(
            "Architecture of a file that is a bare state dict: ViT-B-32, timm:NAME, "
            "torchvision:NAME.",
            ENCODER,
        ),
    ] = None
    input: Annotated[
        InputOverrides,
        Option(
            "Input of the encoder, for files that carry no preprocessing.",
            parts={
                "size_px": Option(
                    "Side of the encoder's input in pixels; this and the next three are for files "
                    "that carry no preprocessing.",
                    ENCODER,
                    "--input-size",
                    minimum=1,
                    maximum=MOST_PX,
                ),
                "mean": Option("Mean of its input: three numbers, R G B.", ENCODER),
                "std": Option("Standard deviation of its input: three numbers.", ENCODER),
                "interpolation": Option("How its input is resized.", ENCODER),
            },
        ),
    ] = InputOverrides()
    methods: Annotated[
        tuple[str, ...],
        Option(
            "How signals become scores: v, s, t, combined, caption, …, or all; may be repeated. "
            "The shipped inferrer that fits the run is found. `clipaudit inferrers` lists them.",
            VIEWS,
            "--method",
            default="the strongest for what there is",
            meaning="Names of methods, or `all`; none takes the strongest for what there is.",
            values=_method_names,
        ),
    ] = ()
    shadow: Annotated[
        str | None,
        Option(
            "Data set whose encoders the method learned from: cifar10, tiny-imagenet or "
            "openclipart.",
            VIEWS,
            default="the one that fits best",
        ),
    ] = None
    inferrers: Annotated[
        tuple[str, ...],
        Option(
            "In the place of a method, a shipped inferrer by its name, or the folder of another; "
            "may be repeated. `clipaudit inferrers list --folders` lists them.",
            VIEWS,
            "--inferrer",
            default="none",
            meaning="In the place of methods, names of shipped inferrers, or folders of others.",
        ),
    ] = ()
    n_views: Annotated[
        int, Option("Views an image.", VIEWS, "--views", minimum=2, maximum=MOST_VIEWS)
    ] = 10
    similarity: Annotated[
        Similarity | None,
        Option("How two views are compared.", VIEWS, default="what the inferrers read"),
    ] = None
    recipe: Annotated[
        str,
        Option(
            "Recipe of the views, by name and version: auto takes the one that fits the encoder's "
            f"own training, else {ENCODERMI.id}.",
            VIEWS,
            values=_recipe_names,
        ),
    ] = AUTO
    captions: Annotated[
        str,
        Option(
            "Captions of the pictures: a CSV, TSV, JSON lines or Parquet file with path and text, "
            "or auto, none, sidecar, embedded, names, folder-names, or lookup:LIST for the row of "
            "a published list that a picture is found in. Only an encoder that was trained with "
            "captions reads them.",
            VIEWS,
        ),
    ] = "auto"
    bank: Annotated[
        str | None,
        Option(
            "Other pictures and captions that the loss of a pair is taken against: a folder of "
            "captioned pictures, a caption file, or a text file with a caption a line.",
            VIEWS,
            default="neutral captions that ship",
        ),
    ] = None
    seed: Annotated[int, Option("Seed of the views.", VIEWS)] = 0
    batch_size: Annotated[
        int | None,
        Option(
            "Images a forward pass; no score depends on it.",
            RUN,
            variables=("CLIPAUDIT_BATCH_SIZE",),
            default="what suits the device",
            minimum=1,
            maximum=MOST_IN_A_BATCH,
        ),
    ] = None
    batch_timeout_s: Annotated[
        float,
        Option(
            "Seconds that the encoder may take for a batch; a tenth of that for the views that it "
            "is tried with.",
            RUN,
            "--batch-timeout",
            variables=("CLIPAUDIT_BATCH_TIMEOUT",),
            minimum=1,
        ),
    ] = BATCH_TIMEOUT_S
    workers: Annotated[
        int | None,
        Option(
            "Processes that decode pictures.",
            RUN,
            variables=("CLIPAUDIT_WORKERS",),
            default="one a core",
            minimum=0,
            maximum=MOST_WORKERS,
        ),
    ] = None
    engine: Annotated[
        Literal["local", "ray"],
        Option(
            "Where the work is done: local is this machine, ray all machines of a Ray cluster.",
            RUN,
            variables=("CLIPAUDIT_ENGINE",),
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Option(
            "Address of the cluster, as Ray takes it: HOST:PORT of its head, or auto for the one "
            "that runs on this machine.",
            RUN,
            variables=("RAY_ADDRESS",),
            default="one of this machine alone, for the run",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Option("At most this many files, drawn at random with the seed.", default="all", minimum=1),
    ] = None
    use_store: Annotated[
        bool,
        Option(
            "Neither read nor keep features; see `clipaudit cache`.",
            RUN,
            "--no-cache",
            variables=("CLIPAUDIT_NO_CACHE",),
            meaning="Keep features, and take those that are known.",
        ),
    ] = True
    strict: Annotated[bool, Option("Stop at the first file that gives no picture.")] = False
    include_hidden: Annotated[bool, Option("Hidden files and folders too.")] = False
    follow_links: Annotated[
        bool,
        Option("Go after links that lead out of the folders; they are skipped otherwise."),
    ] = False
    limits: Annotated[
        Limits,
        Option(
            "How much one file may cost.",
            parts={
                "max_pixels": Option(
                    "Skip larger pictures, which may be decompression bombs, and files of more "
                    "than four bytes for each of so many pixels (no less than 100 MB).",
                    name="--max-megapixels",
                    minimum=0.001,
                    maximum=100_000,
                    unit=1e6,
                )
            },
        ),
    ] = Limits()

    def __post_init__(self) -> None:
        if self.n_views < 2:
            raise UsageError(
                f"a pair needs two views, got --views {self.n_views}", "Pass --views 2 or more."
            )
        if self.recipe not in (AUTO, *RECIPES):
            raise UsageError(
                f"--recipe {self.recipe} is not known",
                did_you_mean(
                    self.recipe, (AUTO, *RECIPES), f"Choose among {', '.join((AUTO, *RECIPES))}."
                ),
            )
        self._check_methods()
        if not 1 <= self.batch_timeout_s <= _LONGEST_S:  # nor is NaN
            raise UsageError(
                f"--batch-timeout must be 1 to {_LONGEST_S:,}, got {self.batch_timeout_s:g}",
                "Pass some minutes in seconds, such as --batch-timeout 600.",
            )
        for option, value, least, most in (
            ("--views", self.n_views, 2, MOST_VIEWS),
            ("--batch-size", self.batch_size, 1, MOST_IN_A_BATCH),
            ("--workers", self.workers, 0, MOST_WORKERS),
            ("--limit", self.limit, 1, math.inf),
        ):
            if value is not None and value < least:
                raise UsageError(
                    f"{option} must be at least {least}, got {value}", f"Pass {least} or more."
                )
            if value is not None and value > most:
                raise UsageError(
                    f"{option} must be at most {most:,}, got {value:,}", f"Pass {most} or less."
                )

    def _check_methods(self) -> None:
        for option, is_given in (
            ("--method", bool(self.methods)),
            ("--shadow", self.shadow is not None),
        ):
            if self.inferrers and is_given:
                raise UsageError(
                    f"--inferrer and {option} exclude each other",
                    f"Leave out {option}, which is for shipped inferrers that are found by what "
                    "they do.",
                )
        for name in self.methods:
            if name not in (*METHODS, ALL):
                raise UsageError(
                    f"--method {name} is not known",
                    did_you_mean(name, (*METHODS, ALL), f"Choose among {', '.join(METHODS)}, all."),
                )


def described_fields(options: type[ScoringOptions]) -> dict[str, tuple[Any, Option]]:
    """Field → its type and its `Option`, for every field that has one, in their order."""
    hints = get_type_hints(options, include_extras=True)
    annotated = {known.name: get_args(hints[known.name]) for known in fields(options)}
    return {
        name: (arguments[0], arguments[1])
        for name, arguments in annotated.items()
        if len(arguments) == 2 and isinstance(arguments[1], Option)
    }
