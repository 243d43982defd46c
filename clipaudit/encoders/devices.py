"""Where an encoder runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipaudit.encoders.third_party import quiet
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    import torch


def resolve(name: str) -> torch.device:
    """The device of a name: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

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
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise EncoderError(f"no device is called {name!r}", "Use auto, cpu, cuda, cuda:1 or mps.")
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
    index = int(number or 0)
    if index >= n_cuda:
        raise EncoderError(
            f"there is no {name}: torch finds {n_cuda} CUDA device{'s' if n_cuda > 1 else ''}",
            f"Use cuda:0{f' to cuda:{n_cuda - 1}' if n_cuda > 1 else ''}.",
        )
    return torch.device("cuda", index)
