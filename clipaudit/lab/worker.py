"""Makes one unit: trains its encoder, and measures what is wanted of it. A process of its own.

    python -m clipaudit.lab.worker THREADS DEVICE LAB_PID < unit.json

What is there already is not made again. An error goes to `error.json` in the unit's folder.
A worker whose lab is gone ends by itself, after the epoch that it is at; one that was started for
the same unit meanwhile waits for it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from filelock import FileLock

from clipaudit.errors import ClipAuditError
from clipaudit.files import make_folder, replace_file
from clipaudit.lab.measurements import make_fit, make_probe, make_signals
from clipaudit.lab.splits import read_split
from clipaudit.lab.units import Unit
from clipaudit.shadow.training_folder import (
    CHECKPOINTS,
    ENCODER,
    has_encoder,
    has_snapshot,
    pretrain_in,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

ERROR = "error.json"
_ABOUT = "about.json"
_LOCK = ".lock"


def make(unit: Unit, device: str, lab_pid: int | None = None) -> None:
    """Bring a unit to the point where it `is_done`.

    Args:
        unit: What is wanted.
        device: Where the encoder is trained and run.
        lab_pid: Process without which this one ends after an epoch, its parent; None for none.

    Raises:
        ClipAuditError: The training fails, a file is broken, or the disk is full.
    """
    make_folder(unit.folder)
    split = read_split(unit.split)
    pictures, n_members = split.pictures(unit.role, unit.n_members, unit.number)
    images = split.pixels(pictures)
    about = {"data": unit.data, "role": unit.role, "seed": unit.seed, "n_members": n_members}
    about |= {"pretrain": asdict(unit.pretrain)}
    replace_file(unit.folder / _ABOUT, json.dumps(about, indent=1).encode())
    captions = split.captions_of(pictures[:n_members]) if unit.reads_captions else ()
    _train(unit, images[:n_members], captions, device, lab_pid)
    for look in unit.looks:
        if not unit.signals_file(look).exists():
            make_signals(unit, look, split, device)
    for fit in unit.fits:
        if not unit.fit_file(fit).exists():
            make_fit(unit, fit)
    for epoch in unit.probes:
        if not unit.probe_file(epoch).exists():
            make_probe(unit, split, epoch, images, device)


def _train(
    unit: Unit,
    members: npt.NDArray[np.uint8],
    captions: Sequence[Sequence[str]],
    device: str,
    lab_pid: int | None,
) -> None:
    if unit.is_trained:
        return
    for _ in range(2):  # a run that is continued lacks the snapshots from before its checkpoint
        if has_encoder(unit.folder):  # but a snapshot is missing, so it is trained once more
            for path in (unit.folder / ENCODER, unit.folder / CHECKPOINTS):
                shutil.rmtree(path, ignore_errors=True)
        pretrain_in(
            unit.folder,
            members,
            unit.pretrain,
            captions=captions,
            base=unit.base,
            device=device,
            on_epoch=lambda epoch: _end_without(lab_pid),
            snapshots=unit.snapshots,
        )
        if all(has_snapshot(unit.folder, epoch) for epoch in unit.snapshots):
            break
    shutil.rmtree(unit.folder / CHECKPOINTS)  # three times as large as the encoder itself


def _end_without(lab_pid: int | None) -> None:
    """End this process where the lab was killed; the checkpoint is kept."""
    if lab_pid is not None and os.getppid() != lab_pid:
        raise SystemExit(143)


def main() -> None:
    """Read a unit from standard input, make it, and write down what went wrong."""
    threads, device = int(sys.argv[1]), sys.argv[2]
    # A launcher may lie between the two on Windows, where a process keeps its dead parent's id.
    lab_pid = int(sys.argv[3]) if os.name == "posix" else None
    unit = Unit.from_json(sys.stdin.read())
    error_file = unit.folder / ERROR
    try:
        make_folder(unit.folder)
        with FileLock(unit.folder / _LOCK):
            _end_without(lab_pid)
            import torch

            torch.set_num_threads(threads)
            error_file.unlink(missing_ok=True)
            make(unit, device, lab_pid)
    except ClipAuditError as error:
        document = {"message": str(error), "hint": error.hint, "exit_code": error.exit_code}
        with suppress(ClipAuditError):  # a full disk
            replace_file(error_file, json.dumps(document).encode())
        with suppress(OSError):  # likewise
            print(json.dumps(document), file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
