"""Where a pre-training that was killed goes on: its whole state in a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.errors import EncoderError, UsageError
from clipaudit.files import make_folder, read_json, replace_file
from clipaudit.shadow.config import TrainingConfig

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_CHECKPOINT = "checkpoint.safetensors"
_STATE = "checkpoint.json"


@dataclass(eq=False)
class Trainer:
    """The networks and optimiser of one run, and how they are saved."""

    net: nn.Module
    momentum_net: nn.Module | None
    predictor: nn.Module | None
    optimizer: Optimizer
    loss: nn.Module
    epochs_done: int = field(default=0)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
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


def require_same(folder: Path, config: TrainingConfig) -> None:
    """Make sure that the checkpoints in a folder are those of a run with these very options.

    Raises:
        UsageError: The options differ.
        EncoderError: The checkpoint cannot be read.
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


def _state(epochs_done: int, config: TrainingConfig) -> dict[str, object]:
    return {"epochs_done": epochs_done, "config": asdict(config)}


def _write_state(folder: Path, state: dict[str, object]) -> None:
    replace_file(folder / _STATE, json.dumps(state, indent=1).encode())


def save(trainer: Trainer, folder: Path, config: TrainingConfig) -> None:
    """Write a checkpoint, in place of the one before.

    Raises:
        FileError: It cannot be written.
    """
    from safetensors.torch import save as to_bytes

    state = _state(trainer.epochs_done, config)
    replace_file(folder / _CHECKPOINT, to_bytes(_tensors(trainer), {"state": json.dumps(state)}))
    _write_state(folder, state)  # for people; the tensors carry their own


def resume(trainer: Trainer, folder: Path, config: TrainingConfig) -> None:
    """Continue the run in a folder, or begin one there.

    Raises:
        UsageError: The folder holds a run with other options.
        EncoderError: The checkpoint cannot be read.
        FileError: The folder cannot be written to.
    """
    if (folder / _CHECKPOINT).exists() or (folder / _STATE).exists():
        require_same(folder, config)
    else:
        make_folder(folder)
        _write_state(folder, _state(0, config))
    if (folder / _CHECKPOINT).exists():
        _restore(trainer, folder)


def _restore(trainer: Trainer, folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / _CHECKPOINT, "pt") as file:
            epochs_done = int(json.loads((file.metadata() or {})["state"])["epochs_done"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _load(trainer, tensors)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _unreadable(folder, error) from error
    trainer.epochs_done = epochs_done


def _load(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    """Put back the state that `_tensors` gave."""

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
