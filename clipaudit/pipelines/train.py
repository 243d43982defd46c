"""Shadow data set → shadow encoder → features → inferrers with their cards.

Every step leaves a file, and a step whose file is there is not done again: a run that was
killed continues where it was, with the same command.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipaudit._version import __version__
from clipaudit.cache_dir import cache_dir
from clipaudit.encoders.base import EncoderOptions, InputSpec, Output
from clipaudit.errors import InputError, UsageError
from clipaudit.files import replace_file
from clipaudit.inferrers.base import KINDS, Card, Features, Inferrer, Kind, Reads, ShadowFacts
from clipaudit.metrics import judge
from clipaudit.pipelines.embed import Embedder
from clipaudit.seeding import derive, stream
from clipaudit.shadow.datasets import ShadowData, Split, open_data, split
from clipaudit.shadow.pretrain import Epoch, PretrainConfig, pretrain
from clipaudit.similarity import Signals, Similarity, concatenate, measure
from clipaudit.views import RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from clipaudit.encoders.base import Encoder

SPLIT = "split.json"
LOG = "log.jsonl"
RUN = "run.json"
ENCODER = "encoder"
INFERRERS = "inferrers"
CHECKPOINTS = "checkpoints"

_HELD_OUT = 0.2
_IMAGES_AT_ONCE = 64


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
        pretrain: How the shadow encoder is pre-trained.
        kinds: Which inferrers to train.
        similarities: For each, on which similarities.
        outputs: And on which outputs of the shadow encoder.
        n_views: Views an image.
        n_draws: How many times each picture's views are drawn for the fit; more draws are more
            examples from the same pictures.
        without: Folders of earlier runs whose pictures must not be used.
        device: Where to train.
        seed: Of the split, the pre-training and the fits.
        command: For the card.
    """

    data: str
    output: Path
    data_name: str | None = None
    size_px: int = 32
    n_members: int = 1000
    n_nonmembers: int = 1000
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    kinds: tuple[Kind, ...] = KINDS
    similarities: tuple[Similarity, ...] = ("cosine",)
    outputs: tuple[Output, ...] = ("embedding", "trunk")
    n_views: int = 10
    n_draws: int = 4
    without: tuple[Path, ...] = ()
    device: str = "auto"
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if min(self.n_members, self.n_nonmembers) < 10:
            raise UsageError(
                "a shadow data set needs at least 10 members and 10 non-members",
                "Raise --members and --nonmembers; hundreds give figures worth having.",
            )
        if self.n_views < 2:
            raise UsageError("a similarity needs two views", "Pass --views 2 or more.")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made.

    Attributes:
        inferrers: With their cards, as they were saved.
        folder: Where they are, one folder each.
        seconds: Wall time by step.
    """

    inferrers: tuple[Inferrer, ...]
    folder: Path
    seconds: dict[str, float]


def train(config: TrainConfig, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Trained:
    """Train a shadow encoder and inferrers on it; continue where an earlier run stopped.

    Raises:
        ClipAuditError: The data set is missing or too small, the folder holds another run, the
            disk is full, or the loss is not finite.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    clock = _Clock()
    data = open_data(config.data, config.data_name, cache_dir() / "data")
    parts = _split(data, config)
    clock.done("data")

    encoder_folder = config.output / ENCODER
    if not (encoder_folder / "encoder.json").exists():
        _pretrain(data, parts, config, encoder_folder, on_epoch)
    clock.done("pre-training")

    held_out = _held_out(parts, config.seed)
    trained: list[Inferrer] = []
    for output in config.outputs:
        encoder = _load(encoder_folder, output, config.device)
        examples = _examples(data, parts, encoder, config)
        clock.done("features")
        shadow = ShadowFacts(
            data=data.name,
            n_members=len(parts.members),
            n_nonmembers=len(parts.nonmembers),
            architecture=config.pretrain.architecture,
            algorithm=config.pretrain.algorithm,
            epochs=config.pretrain.epochs,
            size_px=config.size_px,
            encoder=encoder.info.fingerprint,
        )
        trained += _fit_all(examples, held_out, shadow, output, config)
        clock.done("inferrers")
    _write_json(config.output / RUN, {"config": _plain(config), "seconds": clock.seconds})
    return Trained(tuple(trained), config.output / INFERRERS, clock.seconds)


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
    """Who was a member in an earlier run.

    Raises:
        InputError: The folder holds no run.
    """
    try:
        saved = json.loads((run / SPLIT).read_text(encoding="utf-8"))
        return Split(tuple(saved["members"]), tuple(saved["nonmembers"]))
    except (OSError, ValueError, KeyError) as error:
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
    }
    path = config.output / SPLIT
    if path.exists():
        saved = read_split(config.output)
        recorded = json.loads(path.read_text(encoding="utf-8"))["options"]
        if recorded != options:
            differs = ", ".join(k for k in options if recorded.get(k) != options[k])
            raise UsageError(
                f"{config.output} holds a run with other options ({differs})",
                "Pass the options of that run to continue it, or another --output.",
            )
        missing = set(saved.members + saved.nonmembers) - set(data.ids)
        if missing:
            raise InputError(
                f"{len(missing)} pictures of the run in {config.output} are not in {data.name}",
                "The data set has changed; start a new run with another --output.",
            )
        return saved
    used: set[str] = set()
    for run in config.without:
        earlier = read_split(run)
        used |= {*earlier.members, *earlier.nonmembers}
    fresh = split(data, config.n_members, config.n_nonmembers, config.seed, frozenset(used))
    _write_json(path, {"options": options, **asdict(fresh)})
    return fresh


