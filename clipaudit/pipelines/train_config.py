"""What `clipaudit train` is asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clipaudit.encoders.base import Output
from clipaudit.errors import UsageError
from clipaudit.features.signals import Similarity
from clipaudit.inferrers import PAPER, find_rule, forms, reads_of
from clipaudit.inferrers.base import Kind, Reads
from clipaudit.pipelines.scoring_options import MOST_VIEWS
from clipaudit.shadow.config import PairConfig, PretrainConfig, TrainingConfig

_SMALLEST_PX = 8


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train inferrers on, and which.

    Attributes:
        data: A folder, a zip file, or the name of a data set.
        output: Folder of the run.
        data_name: What cards call the data set; None takes it from `data`.
        size_px: Side to which pictures are resized.
        n_members: Pictures that pre-train the shadow encoder.
        n_nonmembers: Pictures of the same set that do not.
        n_references: Reference encoders; each sees `n_members` other pictures of the set.
        captions: Where the captions come from, for an encoder that is trained with some.
        n_bank: Other pictures with captions, against which the loss of a pair is taken; likewise.
        pretrain: How the shadow encoder is pre-trained.
        kinds: Kinds of inferrers to train; where there are references, those that can read one are
            trained with it too.
        similarities: Similarities, for each of which every kind is trained.
        outputs: Outputs of the shadow encoder, likewise.
        n_views: Views an image.
        n_draws: How many times each picture's views are drawn for the fit; more draws are more
            examples from the same pictures.
        without: Folders of earlier runs whose pictures must not be used.
        checkpoint_every_s: Least time between checkpoints of the pre-training.
        device: Where to train.
        seed: Seed of the split, the pre-training and the fits.
        command: Command that the cards name.
    """

    data: str
    output: Path
    data_name: str | None = None
    size_px: int = 32
    n_members: int = 1000
    n_nonmembers: int = 1000
    n_references: int = 0
    captions: str = "auto"
    n_bank: int = 500
    pretrain: TrainingConfig = field(default_factory=PretrainConfig)
    kinds: tuple[Kind, ...] = PAPER
    similarities: tuple[Similarity, ...] = ("cosine",)
    outputs: tuple[Output, ...] = ("embedding", "trunk")
    n_views: int = 10
    n_draws: int = 4
    without: tuple[Path, ...] = ()
    checkpoint_every_s: float = 60
    device: str = "auto"
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if min(self.n_members, self.n_nonmembers) < 10:
            raise UsageError(
                "a shadow data set needs at least 10 members and 10 non-members",
                "Raise --members and --nonmembers; hundreds give figures worth having.",
            )
        if not 2 <= self.n_views <= MOST_VIEWS:
            raise UsageError(
                f"{self.n_views} views do not work", f"Pass --views within 2 and {MOST_VIEWS}."
            )
        if self.n_references < 0:
            raise UsageError("there cannot be fewer references than none", "Pass --references 0.")
        for kind in self.kinds:
            if not self.has_captions and find_rule(kind).reads.startswith("caption"):
                raise UsageError(
                    f"{kind} reads captions, and {self.pretrain.algorithm} trains without any",
                    "Pass --algorithm clip.",
                )
            if not forms(kind, has_reference=bool(self.n_references)):
                raise UsageError(
                    f"{kind} reads a reference encoder beside the target, and none is trained",
                    "Pass --references 1 or more.",
                )
        if self.has_captions and self.n_bank < 2:
            raise UsageError("a bank needs two pictures or more", "Pass --bank-size 500.")
        if self.n_draws < 1:
            raise UsageError("views must be drawn at least once", "Set n_draws to 1 or more.")
        if self.size_px < _SMALLEST_PX:
            raise UsageError(
                f"pictures of {self.size_px} pixels are too small",
                f"Pass --size {_SMALLEST_PX} or more.",
            )
        if self.data_name is not None and Path(f"x{self.data_name}").name != f"x{self.data_name}":
            raise UsageError(
                f"{self.data_name!r} is no name for a data set",
                "It becomes part of a folder's name: pass --data-name without slashes.",
            )

    @property
    def has_captions(self) -> bool:
        """Whether the shadow encoder is trained with captions."""
        return isinstance(self.pretrain, PairConfig)

    def wanted(self, output: Output) -> tuple[tuple[Kind, Reads], ...]:
        """The inferrers to be trained on one output, each with what it reads."""
        views = self.n_views, self.pretrain.recipe, output
        inferrers = [
            (kind, reads_of(kind, similarity, *views, has_reference=has_reference))
            for similarity in self.similarities
            for kind in self.kinds
            for has_reference in forms(kind, has_reference=bool(self.n_references))
            if output == "embedding" or not find_rule(kind).reads.startswith("caption")
        ]
        return tuple(dict.fromkeys(inferrers))

    def plain(self) -> dict[str, object]:
        """The options that decide what comes out."""
        document: dict[str, object] = json.loads(json.dumps(asdict(self), default=str))
        for name in ("output", "checkpoint_every_s", "device", "command"):
            del document[name]
        if not self.has_captions:
            del document["captions"], document["n_bank"]
        if not self.n_references:
            del document["n_references"]  # which the first runs did not know
        return document
