"""A torch tower, exported to ONNX once, checked against torch, kept in the cache.

`<cache>/onnx/<fingerprint>/` holds `tower.onnx` (and `tower.onnx.data` above 2 GB) and
`card.json` with the fingerprint and the SHA-256 of each file. The folder is made under another
name and renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions
from clipaudit.encoders.loaded import LoadedEncoder, move, normalise, probe
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.errors import EncoderError, MissingExtraError, extra_imports
from clipaudit.files import NoHomeError, cache_dir, read_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_LOG = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Greatest distance between the two embeddings of a view, as a share of their length."""

PAYS_AFTER_VIEWS = 5000
"""`auto` exports for a run of at least this many views, and takes what is exported anyway.

On two cores an export of ViT-B/32 takes 13 s. Run by run, onnxruntime took 0.93 of torch's time
on one thread and 0.69 on two threads beside other work; of 50 ms a view that is 4 to 16 ms, so an
export pays after 800 to 3,700 views. The margin keeps it from slowing a run down.
"""

_MODEL, _CARD, _FORMAT = "tower.onnx", "card.json", 1


def encoder(
    module: nn.Module,
    info: EncoderInfo,
    where: torch.device,
    options: EncoderOptions,
    *,
    auto: bool,
) -> Encoder | None:
    """The encoder of a module as onnxruntime runs it, or None where torch is to run it.

    Args:
        module: On the CPU; normalised views → embeddings.
        info: Of the torch encoder; the fingerprint stays, since it is the same function.
        where: Its device.
        options: `backend` `onnx` insists; `auto` weighs, and falls back with one log line.
        auto: Whether `auto` may choose onnxruntime for this kind of tower at all.

    Raises:
        EncoderError: `onnx` was insisted on, and it does not work or differs from torch.
        MissingExtraError: `onnx` was insisted on, and the extra of that name is not installed.
    """
    insisted = options.backend == "onnx"
    if not insisted and not (auto and where.type == "cpu"):
        return None
    try:
        folder = cache_dir() / "onnx" / info.fingerprint
        if not _is_whole(folder, info.fingerprint):
            if not insisted and (options.n_views_ahead or 0) < PAYS_AFTER_VIEWS:
                return None
            _export(module, info, folder)
        from clipaudit.encoders.onnx_session import open_session

        run = open_session(folder / _MODEL, where)
        dim = probe(run, info.input, where, info.spec, options.trial_timeout_s)
    except (EncoderError, MissingExtraError, NoHomeError) as error:
        if insisted:
            raise
        level = logging.INFO if isinstance(error, MissingExtraError) else logging.WARNING
        _LOG.log(level, "torch runs %s, since onnxruntime cannot: %s", info.spec, error)
        return None
    return LoadedEncoder(replace(info, backend="onnx", dim=dim), where, run)


def _export(module: nn.Module, info: EncoderInfo, folder: Path) -> None:
    """Make the folder of an exported tower.

    Raises:
        EncoderError: torch cannot export it, it differs from torch, or the cache is not writable.
        MissingExtraError: What torch exports with is not installed.
    """
    with extra_imports("--backend onnx", "--backend torch does without."):
        import onnxscript  # noqa: F401 - torch takes it for the export

    _LOG.info("exporting %s to ONNX, once", info.spec)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    except OSError as error:
        raise _cannot_write(folder.parent, error) from error
    try:
        worst = _export_checked(module, info, made / _MODEL)
        files = {file.name: _sha256(file) for file in sorted(made.iterdir())}
        card = {
            "format": _FORMAT,
            "fingerprint": info.fingerprint,
            "spec": info.spec,
            "files": files,
            "differs_from_torch": worst,
        }
        (made / _CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")
        if folder.exists():  # one that is not whole, or another process was faster
            shutil.rmtree(folder, ignore_errors=True)
        try:
            made.rename(folder)
        except OSError:
            if not _is_whole(folder, info.fingerprint):
                raise
    except OSError as error:
        raise _cannot_write(folder.parent, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _export_checked(module: nn.Module, info: EncoderInfo, path: Path) -> float:
    import torch

    from clipaudit.encoders.onnx_session import open_session

    size = info.input.size_px
    noise = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    views = normalise(noise, info.input)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (views,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n_views")},),
                input_names=["views"],
                output_names=["embeddings"],
                verbose=False,
            )
            if program is None:
                raise EncoderError(f"torch exported nothing of {info.spec}", "Use --backend torch.")
            program.save(path)
    except (OSError, EncoderError):
        raise
    except Exception as error:
        raise EncoderError(
            f"torch cannot export {info.spec} to ONNX: {first_line(error)}", "Use --backend torch."
        ) from error
    run = open_session(path, torch.device("cpu"))
    with torch.no_grad():
        worst = _difference(run, move(module, torch.device("cpu"), info.spec), views[:2])
    if not worst <= TOLERANCE:
        raise EncoderError(
            f"{info.spec} gives other embeddings through ONNX: they differ by {worst:.1e} of "
            f"their length, and {TOLERANCE:.0e} is tolerated",
            "Use --backend torch.",
        )
    return worst


def _difference(
    run: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], views: Tensor
) -> float:
    """The greatest distance of two embeddings of a view, as a share of the second one's length.

    The batch has another size than the one that was exported, which shows whether any works.
    """
    expected = reference(views)
    off = (run(views) - expected).norm(dim=1) / expected.norm(dim=1)
    return float(off.max())


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds the tower of this fingerprint, every byte of it."""
    try:
        card = read_json(folder / _CARD, dict[str, Any])
        return (
            card["format"] == _FORMAT
            and card["fingerprint"] == fingerprint
            and _MODEL in card["files"]
            and all(
                Path(name).name == name and _sha256(folder / name) == digest
                for name, digest in card["files"].items()
            )
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot_write(folder: Path, error: OSError) -> EncoderError:
    return EncoderError(
        f"cannot keep an exported encoder in {folder}: {os.strerror(error.errno or 0)}",
        "Make room or set CLIPAUDIT_CACHE_DIR to another folder; or use --backend torch.",
    )
