"""Contrastive pre-training of a shadow encoder: the epochs, and steps between views.

The augmentations are `clipaudit.features.views`, the losses and the momentum update
`clipaudit.shadow.contrastive`. All randomness of an epoch comes from (seed, epoch), so a run that
was killed and continued ends with the weights of one that was not.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from clipaudit.errors import EncoderError
from clipaudit.features.views import RECIPES, draw_for_training, make_views
from clipaudit.seeding import derive, lent_to_torch, stream
from clipaudit.shadow import architectures
from clipaudit.shadow.checkpoints import Trainer, resume, save
from clipaudit.shadow.config import METHODS, PretrainConfig, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch import Tensor, nn

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Progress of a pre-training.

    Attributes:
        number: Epochs done.
        of: Epochs in all.
        loss: Mean loss over the epoch.
        seconds: Wall time of this epoch.
        seconds_outside: The part of it not spent in forward and backward passes.
    """

    number: int
    of: int
    loss: float
    seconds: float
    seconds_outside: float


class Learner(Protocol):
    """A network in training: what a step does, and how large it is.

    Attributes:
        trainer: Its networks and optimiser.
        n_views: Views of each picture that a step takes.
    """

    trainer: Trainer
    n_views: int

    def learning_rate(self, step: int, n_steps: int) -> float:
        """The step size at a step of so many."""

    def step(self, pictures: IntArray, views: Tensor, generator: np.random.Generator) -> float:
        """Take a step, and return the loss.

        Args:
            pictures: Which of the members, shape (n,).
            views: Their normalised views, shape (n, n_views, 3, size_px, size_px).
            generator: For what else is random.
        """


def pretrain(
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    config: TrainingConfig,
    *,
    learner: Learner | None = None,
    device: str = "cpu",
    checkpoints: Path | None = None,
    checkpoint_every_s: float = 60,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    snapshots: Collection[int] = (),
    on_snapshot: Callable[[int, nn.Module], None] = lambda epoch, net: None,
) -> nn.Module:
    """Pre-train a shadow encoder on its members.

    Args:
        images: Shape (n_members, 3, size_px, size_px), uint8: the members, and nothing else.
        mean: Means of the encoder's normalisation, in RGB.
        std: Spreads of the encoder's normalisation, in RGB.
        config: How to train.
        learner: Network in training on that device; None takes a new one that learns from the views
            alone.
        device: Where to train.
        checkpoints: Folder for checkpoints; a run found there is continued.
        checkpoint_every_s: Least time between checkpoints; the last epoch always makes one.
        on_epoch: Called after each epoch, before its checkpoint; may raise to stop.
        snapshots: Epochs after which the network is handed over as it is then; a run that is
            continued does not hand over those that lie before its checkpoint again.
        on_snapshot: Called with the epoch and a copy in evaluation mode, on the CPU.

    Returns:
        The network, in evaluation mode, on the CPU.

    Raises:
        EncoderError: The loss or the weights are not finite, or the checkpoint is broken.
        UsageError: The checkpoints belong to a run with other options.
        FileError: A checkpoint cannot be written.
    """
    import torch

    if learner is None:
        assert isinstance(config, PretrainConfig)
        learner = _ViewLearner(images.shape[-1], config, device)
    trainer = learner.trainer
    if checkpoints is not None:
        resume(trainer, checkpoints, config)
    members = images.to(device)
    batch_size = min(config.batch_size, len(members))
    n_steps = len(members) // batch_size
    shift = torch.tensor(mean, dtype=torch.float32, device=device).view(1, 1, 3, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32, device=device).view(1, 1, 3, 1, 1)
    recipe = RECIPES[config.recipe]
    saved_at = time.monotonic()

    for epoch in range(trainer.epochs_done, config.epochs):
        began = time.perf_counter()
        outside = 0.0
        losses = []
        generator = stream(config.seed, f"epoch {epoch}", "pre-training")
        order = generator.permutation(len(members))
        for step in range(n_steps):
            prepared = time.perf_counter()
            index = order[step * batch_size : (step + 1) * batch_size]
            changes = draw_for_training(
                len(index), learner.n_views, recipe, images.shape[-1], generator
            )
            views = make_views(members[torch.from_numpy(index).to(device)], changes)
            views = views.sub_(shift).div_(scale)
            outside += time.perf_counter() - prepared

            rate = learner.learning_rate(epoch * n_steps + step, config.epochs * n_steps)
            for group in trainer.optimizer.param_groups:
                group["lr"] = rate
            losses.append(learner.step(index, views, generator))
        loss = float(np.mean(losses))
        if not np.isfinite(loss) or not _is_finite(trainer.net):
            raise EncoderError(
                f"pre-training got out of hand in epoch {epoch + 1}: the loss is {loss}, and "
                "weights may be infinite",
                "Lower the learning rate (--learning-rate, with another --output; learning_rate in "
                "a matrix) or raise the temperature. The checkpoint of an earlier epoch is kept.",
            )
        trainer.epochs_done = epoch + 1
        on_epoch(Epoch(epoch + 1, config.epochs, loss, time.perf_counter() - began, outside))
        if epoch + 1 in snapshots:
            on_snapshot(epoch + 1, _finished(copy.deepcopy(trainer.net)))
        if checkpoints is not None and (
            time.monotonic() - saved_at >= checkpoint_every_s or epoch + 1 == config.epochs
        ):
            save(trainer, checkpoints, config)
            saved_at = time.monotonic()
    return _finished(trainer.net)


