"""Trainings of a second, and pictures for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from clipaudit.shadow.config import PretrainConfig
from clipaudit.shadow.pretrain import pretrain
from clipaudit.shadow.training_folder import pretrain_in

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
QUICK = PretrainConfig(architecture="resnet-tiny", epochs=4, batch_size=4, queue=10)
LONG = replace(QUICK, epochs=400)


def noise(n=10, side=8):
    """Pictures of nothing, as a tensor of bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return torch.from_numpy(pixels)


def run(config=QUICK, images=None, **options):
    """Pre-train a small net."""
    return pretrain(noise() if images is None else images, MEAN, STD, config, **options)


def coloured_noise(seed=0, n=10, side=8):
    """Dark in red, bright in blue, so that no channel can stand for another."""
    numbers = np.random.default_rng(seed)
    channels = [numbers.integers(0, most, (n, side, side)) for most in (90, 180, 256)]
    return np.stack(channels, axis=1).astype(np.uint8)


def run_in(folder, config=QUICK, images=None, **options):
    """Pre-train a small net, with its files in a folder."""
    images = coloured_noise() if images is None else images
    pretrain_in(folder, images, config, device="cpu", **options)


class Killed(Exception):  # noqa: N818
    """A training that a test stops."""


def stop_after(epoch):
    """For `on_epoch`: end the training there."""

    def on_epoch(progress):
        if progress.number == epoch:
            raise Killed

    return on_epoch
