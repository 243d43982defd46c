"""A unit of work: one encoder, and all that is to be measured on it.

An encoder's folder is named by the hash of what it is trained on and how: whatever experiment or
matrix asks for the same encoder finds it there, and does not train it again.

    LAB/encoders/<key>/about.json     what it is, for people
    LAB/encoders/<key>/log.jsonl      a line an epoch
    LAB/encoders/<key>/encoder/       spec `shadow:LAB/encoders/<key>`
    LAB/encoders/<key>/signals/…      of its pictures, for one output, epoch and draw of the views
    LAB/encoders/<key>/fits/…         inferrers fitted to those signals
    LAB/encoders/<key>/probe-….json   how a downstream classifier does on it
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders.base import Output
from clipaudit.features.signals import Similarity
from clipaudit.features.views import ENCODERMI
from clipaudit.files import as_type, load_json
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Kind, Reads
from clipaudit.lab.splits import LabSplit, Role
from clipaudit.shadow.config import PairConfig, TrainingConfig
from clipaudit.shadow.training_folder import ENCODER, has_encoder, has_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMAT = 1
VIEWS = ENCODERMI.id
"""The inferrer's own augmentations, whatever an encoder was trained with."""


@dataclass(frozen=True, slots=True, order=True)
class Fit:
    """An inferrer to be fitted to a shadow encoder.

    Attributes:
        output: Output of the encoder.
        kind: Kind of inferrer: V, S, T, …
        similarity: Similarity that it reads.
        n_views: Views that it reads.
        n_draws: How many draws of the views of each picture it learns from.
        references: Keys of the reference encoders whose signals it reads too.
        recipe: Recipe of the views.
        epoch: Epoch of the shadow encoder at which it learns; None is the finished encoder.
    """

    output: Output
    kind: Kind
    similarity: Similarity
    n_views: int
    n_draws: int
    references: tuple[str, ...] = ()
    recipe: str = VIEWS
    epoch: int | None = None

    @property
    def reads(self) -> Reads:
        """The features that it reads."""
        return reads_of(
            self.kind,
            self.similarity,
            self.n_views,
            self.recipe,
            self.output,
            has_reference=bool(self.references),
        )


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """Signals to be measured on an encoder.

    Attributes:
        output: Output of the encoder.
        epoch: Epoch after which they are measured; None is the finished encoder.
        draw: Number of the draw of the views.
        n_views: Views an image.
        of: Role of the encoder whose pictures are embedded; None for its own.
        recipe: Recipe of the views.
    """

    output: Output
    epoch: int | None
    draw: int
    n_views: int
    of: Role | None = None
    recipe: str = VIEWS


@dataclass(frozen=True, slots=True)
class Unit:
    """An encoder, and what is to be measured on it.

    Attributes:
        lab: Folder of the lab.
        split: Folder of the split that its pictures come from.
        data: Name of the data set.
        role: Target, shadow or reference: whose pictures it sees.
        seed: Seed of the repetition.
        n_members: Members of the encoder.
        pretrain: How it is trained.
        key: Hash of what it is trained on and how, in 16 hex digits.
        looks: Signals that are wanted.
        fits: Inferrers that are wanted.
        probes: Epochs at which a downstream classifier is wanted; None is the finished encoder.
        number: Number of a reference.
    """

    lab: Path
    split: Path
    data: str
    role: Role
    seed: int
    n_members: int
    pretrain: TrainingConfig
    key: str
    looks: tuple[Look, ...] = ()
    fits: tuple[Fit, ...] = ()
    probes: tuple[int | None, ...] = ()
    number: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the encoder and all that was measured on it."""
        return self.lab / "encoders" / self.key

    @property
    def base_key(self) -> str | None:
        """Key of the encoder that it is fine-tuned from; None where it is not."""
        return self.pretrain.base if isinstance(self.pretrain, PairConfig) else None

    @property
    def base(self) -> Path | None:
        """Folder of that encoder."""
        return self.lab / "encoders" / self.base_key / ENCODER if self.base_key else None

    @property
    def reads_captions(self) -> bool:
        """Whether it is trained with captions, and its signals are measured with them."""
        return isinstance(self.pretrain, PairConfig)

    @property
    def draws(self) -> tuple[int, ...]:
        """Draws of the views in which signals are wanted."""
        return tuple(sorted({look.draw for look in self.looks}))

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Epochs at which the encoder is kept as it is then."""
        wanted = {look.epoch for look in self.looks} | set(self.probes)
        return tuple(sorted(epoch for epoch in wanted if epoch is not None))

    @property
    def is_trained(self) -> bool:
        """Whether the encoder and its snapshots are there."""
        return has_encoder(self.folder) and all(
            has_snapshot(self.folder, epoch) for epoch in self.snapshots
        )

    @property
    def is_done(self) -> bool:
        """Whether all that is wanted is there."""
        return self.is_trained and all(path.exists() for path in self.products())

    def products(self) -> Iterable[Path]:
        """The files that are wanted besides the encoder."""
        yield from map(self.signals_file, self.looks)
        yield from map(self.fit_file, self.fits)
        yield from map(self.probe_file, self.probes)

    def signals_file(self, look: Look) -> Path:
        """File of the signals of a look."""
        name = f"{look.output}-{_when(look.epoch)}-draw{look.draw}-n{look.n_views}"
        name += f"-of-{look.of}" if look.of else ""
        name += f"-{look.recipe}" if look.recipe != VIEWS else ""
        return self.folder / "signals" / f"{name}.safetensors"

    def fit_file(self, fit: Fit) -> Path:
        """File of a fitted inferrer."""
        reads = f"{fit.output}-{fit.similarity}-n{fit.n_views}"
        name = "-".join([f"{reads}-draws{fit.n_draws}-{fit.kind}", *fit.references])
        name += f"-{fit.recipe}" if fit.recipe != VIEWS else ""
        name += f"-{_when(fit.epoch)}" if fit.epoch is not None else ""
        return self.folder / "fits" / f"{name}.safetensors"

    def probe_file(self, epoch: int | None) -> Path:
        """File of the figures of a downstream classifier."""
        return self.folder / f"probe-{_when(epoch)}.safetensors"

    def as_json(self) -> str:
        """The unit as JSON, for a worker."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Unit:
        """The unit that `as_json` wrote."""
        return as_type(load_json(text), cls)


def _when(epoch: int | None) -> str:
    return "end" if epoch is None else f"epoch{epoch}"


def encoder_key(
    split: LabSplit,
    role: Role,
    n_members: int,
    pretrain: TrainingConfig,
    size_px: int,
    number: int = 0,
) -> str:
    """Hash of what an encoder is trained on and how, in 16 hex digits.

    The non-members count too: what was measured on the encoder was measured on both.
    """
    pictures, n = split.pictures(role, n_members, number)
    identity = [_FORMAT, VIEWS, pictures, size_px, asdict(pretrain)]
    if isinstance(pretrain, PairConfig):
        identity.append(split.captions_of(pictures[:n]))
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