def _pretrain(
    data: ShadowData,
    parts: Split,
    config: TrainConfig,
    folder: Path,
    on_epoch: Callable[[Epoch], None],
) -> None:
    import torch

    from clipaudit.encoders.devices import resolve
    from clipaudit.encoders.shadow import save

    members = data.pixels(parts.members, config.size_px)
    mean = members.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    std = np.maximum(members.std(axis=(0, 2, 3), dtype=np.float64) / 255, 1e-3)
    spec = InputSpec(
        size_px=config.size_px,
        mean=(round(mean[0], 4), round(mean[1], 4), round(mean[2], 4)),
        std=(round(std[0], 4), round(std[1], 4), round(std[2], 4)),
        interpolation="bicubic",
    )
    with (config.output / LOG).open("a", encoding="utf-8") as log:

        def note(epoch: Epoch) -> None:
            log.write(json.dumps(asdict(epoch)) + "\n")
            log.flush()
            on_epoch(epoch)

        net = pretrain(
            torch.from_numpy(members),
            spec.mean,
            spec.std,
            config.pretrain,
            device=str(resolve(config.device)),
            checkpoints=config.output / CHECKPOINTS,
            on_epoch=note,
        )
    save(net, folder, config.pretrain.architecture, spec)


def _load(folder: Path, output: Output, device: str) -> Encoder:
    from clipaudit.encoders.shadow import load

    return load(str(folder), EncoderOptions(output=output, device=device))


def _held_out(parts: Split, seed: int) -> npt.NDArray[np.bool_]:
    """Which pictures no inferrer is fitted to: a fifth of the members, and of the others."""
    held_out = []
    for name, group in (("members", parts.members), ("nonmembers", parts.nonmembers)):
        order = stream(seed, name, "held out").permutation(len(group))
        held_out.append(order < max(2, round(_HELD_OUT * len(group))))
    return np.concatenate(held_out)


def _examples(
    data: ShadowData, parts: Split, encoder: Encoder, config: TrainConfig
) -> list[Signals]:
    """Signals of all pictures, members first, once for each draw of their views."""
    ids = parts.members + parts.nonmembers
    images = data.pixels(ids, config.size_px)
    recipe = RECIPES[config.pretrain.recipe]
    draws = []
    for draw in range(config.n_draws):
        embedder = Embedder(encoder, recipe, config.n_views, config.seed + draw)
        batches = [
            measure(embedder(ids[start:end], images[start:end]))
            for start in range(0, len(ids), _IMAGES_AT_ONCE)
            for end in [start + _IMAGES_AT_ONCE]
        ]
        draws.append(concatenate(batches))
    return draws


def _fit_all(
    draws: Sequence[Signals],
    held_out: npt.NDArray[np.bool_],
    shadow: ShadowFacts,
    output: Output,
    config: TrainConfig,
) -> list[Inferrer]:
    from clipaudit.inferrers.library import save

    is_member = np.arange(len(held_out)) < shadow.n_members
    fitted = []
    for similarity in config.similarities:
        reads = Reads(similarity, config.n_views, config.pretrain.recipe, output)
        for kind in config.kinds:
            values = [Features.of(signals, reads).values for signals in draws]
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
    """One inferrer: fitted to four fifths of the pictures, judged on the first draw of the rest."""
    from clipaudit.inferrers.deepset import DeepSetRule
    from clipaudit.inferrers.threshold import MeanRule, best_threshold
    from clipaudit.inferrers.vector import VectorRule

    known = ~held_out
    values = np.concatenate([draw[known] for draw in draws])
    truth = np.tile(is_member[known], len(draws))
    seed = derive(config.seed, kind, "inferrer") % 2**63
    rule: VectorRule | DeepSetRule | MeanRule
    if kind == "T":
        rule = MeanRule()
        threshold = best_threshold(rule.score(values), truth)
    else:
        rule = (VectorRule if kind == "V" else DeepSetRule).train(values, truth, seed)
        threshold = 0.0
    evidence = judge(rule.score(draws[0][held_out]), is_member[held_out], threshold)
    words = [shadow.data]
    words += [] if reads.output == "embedding" else [reads.output]
    words += [] if reads.similarity == "cosine" else [reads.similarity]
    card = Card(
        name="-".join([*words, kind.lower()]),
        kind=kind,
        reads=reads,
        threshold=threshold,
        shadow=shadow,
        evidence=evidence,
        n_fitted=int(known.sum()),
        seed=config.seed,
        command=config.command,
        created=datetime.now(UTC).date().isoformat(),
        clipaudit_version=__version__,
    )
    return Inferrer(card, rule)


def _plain(config: TrainConfig) -> dict[str, object]:
    document: dict[str, object] = json.loads(json.dumps(asdict(config), default=str))
    return document


def _write_json(path: Path, document: object) -> None:
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
