"""One pre-training in a folder of its own: log, checkpoints, and the encoder in the end.

FOLDER/log.jsonl      a line of JSON an epoch
FOLDER/checkpoints/   where a killed run goes on
FOLDER/encoder/       spec `shadow:FOLDER`, or `local-dir:FOLDER/encoder` of one with captions
FOLDER/epoch-100/     a snapshot, where one was asked for
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.files import append_line, replace_file
from clipaudit.shadow import image_text
from clipaudit.shadow.checkpoints import require_same
from clipaudit.shadow.config import PairConfig, PretrainConfig, TrainingConfig, head_of
from clipaudit.shadow.image_text import PairLearner
from clipaudit.shadow.pretrain import Epoch, pretrain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import nn

    from clipaudit.encoders.base import Encoder, Output

LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"
ENCODER = "encoder"
_CARDS = ("encoder.json", image_text.CONFIG)


def has_encoder(folder: Path) -> bool:
    """Whether the pre-training in a folder came to its end."""
    return _is_whole(folder / ENCODER)


def has_snapshot(folder: Path, epoch: int) -> bool:
    """Whether a folder holds the encoder as it was after an epoch."""
    return _is_whole(snapshot(folder, epoch))


def _is_whole(folder: Path) -> bool:
    return any((folder / card).exists() for card in _CARDS)


def snapshot(folder: Path, epoch: int) -> Path:
    """Folder of the encoder as it was after an epoch."""
    return folder / f"epoch-{epoch}"


def load(folder: Path, output: Output, device: str) -> Encoder:
    """The encoder in a folder of `ENCODER` or of a snapshot, of whatever kind.

    Raises:
        EncoderError: There is none, or its files are broken.
    """
    from clipaudit.encoders.spec import load_encoder
    from clipaudit.shadow import encoder as shadow

    options = EncoderOptions(output=output, device=device, backend="torch")
    if (folder / image_text.CONFIG).exists():
        return load_encoder(f"local-dir:{folder}", options)
    return shadow.load(str(folder), options)


def pretrain_in(
    folder: Path,
    members: npt.NDArray[np.uint8],
    config: TrainingConfig,
    *,
    captions: Sequence[Sequence[str]] = (),
    base: Path | None = None,
    device: str = "auto",
    checkpoint_every_s: float = 60,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    snapshots: Collection[int] = (),
) -> None:
    """Pre-train a shadow encoder in a folder; one that is finished is left as it is.

    Args:
        folder: Made where there is none; a run that was stopped there is continued.
        members: Shape (n_members, 3, size_px, size_px), RGB.
        config: How to train.
        captions: Of each member, one or more; for a `PairConfig` alone.
        base: Folder of the encoder that is fine-tuned; for a `PairConfig` that names one.
        device: Where to train.
        checkpoint_every_s: Least time between checkpoints.
        on_epoch: Called after each epoch.
        snapshots: Epochs after which the encoder is kept as it is then.

    Raises:
        EncoderError: The loss or the weights are not finite, or the checkpoint is broken.
        UsageError: The folder holds a run with other options.
        FileError: A file cannot be written.
    """
    import torch

    from clipaudit.encoders.devices import resolve

    if has_encoder(folder):
        require_same(folder / CHECKPOINTS, config)
        return
    spec = _input_spec(members)
    where = str(resolve(device))
    learner = None
    if isinstance(config, PairConfig):
        net = image_text.build(config.architecture, spec.size_px, config.seed)
        spec = image_text.read_base(base, net) if base else spec
        learner = PairLearner(net.to(where), captions, config)
    log = _Log(folder / LOG)

    def note(epoch: Epoch) -> None:
        log.add(epoch)
        on_epoch(epoch)

    net = pretrain(
        torch.from_numpy(members),
        spec.mean,
        spec.std,
        config,
        learner=learner,
        device=where,
        checkpoints=folder / CHECKPOINTS,
        checkpoint_every_s=checkpoint_every_s,
        on_epoch=note,
        snapshots=snapshots,
        on_snapshot=lambda epoch, net: _keep(net, snapshot(folder, epoch), config, spec),
    )
    _keep(net, folder / ENCODER, config, spec)


def _keep(net: nn.Module, folder: Path, config: TrainingConfig, spec: InputSpec) -> None:
    from clipaudit.shadow import encoder as shadow

    if isinstance(config, PretrainConfig):
        shadow.save(net, folder, config.architecture, spec, head_of(config.algorithm))
    else:
        image_text.save(net, folder, config.architecture, spec)


def _input_spec(members: npt.NDArray[np.uint8]) -> InputSpec:
    """Normalisation by mean and spread of the members."""
    mean = members.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    std = np.maximum(members.std(axis=(0, 2, 3), dtype=np.float64) / 255, 1e-3)
    return InputSpec(
        size_px=members.shape[-1],
        mean=(round(mean[0], 4), round(mean[1], 4), round(mean[2], 4)),
        std=(round(std[0], 4), round(std[1], 4), round(std[2], 4)),
        interpolation="bicubic",
    )


class _Log:
    """A line of JSON an epoch. Epochs that a killed run did in vain are forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_first = True

    def add(self, epoch: Epoch) -> None:
        if self._is_first:
            lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
            replace_file(self._path, b"".join(lines[: epoch.number - 1]))
            self._is_first = False
        append_line(self._path, json.dumps(asdict(epoch)))