def _finished(net: nn.Module) -> nn.Module:
    import torch

    return net.eval().to("cpu").to(memory_format=torch.contiguous_format)


def _start(size_px: int, config: PretrainConfig, device: str) -> Trainer:
    import torch

    from clipaudit.shadow.contrastive import InfoNCE, NegativeCosine, TwoLayers

    method = METHODS[config.algorithm]
    net = architectures.build(config.architecture, size_px, config.seed, method.head)
    net = net.to(device).to(memory_format=torch.channels_last)
    momentum_net = predictor = None
    if method.has_momentum:
        momentum_net = copy.deepcopy(net).requires_grad_(requires_grad=False)
    trained = list(net.parameters())
    dim = architectures.PROJECTION_DIM
    loss: nn.Module
    if method.has_predictor:
        with lent_to_torch(derive(config.seed, "predictor", "pre-training") % 2**63):
            predictor = TwoLayers(dim, 2 * dim, dim, has_batch_norm=True).to(device).train()
        trained += list(predictor.parameters())
        loss = NegativeCosine()
    else:
        with lent_to_torch(derive(config.seed, "queue", "pre-training") % 2**63):
            queue = (config.queue, dim) if method.has_queue else None
            loss = InfoNCE(config.tau, queue).to(device)
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return Trainer(net.train(), momentum_net, predictor, optimizer, loss)


class _ViewLearner:
    """Learns to know views of one picture from those of others."""

    n_views = 2

    def __init__(self, size_px: int, config: PretrainConfig, device: str) -> None:
        self.trainer = _start(size_px, config, device)
        self._config = config

    def learning_rate(self, step: int, n_steps: int) -> float:
        rate: float = self._config.learning_rate * (1 + np.cos(np.pi * (step / n_steps))) / 2
        return rate

    def step(self, pictures: IntArray, views: Tensor, generator: np.random.Generator) -> float:
        return _step(self.trainer, views, self._config, generator)


def _step(
    trainer: Trainer, views: Tensor, config: PretrainConfig, generator: np.random.Generator
) -> float:
    """One step on two views of each image, shape (n, 2, 3, size_px, size_px)."""
    import torch

    from clipaudit.shadow.contrastive import update_momentum

    first, second = views.unbind(1)
    n_parts = METHODS[config.algorithm].n_parts
    mixed = torch.autocast(
        views.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"
    )

    def embed(net: nn.Module, *batches: Tensor) -> Tensor:
        both = torch.cat(batches).contiguous(memory_format=torch.channels_last)
        with mixed:
            embedded: Tensor = (
                net(both) if n_parts == 1 else torch.cat([net(part) for part in _parts(both)])
            )
        return embedded.float()

    def _parts(batch: Tensor) -> tuple[Tensor, ...]:
        return batch.tensor_split(min(n_parts, len(batch) // 2))

    if trainer.momentum_net is None:
        loss = trainer.loss(*embed(trainer.net, first, second).chunk(2))
    elif trainer.predictor is None:
        queries = embed(trainer.net, first)
        update_momentum(trainer.net, trainer.momentum_net, config.momentum)
        with torch.no_grad():
            if n_parts == 1:
                keys = embed(trainer.momentum_net, second)
            else:
                order = torch.from_numpy(generator.permutation(len(second))).to(second.device)
                keys = embed(trainer.momentum_net, second[order])[order.argsort()]
        loss = trainer.loss(queries, keys)
    else:
        predicted = trainer.predictor(embed(trainer.net, first, second))
        update_momentum(trainer.net, trainer.momentum_net, config.momentum)
        with torch.no_grad():
            keys = embed(trainer.momentum_net, second, first)
        loss = trainer.loss(predicted, keys)  # the mean of both directions
    trainer.optimizer.zero_grad()
    loss.backward()
    trainer.optimizer.step()
    return float(loss.detach())


def _is_finite(net: nn.Module) -> bool:
    import torch

    return all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())
