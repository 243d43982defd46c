"""One pre-training in a folder of its own: log, checkpoints, and the encoder in the end.

FOLDER/log.jsonl      a line of JSON an epoch
FOLDER/checkpoints/   where a killed run goes on
FOLDER/encoder/       spec `shadow:FOLDER`
FOLDER/epoch-100/     a snapshot, where one was asked for
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.base import InputSpec
from clipaudit.files import append_line, replace_file
from clipaudit.shadow.checkpoints import require_same
from clipaudit.shadow.config import PretrainConfig, head_of
from clipaudit.shadow.pretrain import Epoch, pretrain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch import nn

LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"
ENCODER = "encoder"
_CARD = "encoder.json"


def has_encoder(folder: Path) -> bool:
    """Whether the pre-training in a folder came to its end."""
    return (folder / ENCODER / _CARD).exists()


def has_snapshot(folder: Path, epoch: int) -> bool:
    """Whether a folder holds the encoder as it was after an epoch."""
    return (snapshot(folder, epoch) / _CARD).exists()


def snapshot(folder: Path, epoch: int) -> Path:
    """Folder of the encoder as it was after an epoch."""
    return folder / f"epoch-{epoch}"


def pretrain_in(
    folder: Path,
    members: npt.NDArray[np.uint8],
    config: PretrainConfig,
    *,
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
    from clipaudit.shadow import encoder as shadow

    if has_encoder(folder):
        require_same(folder / CHECKPOINTS, config)
        return
    spec = _input_spec(members)
    log = _Log(folder / LOG)

    def note(epoch: Epoch) -> None:
        log.add(epoch)
        on_epoch(epoch)

    def keep(net: nn.Module, where: Path) -> None:
        shadow.save(net, where, config.architecture, spec, head_of(config.algorithm))

    net = pretrain(
        torch.from_numpy(members),
        spec.mean,
        spec.std,
        config,
        device=str(resolve(device)),
        checkpoints=folder / CHECKPOINTS,
        checkpoint_every_s=checkpoint_every_s,
        on_epoch=note,
        snapshots=snapshots,
        on_snapshot=lambda epoch, net: keep(net, snapshot(folder, epoch)),
    )
    keep(net, folder / ENCODER)


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
