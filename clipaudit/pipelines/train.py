"""Shadow data set → shadow encoder → features → inferrers with their cards.

With references, further encoders are pre-trained likewise on other pictures, and look at the very
views of the shadow encoder, for inferrers that read both.

The split, the checkpoints, the shadow encoder and the finished run each leave a file, and what is
there is not done again: a run that was killed continues with the same command, and a run that
was finished does nothing. Features and fits are a matter of minutes, and are not kept half done.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit._version import __version__
from clipaudit.encoders.base import EncoderOptions, Output
from clipaudit.errors import InferrerError, InputError, UsageError
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import Signals, Similarity, average
from clipaudit.features.views import RECIPES
from clipaudit.files import cache_dir, make_folder, read_json, refuse_links, replace_file
from clipaudit.inferrers import PAPER, find_rule, forms, reads_of
from clipaudit.inferrers.base import (
    Card,
    Features,
    Inferrer,
    Kind,
    Reads,
    ShadowFacts,
    card_name,
)
from clipaudit.inferrers.library import CARD, load, save
from clipaudit.pipelines.scoring_options import MOST_VIEWS
from clipaudit.seeding import derive, stream
from clipaudit.shadow.config import PretrainConfig
from clipaudit.shadow.datasets import ShadowData, open_data
from clipaudit.shadow.pretrain import Epoch
from clipaudit.shadow.splits import Split, split
from clipaudit.shadow.training_folder import ENCODER, has_encoder, pretrain_in
from clipaudit.statistics.metrics import judge
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from clipaudit.encoders.base import Encoder

SPLIT = "split.json"
RUN = "run.json"
INFERRERS = "inferrers"

_HELD_OUT = 0.2
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
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
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
            if not forms(kind, has_reference=bool(self.n_references)):
                raise UsageError(
                    f"{kind} reads a reference encoder beside the target, and none is trained",
                    "Pass --references 1 or more.",
                )
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

    def wanted(self, output: Output) -> tuple[tuple[Kind, Reads], ...]:
        """The inferrers to be trained on one output, each with what it reads."""
        views = self.n_views, self.pretrain.recipe, output
        inferrers = [
            (kind, reads_of(kind, similarity, *views, has_reference=has_reference))
            for similarity in self.similarities
            for kind in self.kinds
            for has_reference in forms(kind, has_reference=bool(self.n_references))
        ]
        return tuple(dict.fromkeys(inferrers))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made.

    Attributes:
        inferrers: Inferrers with their cards, as they were saved.
        folder: Where they are, a folder each.
        seconds: Wall time by step.
    """

    inferrers: tuple[Inferrer, ...]
    folder: Path
    seconds: dict[str, float]


