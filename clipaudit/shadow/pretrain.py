"""Contrastive pre-training of a shadow encoder.

The augmentations are `clipaudit.features.views`, the losses and the momentum update are lightly's.
All randomness of an epoch comes from (seed, epoch), so a run that was killed and continued ends
with the weights of one that was not.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from clipaudit.errors import EncoderError, UsageError
from clipaudit.features.views import ENCODERMI, RECIPES, draw_for_training, make_views
from clipaudit.files import make_folder, read_json, replace_file
from clipaudit.seeding import derive, lent_to_torch, stream
from clipaudit.shadow import architectures
from clipaudit.shadow.architectures import Architecture, Head

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch import Tensor, nn
    from torch.optim import Optimizer


Algorithm = Literal["simclr", "mocov1", "mocov2", "byol"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_CHECKPOINT = "checkpoint.safetensors"
_STATE = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class _Method:
    """What sets an algorithm apart.

    Attributes:
        head: The projection head that it ends in.
        has_momentum: Whether a second network follows the first.
        has_queue: Whether keys of earlier steps are the negatives.
        has_predictor: Whether a network on the projection foretells the other view's, and there
            are no negatives at all.
        temperature: Of the contrastive loss, where none is given.
    """

    head: Head
    has_momentum: bool = False
    has_queue: bool = False
    has_predictor: bool = False
    temperature: float = 0.2


_METHODS: dict[Algorithm, _Method] = {
    "simclr": _Method("mlp"),
    "mocov1": _Method("linear", has_momentum=True, has_queue=True, temperature=0.07),
    "mocov2": _Method("mlp", has_momentum=True, has_queue=True),
    "byol": _Method("mlp-bn", has_momentum=True, has_predictor=True),
}


def head_of(algorithm: Algorithm) -> Head:
    """The projection head that an algorithm ends in."""
    return _METHODS[algorithm].head


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """How a shadow encoder is pre-trained.

    Attributes:
        architecture: One of `ARCHITECTURES`.
        algorithm: `simclr` (Chen et al., 2020): in-batch negatives. `mocov1` (He et al., 2020): a
            momentum encoder, a queue and a linear head. `mocov2` (Chen et al., 2020): the same
            with SimCLR's head. `byol` (Grill et al., 2020): a momentum encoder and a predictor,
            without negatives.
        epochs: Passes over the members.
        batch_size: Images a step; two views of each. At most the number of members is used.
        learning_rate: Of AdamW at the start; it falls to zero along half a cosine.
        weight_decay: Of AdamW.
        temperature: Of the contrastive loss, which `byol` does not have; None takes the
            algorithm's own, 0.07 for `mocov1` and 0.2 for the others.
        queue: For `mocov1` and `mocov2`: how many earlier keys serve as negatives. With more of
            them than half of the members, a picture often is its own negative.
        momentum: Of the momentum encoder, which all but `simclr` have.
        recipe: Augmentations, by name and version.
        precision: `bfloat16` runs the forward pass of the encoder in mixed precision.
        seed: Of the weights, the order and the augmentations.
    """

    architecture: Architecture = "resnet-small"
    algorithm: Algorithm = "simclr"
    epochs: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    temperature: float | None = None
    queue: int = 512
    momentum: float = 0.99
    recipe: str = ENCODERMI.id
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("architecture", architectures.ARCHITECTURES),
            ("algorithm", ALGORITHMS),
            ("precision", PRECISIONS),
            ("recipe", tuple(RECIPES)),
        ):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"unknown {name}: {getattr(self, name)}", f"Choose one of {', '.join(allowed)}."
                )
        if self.temperature is None:
            object.__setattr__(self, "temperature", _METHODS[self.algorithm].temperature)
        for name, fits, wanted in (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 2, "2 or more: others in it are the negatives"),
            ("learning_rate", 0 < self.learning_rate <= 1e30, "a number above 0, such as 0.001"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("temperature", 1e-8 <= self.tau < math.inf, "a number above 0, such as 0.2"),
            ("queue", self.queue >= 1, "1 or more"),
            ("momentum", 0 <= self.momentum <= 1, "a number within 0 and 1"),
            ("seed", 0 <= self.seed < 2**63, "a number within 0 and 2^63 - 1"),
        ):
            if not fits:
                raise UsageError(f"{name} cannot be {getattr(self, name)}", f"Pass {wanted}.")

    @property
    def tau(self) -> float:
        """The temperature, which is never None once an algorithm is chosen."""
        assert self.temperature is not None
        return self.temperature


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far pre-training has come.

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


@dataclass(eq=False)
class _Trainer:
    """The networks and optimiser of one run, and how they are saved."""

    net: nn.Module
    momentum_net: nn.Module | None
    predictor: nn.Module | None
    optimizer: Optimizer
    loss: nn.Module
    epochs_done: int = field(default=0)


def pretrain(
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    config: PretrainConfig,
    *,
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
        mean: Of the encoder's normalisation, in RGB.
        std: Likewise.
        config: How.
        device: Where.
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

    trainer = _start(images.shape[-1], config, device)
    if checkpoints is not None:
        if (checkpoints / _CHECKPOINT).exists() or (checkpoints / _STATE).exists():
            require_same(checkpoints, config)
        else:
            make_folder(checkpoints)
            _write_state(checkpoints, _state(0, config))
        if (checkpoints / _CHECKPOINT).exists():
            _restore(trainer, checkpoints)
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
            changes = draw_for_training(len(index), 2, recipe, images.shape[-1], generator)
            views = make_views(members[torch.from_numpy(index).to(device)], changes)
            views = views.sub_(shift).div_(scale)
            outside += time.perf_counter() - prepared

            progress = (epoch * n_steps + step) / (config.epochs * n_steps)
            for group in trainer.optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 + np.cos(np.pi * progress)) / 2
            losses.append(_step(trainer, views, config))
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
            _save(trainer, checkpoints, config)
            saved_at = time.monotonic()
    return _finished(trainer.net)


def _finished(net: nn.Module) -> nn.Module:
    import torch

    return net.eval().to("cpu").to(memory_format=torch.contiguous_format)


def _start(size_px: int, config: PretrainConfig, device: str) -> _Trainer:
    import torch
    from lightly.loss import NegativeCosineSimilarity, NTXentLoss
    from lightly.models.modules.heads import BYOLPredictionHead
    from lightly.models.utils import deactivate_requires_grad

    method = _METHODS[config.algorithm]
    net = architectures.build(config.architecture, size_px, config.seed, method.head)
    net = net.to(device).to(memory_format=torch.channels_last)
    momentum_net = predictor = None
    if method.has_momentum:
        momentum_net = copy.deepcopy(net)
        deactivate_requires_grad(momentum_net)
    trained = list(net.parameters())
    dim = architectures.PROJECTION_DIM
    loss: nn.Module
    if method.has_predictor:
        with lent_to_torch(derive(config.seed, "predictor", "pre-training") % 2**63):
            predictor = BYOLPredictionHead(dim, 2 * dim, dim).to(device).train()
        trained += list(predictor.parameters())
        loss = NegativeCosineSimilarity()
    else:
        with lent_to_torch(derive(config.seed, "queue", "pre-training") % 2**63):
            # The queue starts as random unit vectors.
            queue = (config.queue, dim) if method.has_queue else 0
            loss = NTXentLoss(config.tau, queue).to(device)
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return _Trainer(net.train(), momentum_net, predictor, optimizer, loss)


def _step(trainer: _Trainer, views: Tensor, config: PretrainConfig) -> float:
    """One step on two views of each image, shape (n, 2, 3, size_px, size_px)."""
    import torch
    from lightly.models.utils import update_momentum

    first, second = views.unbind(1)
    mixed = torch.autocast(
        views.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"
    )

    def embed(net: nn.Module, *batches: Tensor) -> Tensor:
        both = torch.cat(batches).contiguous(memory_format=torch.channels_last)
        with mixed:
            embedded: Tensor = net(both)
        return embedded.float()

    if trainer.momentum_net is None:
        loss = trainer.loss(*embed(trainer.net, first, second).chunk(2))
    elif trainer.predictor is None:
        queries = embed(trainer.net, first)
        update_momentum(trainer.net, trainer.momentum_net, config.momentum)
        with torch.no_grad():
            keys = embed(trainer.momentum_net, second)
        loss = trainer.loss(queries, keys)
    else:
        foretold = trainer.predictor(embed(trainer.net, first, second))
        update_momentum(trainer.net, trainer.momentum_net, config.momentum)
        with torch.no_grad():
            keys = embed(trainer.momentum_net, second, first)
        loss = trainer.loss(foretold, keys)  # the mean of both directions
    trainer.optimizer.zero_grad()
    loss.backward()
    trainer.optimizer.step()
    return float(loss.detach())


def _is_finite(net: nn.Module) -> bool:
    import torch

    return all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())


def _tensors(trainer: _Trainer) -> dict[str, Tensor]:
    """All state of a run as one flat dictionary of tensors."""
    state = {f"net.{name}": value for name, value in trainer.net.state_dict().items()}
    if trainer.momentum_net is not None:
        state |= {f"momentum.{k}": v for k, v in trainer.momentum_net.state_dict().items()}
        state |= {f"loss.{k}": v for k, v in trainer.loss.named_buffers() if v.numel()}
    if trainer.predictor is not None:
        state |= {f"predictor.{k}": v for k, v in trainer.predictor.state_dict().items()}
    moments = trainer.optimizer.state_dict()["state"]
    for parameter, values in moments.items():
        state |= {f"optimizer.{parameter}.{k}": v for k, v in values.items()}
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def require_same(folder: Path, config: PretrainConfig) -> None:
    """Make sure that the checkpoints in a folder are those of a run with these very options.

    Raises:
        UsageError: They are not.
        EncoderError: They do not say.
    """
    try:
        recorded = read_json(folder / _STATE, dict[str, Any])["config"]
        differs = [name for name, value in asdict(config).items() if recorded[name] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error
    if differs:
        raise UsageError(
            f"{folder} belongs to a run with other options ({', '.join(differs)})",
            "Pass the options of that run to continue it, or another --output.",
        )


def _unreadable(folder: Path, error: Exception) -> EncoderError:
    return EncoderError(
        f"the checkpoint in {folder} cannot be read: {error}",
        "Delete that folder, and the encoder beside it, to train from the start.",
    )


def _state(epochs_done: int, config: PretrainConfig) -> dict[str, object]:
    return {"epochs_done": epochs_done, "config": asdict(config)}


def _write_state(folder: Path, state: dict[str, object]) -> None:
    replace_file(folder / _STATE, json.dumps(state, indent=1).encode())


def _save(trainer: _Trainer, folder: Path, config: PretrainConfig) -> None:
    from safetensors.torch import save

    state = _state(trainer.epochs_done, config)
    replace_file(folder / _CHECKPOINT, save(_tensors(trainer), {"state": json.dumps(state)}))
    _write_state(folder, state)  # for people; the tensors carry their own


def _restore(trainer: _Trainer, folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / _CHECKPOINT, "pt") as file:
            epochs_done = int(json.loads((file.metadata() or {})["state"])["epochs_done"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _load(trainer, tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _unreadable(folder, error) from error
    trainer.epochs_done = epochs_done


def _load(trainer: _Trainer, tensors: dict[str, Tensor]) -> None:
    """Put back what `_tensors` gave."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    trainer.net.load_state_dict(part("net."))
    if trainer.momentum_net is not None:
        trainer.momentum_net.load_state_dict(part("momentum."))
        for name, buffer in trainer.loss.named_buffers():
            if buffer.numel():
                buffer.copy_(part("loss.")[name])
    if trainer.predictor is not None:
        trainer.predictor.load_state_dict(part("predictor."))
    whole = trainer.optimizer.state_dict()
    whole["state"] = {}
    for name, value in part("optimizer.").items():
        parameter, key = name.split(".", 1)
        whole["state"].setdefault(int(parameter), {})[key] = value
    trainer.optimizer.load_state_dict(whole)
