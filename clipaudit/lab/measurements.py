"""What is measured on the encoder of a unit: signals, fitted inferrers, downstream classifiers.

Each measurement is a file in the folder of the unit, made by one function and read by another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.errors import EncoderError
from clipaudit.features.caption_signals import COLUMNS as CAPTION_COLUMNS
from clipaudit.features.caption_signals import CaptionSignals
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import Signals, average, first_views
from clipaudit.features.views import RECIPES, to_unit_range
from clipaudit.files import make_folder, replacing
from clipaudit.inferrers import find_rule
from clipaudit.inferrers.base import Features
from clipaudit.lab.units import Fit, Look, Unit
from clipaudit.seeding import derive
from clipaudit.shadow.pair_signals import Others, caption_meter
from clipaudit.shadow.training_folder import ENCODER, load, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipaudit.inferrers.base import Reads
    from clipaudit.inferrers.rules import Rule
    from clipaudit.lab.splits import LabSplit

_PLAIN = "plain"
_COLUMNS = ("cosine", "pearson", "euclidean", "norms", "plain_norm")
_PROBE_AT_ONCE = 256


def encoder_folder(unit: Unit, epoch: int | None = None) -> Path:
    """Folder of the encoder of a unit, as it was after an epoch or is at the end."""
    return unit.folder / ENCODER if epoch is None else snapshot(unit.folder, epoch)


def make_signals(unit: Unit, look: Look, split: LabSplit, device: str) -> None:
    """Measure the signals of all pictures, members first.

    Raises:
        EncoderError: A signal is not finite.
        FileError: They cannot be written.
    """
    number = unit.number if look.of is None else 0
    pictures, _ = split.pictures(look.of or unit.role, unit.n_members, number)
    images = split.pixels(pictures)
    folder = encoder_folder(unit, look.epoch)
    embedder = Embedder(
        load(folder, look.output, device), RECIPES[look.recipe], look.n_views, look.draw
    )
    read_captions = None
    if unit.reads_captions and look.output == "embedding":
        bank = split.bank(look.of or unit.role)
        read_captions = caption_meter(
            embedder.encoder,
            load_text_tower(f"local-dir:{folder}", EncoderOptions(device=device)),
            dict(zip(pictures, split.captions_of(pictures), strict=True)),
            Others(bank, split.pixels(bank), split.captions_of(bank)),
        )
    hint = "Give its algorithm another learning_rate in the matrix."
    signals, plain = measure_all(embedder, pictures, images, hint, read_captions)
    arrays = {name: getattr(signals, name) for name in _COLUMNS}
    if signals.captions is not None:
        arrays |= {f"caption_{name}": getattr(signals.captions, name) for name in CAPTION_COLUMNS}
    _write(unit.signals_file(look), {**arrays, _PLAIN: plain})


def read_signals(
    unit: Unit, look: Look, n_members: int | None = None
) -> tuple[Signals, npt.NDArray[np.float32]]:
    """The signals of a look, members first, and the embeddings of the pictures themselves.

    Args:
        unit: The encoder.
        look: The look at it.
        n_members: Take so many of the members and of the others; None takes all.

    Raises:
        EncoderError: They cannot be read.
    """
    arrays = _read(unit.signals_file(look), *_COLUMNS, _PLAIN)
    if n_members is not None:
        half = len(arrays[_PLAIN]) // 2
        rows = np.concatenate([np.arange(n_members), half + np.arange(n_members)])
        arrays = {name: array[rows] for name, array in arrays.items()}
    plain = arrays[_PLAIN]
    ids = tuple(map(str, range(len(plain))))
    captions = None
    if "caption_cosine" in arrays:
        captions = CaptionSignals(ids, *(arrays[f"caption_{name}"] for name in CAPTION_COLUMNS))
    return Signals(ids, *(arrays[name] for name in _COLUMNS), captions=captions), plain


def features(
    unit: Unit, look: Look, reads: Reads, references: Sequence[Unit] = ()
) -> npt.NDArray[np.float32]:
    """What an inferrer reads of all pictures of a unit, members first; see `Features.values`.

    Args:
        unit: The encoder that is audited, or one that an inferrer learns on.
        look: Look at the encoder whose signals are read.
        reads: What the inferrer reads of them.
        references: Encoders that looked at the very same pictures and views.

    Raises:
        EncoderError: They cannot be read.
    """
    signals, reference = signals_and_reference(
        unit, look, references if reads.has_reference else ()
    )
    if reads.n_views:
        signals = first_views(signals, reads.n_views)
        reference = reference and first_views(reference, reads.n_views)
    return Features.of(signals, reads, reference).values


def signals_and_reference(
    unit: Unit, look: Look, references: Sequence[Unit]
) -> tuple[Signals, Signals | None]:
    """The signals of an encoder, and those of its references as of one; None where it has none.

    Raises:
        EncoderError: They cannot be read.
    """

    def read(other: Unit, look: Look) -> Signals:
        return read_signals(other, look, unit.n_members if other != unit else None)[0]

    def same_look(reference: Unit) -> Look:
        epoch = None if unit.base else look.epoch  # a base is as it was
        wanted = look.output, epoch, look.draw, unit.role, look.recipe
        return next(
            own
            for own in reference.looks
            if (own.output, own.epoch, own.draw, own.of, own.recipe) == wanted
        )

    seen = [read(other, same_look(other)) for other in references]
    return read(unit, look), average(seen) if seen else None


def examples(
    unit: Unit, fit: Fit, references: Sequence[Unit] = ()
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What an inferrer learns from: features of all pictures in all draws, and which are members.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    wanted = fit.output, fit.epoch, None, fit.recipe
    looks = [
        look for look in unit.looks if (look.output, look.epoch, look.of, look.recipe) == wanted
    ]
    drawn = [
        features(unit, look, fit.reads, references) for look in looks if look.draw < fit.n_draws
    ]
    is_member = np.arange(len(drawn[0])) < unit.n_members
    return np.concatenate(drawn), np.tile(is_member, len(drawn))


def make_fit(unit: Unit, fit: Fit, references: Sequence[Unit] = ()) -> None:
    """Fit an inferrer to all pictures of a shadow encoder; it is judged on a target.

    Args:
        unit: The shadow encoder.
        fit: The inferrer.
        references: Reference encoders that the fit names.

    Raises:
        EncoderError: A file of the lab cannot be read.
    """
    values, is_member = examples(unit, fit, references)
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


def make_probe(
    unit: Unit,
    split: LabSplit,
    epoch: int | None,
    images: npt.NDArray[np.uint8],
    device: str,
) -> None:
    """Train a linear downstream classifier on the trunk: how it does, what it says of the pictures.

    Source: the linear evaluation of Chen et al. (SimCLR, 2020), Section 2.3.

    Raises:
        EncoderError: The data set has no classes.
        FileError: The figures cannot be written.
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
    encoder = load(encoder_folder(unit, epoch), "trunk", device)

    def embed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        parts = torch.from_numpy(pixels).split(_PROBE_AT_ONCE)
        embedded = [encoder.embed(to_unit_range(part.to(encoder.device))).cpu() for part in parts]
        array: npt.NDArray[np.float32] = torch.cat(embedded).numpy()
        return array

    train, test = (embed(split.pixels(split.groups[f"probe-{part}"])) for part in ("train", "test"))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    classifier.fit(train, split.labels["probe-train"])
    right = classifier.predict(test) == np.array(split.labels["probe-test"])
    _write(
        unit.probe_file(epoch),
        {
            "right": right.astype(np.uint8),
            "confidences": classifier.predict_proba(embed(images)).astype(np.float32),
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