def train(
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Trained:
    """Train a shadow encoder and inferrers on it; continue where an earlier run stopped.

    Args:
        config: What to train on, and which inferrers.
        on_epoch: Called after every epoch of the pre-training.
        on_step: Called before each of the steps that follow it, with what begins.

    Raises:
        ClipAuditError: The data set is missing or too small, the folder holds another run or a
            link, the disk is full, or the loss is not finite.
    """
    finished = _finished(config)
    if finished is not None:
        return finished
    refuse_links(config.output)
    make_folder(config.output)
    clock = _Clock()
    data = open_data(config.data, config.data_name, cache_dir() / "data")
    parts = _split(data, config)
    encoder_folder = config.output / ENCODER
    images = data.pixels(parts.members + parts.nonmembers, config.size_px)
    clock.done("data")

    pretrain_in(
        config.output,
        images[: len(parts.members)],
        config.pretrain,
        device=config.device,
        checkpoint_every_s=config.checkpoint_every_s,
        on_epoch=on_epoch,
    )
    reference_folders = [
        _reference(data, number, members, config, on_epoch)
        for number, members in enumerate(parts.references)
    ]
    clock.done("pre-training")

    held_out = _held_out(parts, config.seed)
    trained: list[Inferrer] = []
    for output in config.outputs:
        encoder = _load_encoder(encoder_folder, output, config.device)
        references = [_load_encoder(folder, output, config.device) for folder in reference_folders]
        draws = []
        for draw in range(config.n_draws):
            on_step(f"looking at views of the pictures, {output}, {draw + 1} of {config.n_draws}")
            views = _look(parts, images, encoder, draw, config)
            draws.append(
                (views, [_look(parts, images, other, draw, config) for other in references])
            )
        clock.done("features")
        shadow = ShadowFacts(
            data=_printable(data.name),
            n_members=len(parts.members),
            n_nonmembers=len(parts.nonmembers),
            architecture=config.pretrain.architecture,
            algorithm=config.pretrain.algorithm,
            epochs=config.pretrain.epochs,
            size_px=config.size_px,
            encoder=encoder.info.fingerprint,
            n_references=config.n_references,
        )
        on_step(f"fitting inferrers, {output}")
        trained += _fit_all(draws, held_out, shadow, output, config)
        clock.done("inferrers")
    _write_json(config.output / RUN, {"config": _plain(config), "seconds": clock.seconds})
    return Trained(tuple(trained), config.output / INFERRERS, clock.seconds)


def _finished(config: TrainConfig) -> Trained | None:
    """Inferrers of a finished run with these very options; None where there is none."""
    try:
        recorded = read_json(config.output / RUN, dict[str, Any])
        if recorded["config"] != _plain(config) or not has_encoder(config.output):
            return None
        folders = sorted(card.parent for card in (config.output / INFERRERS).glob(f"*/{CARD}"))
        inferrers = {(made.card.kind, made.card.reads): made for made in map(load, folders)}
        wanted = [wish for output in config.outputs for wish in config.wanted(output)]
        return Trained(
            tuple(inferrers[wish] for wish in wanted),
            config.output / INFERRERS,
            dict(recorded["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError, InferrerError):
        return None


class _Clock:
    """Wall time by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def done(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._since
        self._since = now


def read_split(run: Path) -> Split:
    """Split of an earlier run.

    Raises:
        InputError: The folder holds no run.
    """
    try:
        return read_json(run / SPLIT, Split)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{run} holds no run of `clipaudit train`: {error}",
            "Pass the folder that was its --output.",
        ) from error


def _split(data: ShadowData, config: TrainConfig) -> Split:
    """The split that was written down, or a new one."""
    options = {
        "data": data.name,
        "n_members": config.n_members,
        "n_nonmembers": config.n_nonmembers,
        "seed": config.seed,
        "size_px": config.size_px,
        **({"n_references": config.n_references} if config.n_references else {}),
    }
    used: set[str] = set()
    for run in config.without:
        earlier = read_split(run)
        used |= set(earlier.pictures)
    path = config.output / SPLIT
    if path.exists():
        saved = read_split(config.output)
        recorded = read_json(path, dict[str, Any]).get("options", {})
        if recorded != options:
            both = dict.fromkeys([*options, *recorded])
            differs = ", ".join(k for k in both if recorded.get(k) != options.get(k))
            raise UsageError(
                f"{config.output} holds a run with other options ({differs})",
                "Pass the options of that run to continue it, or another --output.",
            )
        pictures = set(saved.pictures)
        if pictures & used:
            raise UsageError(
                f"the run in {config.output} has {count(len(pictures & used), 'picture')} that "
                "--without rules out",
                "Start a new run with another --output.",
            )
        missing = pictures - set(data.ids)
        if missing:
            raise InputError(
                f"{count(len(missing), 'picture')} of the run in {config.output} "
                f"{'is' if len(missing) == 1 else 'are'} not in {data.name}",
                "The data set has changed; start a new run with another --output.",
            )
        return saved
    counts = config.n_members, config.n_nonmembers
    fresh = split(data, *counts, config.seed, frozenset(used), config.n_references)
    _write_json(path, {"options": options, **asdict(fresh)})
    return fresh


def _load_encoder(folder: Path, output: Output, device: str) -> Encoder:
    from clipaudit.shadow import encoder as shadow

    return shadow.load(str(folder), EncoderOptions(output=output, device=device))


def _held_out(parts: Split, seed: int) -> npt.NDArray[np.bool_]:
    """Draw the pictures that no inferrer is fitted to: a fifth of the members and the others."""
    held_out = []
    for name, group in (("members", parts.members), ("nonmembers", parts.nonmembers)):
        order = stream(seed, name, "held out").permutation(len(group))
        held_out.append(order < max(2, round(_HELD_OUT * len(group))))
    return np.concatenate(held_out)


def _reference(
    data: ShadowData,
    number: int,
    members: tuple[str, ...],
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None],
) -> Path:
    """Pre-train a reference encoder as the shadow encoder is, and return its folder."""
    folder = config.output / f"reference-{number + 1}"
    make_folder(folder)
    seed = derive(config.pretrain.seed, f"reference {number + 1}", "weights") % 2**31
    pretrain_in(
        folder,
        data.pixels(members, config.size_px),
        replace(config.pretrain, seed=seed),
        device=config.device,
        checkpoint_every_s=config.checkpoint_every_s,
        on_epoch=on_epoch,
    )
    return folder / ENCODER


def _look(
    parts: Split, images: npt.NDArray[np.uint8], encoder: Encoder, draw: int, config: TrainConfig
) -> Signals:
    """Measure the signals of all pictures, members first, for one draw of their views."""
    ids = parts.members + parts.nonmembers
    recipe = RECIPES[config.pretrain.recipe]
    hint = "Pre-train with another --learning-rate or --seed, and another --output."
    embedder = Embedder(encoder, recipe, config.n_views, config.seed + draw)
    return measure_all(embedder, ids, images, hint)[0]


def _fit_all(
    draws: Sequence[tuple[Signals, Sequence[Signals]]],
    held_out: npt.NDArray[np.bool_],
    shadow: ShadowFacts,
    output: Output,
    config: TrainConfig,
) -> list[Inferrer]:
    is_member = np.arange(len(held_out)) < shadow.n_members
    fitted = []
    for kind, reads in config.wanted(output):
        values = [
            Features.of(signals, reads, average(references) if reads.has_reference else None).values
            for signals, references in draws
        ]
        inferrer = _fit(kind, values, is_member, held_out, reads, shadow, config)
        fitted.append(save(inferrer, config.output / INFERRERS / inferrer.card.name))
    return fitted


def _fit(
    kind: Kind,
    draws: Sequence[npt.NDArray[np.float32]],
    is_member: npt.NDArray[np.bool_],
    held_out: npt.NDArray[np.bool_],
    reads: Reads,
    shadow: ShadowFacts,
    config: TrainConfig,
) -> Inferrer:
    """Fit an inferrer to four fifths of the pictures; judge it on the first draw of the rest."""
    known = ~held_out
    values = np.concatenate([draw[known] for draw in draws])
    truth = np.tile(is_member[known], len(draws))
    rule = find_rule(kind).train(values, truth, derive(config.seed, kind, "inferrer") % 2**63)
    threshold = rule.threshold(values, truth)
    evidence = judge(rule.score(draws[0][held_out]), is_member[held_out], threshold)
    card = Card(
        name=card_name(shadow.data, reads, kind),
        kind=kind,
        reads=reads,
        threshold=threshold,
        shadow=shadow,
        evidence=evidence,
        n_fitted=int(known.sum()),
        seed=config.seed,
        command=_printable(config.command),
        created=datetime.now(UTC).date().isoformat(),
        clipaudit_version=__version__,
    )
    return Inferrer(card, rule)


def _printable(text: str) -> str:
    """The text as a card can hold it: bytes of file names that are no text become �."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _plain(config: TrainConfig) -> dict[str, object]:
    """The options that decide what comes out."""
    document: dict[str, object] = json.loads(json.dumps(asdict(config), default=str))
    for name in ("output", "checkpoint_every_s", "device", "command"):
        del document[name]
    if not config.n_references:
        del document["n_references"]  # which the first runs did not know
    return document


def _write_json(path: Path, document: object) -> None:
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
