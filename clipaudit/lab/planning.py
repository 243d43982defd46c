"""The cells of one experiment, made one after the other, and the encoders that they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from clipaudit.encoders.base import Output
from clipaudit.features.signals import Similarity
from clipaudit.inferrers.base import Kind
from clipaudit.lab.cells import Cell
from clipaudit.lab.knowledge import Knowledge
from clipaudit.lab.scale import Scale
from clipaudit.lab.splits import LabSplit, Role
from clipaudit.lab.units import VIEWS, Fit, Look, Unit, encoder_key
from clipaudit.seeding import derive
from clipaudit.shadow.architectures import Architecture, PairArchitecture
from clipaudit.shadow.config import Algorithm, TrainingConfig


@dataclass(slots=True)
class _Wanted:
    """An encoder, while it is not yet known what all cells want of it."""

    unit: Unit
    n_views: int = 2
    n_draws: int = 1
    epochs: set[int | None] = field(default_factory=set)
    fits: set[Fit] = field(default_factory=set)
    probes: set[int | None] = field(default_factory=set)
    watched: dict[Role, int] = field(default_factory=dict)
    """Whose pictures a reference embeds beside its own, and for how many draws of the views."""

    looks: dict[Look, int] = field(default_factory=dict)
    """Further looks, and how many views each takes."""


class Encoders:
    """The encoders that the cells of a plan need, and all that is wanted of each."""

    def __init__(
        self,
        scale: Scale,
        lab: Path,
        splits: Mapping[tuple[str, int], LabSplit],
        outputs: Sequence[Output],
        kinds: Sequence[Kind],
    ) -> None:
        self._scale = scale
        self._lab = lab
        self._splits = splits
        self.outputs = outputs
        self._kinds = kinds
        self._wanted: dict[str, _Wanted] = {}

    def units(self) -> dict[str, Unit]:
        """All encoders with all that is wanted of them; targets and shadows in turn."""
        return {key: self._unit(wanted) for key, wanted in self._wanted.items()}

    def _unit(self, wanted: _Wanted) -> Unit:
        looks = [
            Look(output, epoch, draw, wanted.n_views)
            for output in self.outputs
            for epoch in sorted(wanted.epochs, key=_end_first)
            for draw in range(wanted.n_draws)
        ]
        looks += [
            Look(output, None, draw, wanted.n_views, of=role)
            for output in self.outputs
            for role, n_draws in sorted(wanted.watched.items())
            for draw in range(n_draws)
        ]
        looks += [replace(look, n_views=n_views) for look, n_views in wanted.looks.items()]
        return replace(
            wanted.unit,
            looks=tuple(looks),
            fits=tuple(sorted(wanted.fits)),
            probes=tuple(sorted(wanted.probes, key=_end_first)),
        )

    def has_classes(self, data: str, seed: int) -> bool:
        """Whether a downstream classifier can be trained on a data set."""
        return self._splits[data, seed].labels is not None

    def add(
        self,
        data: str,
        role: Role,
        seed: int,
        n_members: int,
        pretrain: TrainingConfig,
        number: int = 0,
    ) -> str:
        """Add an encoder that is to be trained, if it is not there yet, and return its key."""
        split = self._splits[data, seed]
        key = encoder_key(split, role, n_members, pretrain, self._scale.size_px, number)
        if key not in self._wanted:
            where = self._lab, split.folder
            unit = Unit(*where, data, role, seed, n_members, pretrain, key, number=number)
            self._wanted[key] = _Wanted(unit)
        return key

    def look(self, key: str, look: Look) -> None:
        """Remember a look at an encoder; of two that differ in their views alone, the larger."""
        looks = self._wanted[key].looks
        plain = replace(look, n_views=0)
        looks[plain] = max(looks.get(plain, 0), look.n_views)

    def note(self, cell: Cell) -> None:
        """Remember what a cell wants of its encoders."""
        target, shadow = self._wanted[cell.target], self._wanted[cell.shadow]
        n_draws = self._scale.draws
        for wanted in (target, shadow):
            wanted.n_views = max(wanted.n_views, cell.n_views)
        target.epochs.add(cell.epoch)
        shadow.epochs.add(None)
        shadow.n_draws = n_draws
        for key in cell.references:
            reference = self._wanted[key]
            reference.n_views = max(reference.n_views, cell.n_views)
            reference.watched |= {"target": 1, "shadow": n_draws}
        if cell.references:  # their inferrers are fitted when all of them are there
            return
        shadow.fits |= {
            Fit(output, kind, cell.similarity, cell.n_views, n_draws)
            for output in self.outputs
            for kind in self._kinds
        }
        if cell.has_probe:
            target.probes.add(cell.epoch)
        if cell.has_shadow_probe:
            shadow.probes.add(None)


def _first_weights(role: Role, seed: int, number: int) -> int:
    """Seed of an encoder's first weights, which no two have in common, as strangers' would."""
    if role == "reference":
        return derive(seed, f"reference {number}", "lab encoder") % 2**31
    return 2 * seed + 1 if role == "shadow" else 2 * seed


def _end_first(epoch: int | None) -> int:
    return epoch or 0


@dataclass(frozen=True, slots=True)
class Repetition:
    """An experiment of a matrix for one seed.

    Attributes:
        experiment: Name of the experiment.
        kind: Kind of the experiment.
        data: Data set of the target encoder.
        unknown_data: Data set of the shadow encoder, where the target's is not known.
        combinations: What is known of the target encoder, for `background`.
        seed: Seed of the repetition.
        scale: How large everything is.
        encoders: The encoders of the whole plan.
    """

    experiment: str
    kind: str
    data: str
    unknown_data: str | None
    combinations: tuple[tuple[Knowledge, ...], ...]
    seed: int
    scale: Scale
    encoders: Encoders

    def encoder(
        self,
        role: Role,
        *,
        data: str | None = None,
        n_members: int | None = None,
        architecture: Architecture | None = None,
        algorithm: Algorithm | None = None,
        recipe: str = VIEWS,
        number: int = 0,
    ) -> str:
        """Key of an encoder that is like the target in all that is not said."""
        known = self.scale.known
        pretrain = self.scale.options(
            architecture or known.architecture,
            algorithm or known.algorithm,
            recipe,
            _first_weights(role, self.seed, number),
        )
        members = n_members or self.scale.members
        return self.encoders.add(data or self.data, role, self.seed, members, pretrain, number)

    def cell(
        self,
        setting: str,
        *,
        target: str | None = None,
        shadow: str | None = None,
        epoch: int | None = None,
        similarity: Similarity = "cosine",
        n_views: int | None = None,
        has_probe: bool = False,
        has_shadow_probe: bool = False,
        references: tuple[str, ...] = (),
    ) -> Cell:
        """A cell with a target and a shadow encoder of full knowledge where none is given.

        Args:
            setting: What sets it apart from the other cells of its experiment.
            target: See `Cell`; so the others.
            shadow: Likewise.
            epoch: Likewise.
            similarity: Likewise.
            n_views: None takes those of the scale.
            has_probe: Wanted where the data set has classes; so `has_shadow_probe`.
            has_shadow_probe: Likewise.
            references: See `Cell`.
        """
        has_classes = self.encoders.has_classes(self.data, self.seed)
        cell = Cell(
            experiment=self.experiment,
            kind=self.kind,
            setting=setting,
            seed=self.seed,
            target=target or self.encoder("target"),
            shadow=shadow or self.encoder("shadow"),
            epoch=epoch,
            similarity=similarity,
            n_views=n_views or self.scale.views,
            has_probe=has_probe and has_classes,
            has_shadow_probe=has_shadow_probe and has_classes,
            references=references,
        )
        self.encoders.note(cell)
        return cell

    def pair_encoder(
        self, role: Role, architecture: PairArchitecture, n_members: int, number: int = 0
    ) -> str:
        """Key of an encoder that is trained with captions."""
        assert self.scale.pairs is not None  # or the matrix was refused
        seed = _first_weights(role, self.seed, number)
        options = self.scale.pairs.options(architecture, seed)
        return self.encoders.add(self.data, role, self.seed, n_members, options, number)

    def tuned_encoder(
        self,
        side: Literal["target", "shadow"],
        architecture: PairArchitecture,
        n_members: int,
        learning_rate: float,
    ) -> tuple[str, str]:
        """Keys of an encoder that is fine-tuned with captions, and of its base."""
        assert self.scale.pairs is not None  # or the matrix was refused
        base = self.pair_encoder(side, architecture, self.scale.members)
        role: Role = "tuned-target" if side == "target" else "tuned-shadow"
        seed = _first_weights(side, self.seed, 0)
        options = self.scale.pairs.tuned_options(architecture, seed, learning_rate, base)
        return self.encoders.add(self.data, role, self.seed, n_members, options), base
