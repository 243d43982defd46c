"""Tensors from files, without ever running what a file holds.

safetensors has no code. A pickle is read by torch's restricted unpickler alone
(`weights_only=True`), and what that refuses is refused: open_clip, torchvision and torch.hub
would try again without it, so none of them opens a file here before this module has.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
"""Where training scripts put the tensors, beside epochs and optimisers."""


def read(path: Path, keep: Callable[[str], bool] = lambda _: True) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU; only those to keep are read from disk.

    Args:
        path: A `.safetensors` file, or a pickle as `torch.save` writes it.
        keep: Whether a tensor of this name is wanted; names come without DDP's `module.`.

    Raises:
        EncoderError: No such file, not a file of tensors, damaged, or a pickle with code.
    """
    check_is_file(path)
    return _from_safetensors(path, keep) if _is_safetensors(path) else _from_pickle(path, keep)


def check_is_file(path: Path) -> None:
    """Raise an EncoderError unless this is a file that can be read."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise EncoderError(f"there is no file {path}", "Check the path.") from error
    except OSError as error:
        raise EncoderError(
            f"cannot read {path}: {error.strerror}", "Check what it is, and its permissions."
        ) from error
    if empty:
        raise EncoderError(f"{path} is empty", "Fetch or write it again.")


def _is_safetensors(path: Path) -> bool:
    """Whether the name or else the first bytes say so: a length, then JSON."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _from_safetensors(path: Path, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = {name.removeprefix("module."): name for name in file.keys()}  # noqa: SIM118
            return {new: file.get_tensor(old) for new, old in names.items() if keep(new)}
    except (SafetensorError, OSError, ValueError) as error:
        raise EncoderError(
            f"{path} is damaged, or no safetensors file: {error}",
            "Fetch it again; a broken download ends early.",
        ) from error


def _from_pickle(path: Path, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    import torch

    try:
        with quiet():
            # Only zip archives can be mapped; the format before torch 1.6 is read whole.
            mapped = zipfile.is_zipfile(path)
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        if "TorchScript" in str(error):
            raise EncoderError(
                f"{path} is a TorchScript program, not a file of weights",
                f"Use torchscript:{path} with --allow-code, if you trust where it is from.",
            ) from error
        if "weights_only" in str(error).lower() or "WeightsUnpickler" in str(error):
            raise EncoderError(
                f"{path} is a pickle that holds more than tensors, so it could run any code; "
                "it was refused, and nothing in it ran",
                "Ask for a .safetensors file, or make one where you trust the pickle: "
                "safetensors.torch.save_file(state_dict, 'weights.safetensors').",
            ) from error
        raise EncoderError(
            f"{path} is damaged, or no file of weights: {first_line(error)}",
            "Give a .safetensors file, or a state dict written by torch.save.",
        ) from error
    return {
        name.removeprefix("module."): tensor.detach()
        for name, tensor in _tensors(path, loaded).items()
        if keep(name.removeprefix("module."))
    }


def _tensors(path: Path, loaded: Any) -> Mapping[str, Tensor]:
    """The mapping from names to tensors within a checkpoint."""
    import torch

    candidates = [loaded]
    if isinstance(loaded, Mapping):
        candidates = [loaded.get(key) for key in _WRAPPERS] + [loaded]
    for candidate in candidates:
        if isinstance(candidate, Mapping):
            tensors = {
                str(name): value
                for name, value in candidate.items()
                if isinstance(value, torch.Tensor)
            }
            if tensors:
                return tensors
    raise EncoderError(
        f"{path} holds no named tensors",
        "Save a state dict: torch.save(model.state_dict(), PATH), or better as safetensors.",
    )


def fit(module: Any, tensors: Mapping[str, Tensor], path: Path, architecture: str) -> None:
    """Load tensors into a module, every one of them and nothing else.

    Raises:
        EncoderError: Names or shapes do not fit; says which.
    """
    wanted: dict[str, Tensor] = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    extra = sorted(tensors.keys() - wanted.keys())
    other_shape = sorted(
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    )
    # A counter of training steps, which older checkpoints lack and inference never reads.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra or other_shape:
        faults = []
        if missing:
            faults.append(f"{len(missing)} tensors are missing, such as {missing[0]}")
        if extra:
            faults.append(f"{len(extra)} are unknown, such as {extra[0]}")
        faults += [
            f"{len(other_shape)} have another shape, such as {name}: "
            f"{tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in other_shape[:1]
        ]
        raise EncoderError(
            f"{path} does not fit {architecture}: {', '.join(faults)}",
            "Name the architecture that these weights were trained with.",
        )
    module.load_state_dict(dict(tensors), strict=False)
