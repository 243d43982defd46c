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

import numpy as np
from filelock import FileLock

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import ClipAuditError, EncoderError
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import Signals, average, first_views
from clipaudit.features.views import RECIPES, to_unit_range
from clipaudit.files import make_folder, replace_file, replacing
from clipaudit.inferrers import find_rule
from clipaudit.inferrers.base import Features
from clipaudit.lab.splits import LabSplit, read_split
from clipaudit.lab.units import VIEWS, Fit, Look, Unit
from clipaudit.seeding import derive
from clipaudit.shadow.training_folder import (
    CHECKPOINTS,
    ENCODER,
    has_encoder,
    has_snapshot,
    pretrain_in,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipaudit.encoders.base import Encoder, Output
    from clipaudit.inferrers.base import Reads
    from clipaudit.inferrers.rules import Rule

ERROR = "error.json"
_ABOUT = "about.json"
_LOCK = ".lock"
_PLAIN = "plain"
_COLUMNS = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
_PROBE_AT_ONCE = 256


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
    _train(unit, images[:n_members], device, lab_pid)
    for look in unit.looks:
        if not unit.signals_file(look).exists():
            _look(unit, look, split, device)
    for fit in unit.fits:
        if not unit.fit_file(fit).exists():
            make_fit(unit, fit)
    for epoch in unit.probes:
        if not unit.probe_file(epoch).exists():
            _probe(unit, split, epoch, images, device)


def _train(unit: Unit, members: npt.NDArray[np.uint8], device: str, lab_pid: int | None) -> None:
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


def _load(unit: Unit, output: Output, epoch: int | None, device: str) -> Encoder:
    from clipaudit.shadow import encoder as shadow

    folder = unit.folder / ENCODER if epoch is None else snapshot(unit.folder, epoch)
    return shadow.load(str(folder), EncoderOptions(output=output, device=device))


def _look(unit: Unit, look: Look, split: LabSplit, device: str) -> None:
    """Measure the signals of all pictures, members first."""
    number = unit.number if look.of is None else 0
    pictures, _ = split.pictures(look.of or unit.role, unit.n_members, number)
    images = split.pixels(pictures)
    embedder = Embedder(
        _load(unit, look.output, look.epoch, device), RECIPES[VIEWS], look.n_views, look.draw
    )
    hint = "Give its algorithm another learning_rate in the matrix."
    signals, plain = measure_all(embedder, pictures, images, hint)
    arrays = {name: getattr(signals, name) for name in _COLUMNS}
    _write(unit.signals_file(look), {**arrays, _PLAIN: plain})


def read_signals(unit: Unit, look: Look) -> tuple[Signals, npt.NDArray[np.float32]]:
    """The signals of a look, members first, and the embeddings of the pictures themselves.

    Raises:
        EncoderError: They cannot be read.
    """
    arrays = _read(unit.signals_file(look), *_COLUMNS, _PLAIN)
    plain = arrays.pop(_PLAIN)
    return Signals(image_ids=tuple(map(str, range(len(plain)))), **arrays), plain


def features(
    unit: Unit, look: Look, reads: Reads, references: Sequence[Unit] = ()
) -> npt.NDArray[np.float32]:
    """What an inferrer reads of all pictures of a unit, members first; see `Features.values`.

    Args:
        unit: The encoder that is audited, or one that an inferrer learns on.
        look: Which of its signals.
        reads: What is read of them.
        references: Encoders that looked at the very same pictures and views.

    Raises:
        EncoderError: They cannot be read.
    """

    def seen(one: Unit, look: Look) -> Signals:
        signals, _ = read_signals(one, look)
        return first_views(signals, reads.n_views) if reads.n_views else signals

    def looks_too(look_of_reference: Look) -> bool:
        wanted = (look.output, look.draw, unit.role)
        return (look_of_reference.output, look_of_reference.draw, look_of_reference.of) == wanted

    reference = None
    if reads.has_reference:
        reference = average([seen(one, next(filter(looks_too, one.looks))) for one in references])
    return Features.of(seen(unit, look), reads, reference).values


def make_fit(unit: Unit, fit: Fit, references: Sequence[Unit] = ()) -> None:
    """Fit an inferrer to all pictures of a shadow encoder; it is judged on a target.

    Args:
        unit: The shadow encoder.
        fit: What to fit.
        references: Those that it names.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    looks = [look for look in unit.looks if look.output == fit.output and look.epoch is None]
    examples = [
        features(unit, look, fit.reads, references) for look in looks if look.draw < fit.n_draws
    ]
    values = np.concatenate(examples)
    is_member = np.tile(np.arange(len(examples[0])) < unit.n_members, len(examples))
    seed = derive(unit.seed, f"{fit.kind} {fit.output}", "lab fit") % 2**63
    rule = find_rule(fit.kind).train(values, is_member, seed)
    threshold = np.array([rule.threshold(values, is_member)], dtype=np.float64)
    _write(unit.fit_file(fit), {**rule.arrays(), "threshold": threshold})


def read_fit(unit: Unit, fit: Fit) -> tuple[Rule, float]:
    """An inferrer's rule, and its threshold.

    Raises:
        EncoderError: It cannot be read.
    """
    arrays = _read(unit.fit_file(fit), "threshold")
    threshold = float(arrays.pop("threshold")[0])
    return find_rule(fit.kind).from_arrays(arrays), threshold


def _probe(
    unit: Unit,
    split: LabSplit,
    epoch: int | None,
    images: npt.NDArray[np.uint8],
    device: str,
) -> None:
    """A linear downstream classifier on the trunk: how it does, and what it says of the pictures.

    Source: the linear evaluation of Chen et al. (SimCLR, 2020), Section 2.3.
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if split.labels is None:
        raise EncoderError(
            f"{split.data} has no classes, so no downstream classifier can be trained on it",
            "Take the experiments that need one out of the matrix, or put the pictures of each "
            "class into a folder of its own.",
        )
    encoder = _load(unit, "trunk", epoch, device)

    def features(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        parts = torch.from_numpy(pixels).split(_PROBE_AT_ONCE)
        embedded = [encoder.embed(to_unit_range(part.to(encoder.device))).cpu() for part in parts]
        array: npt.NDArray[np.float32] = torch.cat(embedded).numpy()
        return array

    train, test = (
        features(split.pixels(split.groups[f"probe-{part}"])) for part in ("train", "test")
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    classifier.fit(train, split.labels["probe-train"])
    right = classifier.predict(test) == np.array(split.labels["probe-test"])
    _write(
        unit.probe_file(epoch),
        {
            "right": right.astype(np.uint8),
            "confidences": classifier.predict_proba(features(images)).astype(np.float32),
        },
    )


def read_probe(unit: Unit, epoch: int | None) -> dict[str, npt.NDArray[np.float32]]:
    """How the downstream classifier did.

    Returns:
        `right`: for each test picture, whether its class was found. `confidences`: of the
        classes, for each picture of the unit, members first.

    Raises:
        EncoderError: It cannot be read.
    """
    return _read(unit.probe_file(epoch), "right", "confidences")


def _write(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    from safetensors.numpy import save

    make_folder(path.parent)
    with replacing(path) as file:
        file.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _read(path: Path, *wanted: str) -> dict[str, npt.NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = dict(load(path.read_bytes()))
        if missing := set(wanted) - arrays.keys():
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, SafetensorError, ValueError) as error:
        raise EncoderError(
            f"{path} cannot be read: {error}", "Delete it, and run the lab again to make it anew."
        ) from error
    return arrays


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
