"""Tensors from files, without ever running what a file holds.

safetensors has no code. A pickle is read by torch's restricted unpickler alone
(`weights_only=True`), and what that refuses is refused: open_clip, torchvision and torch.hub
would try again without it, so none of them opens a file here before this module has.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders.model_files import check_is_file
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
"""Where training scripts put the tensors, beside epochs and optimisers."""


def read(
    path: Path, choose: Callable[[Sequence[str]], Mapping[str, str]] | None = None
) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU; only those that are wanted are read from disk.

    Names come without what wrappers of training put into them: DDP's `module.`, however often,
    and the `_orig_mod.` of torch.compile.

    Args:
        path: A `.safetensors` file, or a pickle as `torch.save` writes it.
        choose: All names → those wanted, by the names that they get; None takes all as they are.

    Raises:
        EncoderError: No such file, not a file of tensors, damaged, a pickle with code, or tensors
            that hold no plain numbers.
    """
    check_is_file(path)
    return (_from_safetensors if _is_safetensors(path) else _from_pickle)(path, choose or _all)


def _all(names: Sequence[str]) -> Mapping[str, str]:
    return {name: name for name in names}


def _chosen(
    path: Path,
    names: Iterable[str],
    choose: Callable[[Sequence[str]], Mapping[str, str]],
    get: Callable[[str], Tensor],
) -> dict[str, Tensor]:
    """The tensors that are wanted of those in a file.

    Raises:
        EncoderError: Two have the same name, or one holds no plain numbers.
    """
    stored: dict[str, str] = {}
    for name in names:
        plain = _unwrapped(name)
        if plain in stored:
            raise EncoderError(
                f"{path} holds {plain} twice: {stored[plain]} and {name}",
                "Save the state dict of the one model that you mean.",
            )
        stored[plain] = name
    chosen = {new: get(stored[plain]) for new, plain in choose([*stored]).items()}
    for name, tensor in chosen.items():
        _require_plain(name, tensor, path)
    return chosen


def _unwrapped(name: str) -> str:
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


def _require_plain(name: str, tensor: Tensor, path: Path) -> None:
    """Raise an EncoderError unless a tensor holds all of its numbers, one by one."""
    import torch

    if tensor.is_meta:
        fault = "has a shape and no numbers: it is on torch's meta device"
    elif tensor.layout != torch.strided or tensor.is_nested:
        fault = f"is sparse: {str(tensor.layout).removeprefix('torch.')}"
    elif tensor.is_quantized:
        fault = f"is quantised: {str(tensor.dtype).removeprefix('torch.')}"
    elif tensor.numel() * tensor.itemsize > max(1 << 20, path.stat().st_size):
        fault = f"promises {tensor.numel() * tensor.itemsize:,} bytes, more than the whole file has"
    else:
        return
    raise EncoderError(
        f"{path} cannot be used: its tensor {name} {fault}",
        "Save the state dict of the model as it was trained, in plain float32 or float16.",
    )


def _is_safetensors(path: Path) -> bool:
    """Whether the name or else the first bytes say so: a length, then JSON."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _from_safetensors(
    path: Path, choose: Callable[[Sequence[str]], Mapping[str, str]]
) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return _chosen(path, file.keys(), choose, file.get_tensor)
    except EncoderError:
        raise
    except Exception as error:  # of a library in Rust: its own, and those of Python and torch
        raise EncoderError(
            f"{path} is damaged, or no safetensors file: {first_line(error)}",
            "Fetch it again; a broken download ends early.",
        ) from error


def _from_pickle(
    path: Path, choose: Callable[[Sequence[str]], Mapping[str, str]]
) -> dict[str, Tensor]:
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
    tensors = _tensors(path, loaded)
    return _chosen(path, tensors, choose, lambda name: tensors[name].detach())


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
    both = sorted(wanted.keys() & tensors.keys())
    other_shape = [name for name in both if wanted[name].shape != tensors[name].shape]
    other_kind = [name for name in both if not _may_hold(wanted[name], tensors[name])]
    # A counter of training steps, which older checkpoints lack and inference never reads.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra or other_shape:
        faults = []
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            faults.append(f"{count(len(missing), 'tensor')} {verb} missing, such as {missing[0]}")
        if extra:
            verb = "is" if len(extra) == 1 else "are"
            faults.append(f"{len(extra)} {verb} unknown, such as {extra[0]}")
        faults += [
            f"{len(other_shape)} have another shape, such as {name}: "
            f"{tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in other_shape[:1]
        ]
        raise EncoderError(
            f"{path} does not fit {architecture}: {', '.join(faults)}",
            "Name the architecture that these weights were trained with.",
        )
    if other_kind:
        name = other_kind[0]
        raise EncoderError(
            f"{path} holds no weights as they were trained: {name} is of "
            f"{str(tensors[name].dtype).removeprefix('torch.')}",
            "Save them in float32, float16 or bfloat16; what was rounded to fewer bits or packed "
            "cannot be read.",
        )
    module.load_state_dict(dict(tensors), strict=False)


def _may_hold(wanted: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor of a module may get the numbers of another: floats from floats alone."""
    import torch

    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if wanted.is_floating_point():
        return tensor.dtype in floats
    return wanted.is_complex() or not tensor.is_complex()
