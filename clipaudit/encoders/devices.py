"""Where an encoder runs, and how a GPU is handled. On other devices nothing here does anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from clipaudit.encoders.third_party import quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from torch import Tensor

ALL_GPUS = "cuda:all"

_flags = threading.Lock()
_flags_off: list[tuple[Any, str]] = []
_n_blocks = 0
"""Blocks of `full_precision` that run; while there is one, the flags above are off."""


def resolve(name: str) -> torch.device:
    """The device of a name: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; of `cuda:all`, the first.

    Raises:
        EncoderError: There is no such device, or this machine has none of it.
    """
    import torch

    with quiet():  # torch warns about a driver that is too old, on every call
        n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
        has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda:0" if n_cuda else "mps" if has_mps else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (
        number and name != ALL_GPUS and not (kind == "cuda" and number.isdigit())
    ):
        raise EncoderError(
            f"no device is called {name!r}", "Use auto, cpu, cuda, cuda:1, cuda:all or mps."
        )
    if kind == "mps" and not has_mps:
        raise EncoderError("this machine has no MPS device", "Use --device cpu or auto.")
    if kind != "cuda":
        return torch.device(kind)
    if torch.version.cuda is None and torch.version.hip is None:
        raise EncoderError(
            f"--device {name} needs a torch that was built with CUDA, and this one was not",
            "Use --device cpu, or install torch for your CUDA version: pytorch.org says how.",
        )
    if not n_cuda:
        raise EncoderError(
            f"--device {name} was asked for, but torch finds no usable CUDA device",
            "Use --device cpu or auto; `clipaudit doctor` says what torch sees.",
        )
    index = int(number) if number.isdigit() else 0
    if index >= n_cuda:
        raise EncoderError(
            f"there is no {name}: torch finds {n_cuda} CUDA device{'s' if n_cuda > 1 else ''}",
            f"Use cuda:0{f' to cuda:{n_cuda - 1}' if n_cuda > 1 else ''}.",
        )
    return torch.device("cuda", index)


def share_work(name: str) -> tuple[str, ...]:
    """Names of the devices that share the work of a name: every GPU for `cuda:all`, else itself.

    Raises:
        EncoderError: See `resolve`.
    """
    resolve(name)
    if name != ALL_GPUS:
        return (name,)
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def send(array: npt.NDArray[Any], where: torch.device) -> Tensor:
    """An array as a tensor on a device.

    A GPU gets it from pinned memory, so that the copy runs beside this thread and waits in the
    GPU's own queue. The pinned copy is not used again before that copy is done.
    """
    import torch

    tensor = torch.from_numpy(array)
    if where.type != "cuda":
        return tensor.to(where)
    return tensor.pin_memory().to(where, non_blocking=True)


def wait(where: torch.device) -> None:
    """Wait until a GPU has done what it was asked for; what went wrong is raised only then."""
    import torch

    if where.type == "cuda":
        torch.cuda.synchronize(where)


@contextmanager
def full_precision(where: torch.device) -> Iterator[None]:
    """Have a GPU compute with the bits that the numbers have, as a CPU does.

    torch rounds float32 to the 10 bits of TF32 in convolutions unless it is told not to, and may
    add up in 16 bits where a product is split. A notebook may have allowed more. The flags are the
    process's, so they are given back as they were when the last thread is out.
    """
    global _n_blocks  # noqa: PLW0603 - as the flags are
    if where.type != "cuda":
        yield
        return
    with _flags:
        _n_blocks += 1
        if _n_blocks == 1:
            _flags_off[:] = _turn_flags_off()
    try:
        yield
    finally:
        with _flags:
            _n_blocks -= 1
            if not _n_blocks:
                for module, name in _flags_off:
                    setattr(module, name, True)


def _turn_flags_off() -> list[tuple[Any, str]]:
    """The flags that were on, and are off now."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = []
    for module, name in (
        (matmul, "allow_tf32"),
        (matmul, "allow_fp16_reduced_precision_reduction"),
        (matmul, "allow_bf16_reduced_precision_reduction"),
        (cudnn, "allow_tf32"),
    ):
        # Torch refuses to read a flag after its newer ones were set: then they have the say.
        with quiet(), suppress(RuntimeError):
            if getattr(module, name):
                setattr(module, name, False)
                found.append((module, name))
    return found


def free_bytes(where: torch.device) -> int:
    """Memory of a GPU that tensors can still take, with what torch holds and does not use."""
    import torch

    free, _ = torch.cuda.mem_get_info(where)
    return free + torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)


def peak_bytes(run: Callable[[], object], where: torch.device) -> int:
    """Memory of a GPU that a call takes for a while."""
    import torch

    torch.cuda.reset_peak_memory_stats(where)
    before = torch.cuda.memory_allocated(where)
    run()
    return torch.cuda.max_memory_allocated(where) - before


def give_back_memory(where: torch.device) -> None:
    """Give what torch holds of GPUs' memory and does not use back, in one piece."""
    import torch

    if where.type == "cuda":
        torch.cuda.empty_cache()
