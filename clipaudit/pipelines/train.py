"""Shadow data set → shadow encoder → features → inferrers with their cards.

With references, further encoders are pre-trained likewise on other pictures, and look at the very
views of the shadow encoder, for inferrers that read both.

The split, the checkpoints, the shadow encoder and the finished run each leave a file, and what is
there is not done again: a run that was killed continues with the same command, and a run that
was finished does nothing. Features and fits are a matter of minutes, and are not kept half done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit._version import __version__
from clipaudit.captions.data_set import read_data_captions
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.errors import InferrerError
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import Signals, average
from clipaudit.features.views import RECIPES
from clipaudit.files import cache_dir, make_folder, read_json, refuse_links
from clipaudit.inferrers import find_rule
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
from clipaudit.pipelines.train_config import TrainConfig
from clipaudit.pipelines.train_split import held_out, make_split, write_json
from clipaudit.seeding import derive
from clipaudit.shadow.datasets import open_data
from clipaudit.shadow.pair_signals import Others, caption_meter
from clipaudit.shadow.pretrain import Epoch
from clipaudit.shadow.training_folder import ENCODER, has_encoder, pretrain_in
from clipaudit.shadow.training_folder import load as load_encoder
from clipaudit.statistics.metrics import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from clipaudit.encoders.base import Output
    from clipaudit.shadow.datasets import Captions, ShadowData
    from clipaudit.shadow.splits import Split

RUN = "run.json"
INFERRERS = "inferrers"


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
    captions = read_data_captions(data, config.captions) if config.has_captions else None
    parts = make_split(data, config, captions)
    pictures = _Pictures.of(data, parts, captions, config.size_px)
    clock.done("data")

    _pretrain(config.output, data, captions, parts.members, config, on_epoch)
    folders = [config.output]
    for number, members in enumerate(parts.references):
        folders.append(config.output / f"reference-{number + 1}")
        seed = derive(config.pretrain.seed, f"reference {number + 1}", "weights") % 2**31
        likewise = replace(config, pretrain=replace(config.pretrain, seed=seed))
        _pretrain(folders[-1], data, captions, members, likewise, on_epoch)
    clock.done("pre-training")

    is_held_out = held_out(parts, config.seed)
    trained: list[Inferrer] = []
    for output in config.outputs:
        draws = []
        for draw in range(config.n_draws):
            on_step(f"looking at views of the pictures, {output}, {draw + 1} of {config.n_draws}")
            views, *others = (
                _look(pictures, folder / ENCODER, output, draw, config) for folder in folders
            )
            draws.append((views, others))
        clock.done("features")
        shadow = ShadowFacts(
            data=_printable(data.name),
            n_members=len(parts.members),
            n_nonmembers=len(parts.nonmembers),
            architecture=config.pretrain.architecture,
            algorithm=config.pretrain.algorithm,
            epochs=config.pretrain.epochs,
            size_px=config.size_px,
            encoder=load_encoder(config.output / ENCODER, output, config.device).info.fingerprint,
            n_references=config.n_references,
        )
        on_step(f"fitting inferrers, {output}")
        trained += _fit_all(draws, is_held_out, shadow, output, config)
        clock.done("inferrers")
    write_json(config.output / RUN, {"config": config.plain(), "seconds": clock.seconds})
    return Trained(tuple(trained), config.output / INFERRERS, clock.seconds)


def _finished(config: TrainConfig) -> Trained | None:
    """Inferrers of a finished run with these very options; None where there is none."""
    try:
        recorded = read_json(config.output / RUN, dict[str, Any])
        if recorded["config"] != config.plain() or not has_encoder(config.output):
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


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """The pictures that inferrers learn from, members first, and the bank beside them."""

    ids: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    captions: Captions | None
    bank: Others | None

    @classmethod
    def of(
        cls, data: ShadowData, parts: Split, captions: Captions | None, size_px: int
    ) -> _Pictures:
        ids = parts.members + parts.nonmembers
        bank = None
        if captions is not None:
            texts = tuple(captions[picture] for picture in parts.bank)
            bank = Others(parts.bank, data.pixels(parts.bank, size_px), texts)
        return cls(ids, data.pixels(ids, size_px), captions, bank)


def _pretrain(
    folder: Path,
    data: ShadowData,
    captions: Captions | None,
    members: tuple[str, ...],
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Pre-train the shadow encoder, or a reference as the shadow encoder is."""
    make_folder(folder)
    pretrain_in(
        folder,
        data.pixels(members, config.size_px),
        config.pretrain,
        captions=[] if captions is None else [captions[picture] for picture in members],
        device=config.device,
        checkpoint_every_s=config.checkpoint_every_s,
        on_epoch=on_epoch,
    )


def _look(
    pictures: _Pictures, folder: Path, output: Output, draw: int, config: TrainConfig
) -> Signals:
    """Measure the signals of all pictures, members first, for one draw of their views."""
    encoder = load_encoder(folder, output, config.device)
    read_captions = None
    if pictures.captions is not None and pictures.bank is not None and output == "embedding":
        tower = load_text_tower(f"local-dir:{folder}", EncoderOptions(device=config.device))
        own = {picture: pictures.captions[picture] for picture in pictures.ids}
        read_captions = caption_meter(encoder, tower, own, pictures.bank)
    recipe = RECIPES[config.pretrain.recipe]
    hint = "Pre-train with another --learning-rate or --seed, and another --output."
    embedder = Embedder(encoder, recipe, config.n_views, config.seed + draw)
    return measure_all(embedder, pictures.ids, pictures.images, hint, read_captions)[0]


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
