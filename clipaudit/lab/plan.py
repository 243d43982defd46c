"""A matrix at one scale → cells to be filled, and the encoders that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from clipaudit.features.signals import SIMILARITIES, Similarity
from clipaudit.features.views import OVERLAPS
from clipaudit.lab.matrix import Choice, Experiment, Knowledge, Matrix, Scale
from clipaudit.lab.splits import LabSplit, Role
from clipaudit.lab.units import VIEWS, Fit, Look, Unit, encoder_key
from clipaudit.seeding import derive
from clipaudit.shadow.architectures import Architecture
from clipaudit.shadow.pretrain import ALGORITHMS, Algorithm

NOTHING: Final = "nothing"


@dataclass(frozen=True, slots=True)
class Cell:
    """A target encoder, looked at with inferrers that were fitted to a shadow encoder.

    Attributes:
        experiment: Name of the experiment.
        setting: What sets it apart from the other cells of its experiment.
        seed: Of the repetition.
        target: Key of the target encoder.
        shadow: Key of the shadow encoder.
        epoch: At which the target encoder is looked at; None is the finished one.
        similarity: That the inferrers read.
        n_views: Likewise.
        has_probe: Whether a downstream classifier on the target encoder is part of it.
        has_baselines: Whether the paper's baselines are run beside the inferrers.
        references: Keys of the reference encoders, which see the pictures of both too; where
            there are some, `n_views` is that of an inferrer that reads similarities alone, and
            so the number of forward passes.
        has_networks: Whether V and S, whose fits take the longest, are among the inferrers.
    """

    experiment: str
    setting: str
    seed: int
    target: str
    shadow: str
    epoch: int | None
    similarity: Similarity
    n_views: int
    has_probe: bool = False
    has_baselines: bool = False
    references: tuple[str, ...] = ()
    has_networks: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a lab has to do.

    Attributes:
        units: Encoders by their key.
        cells: What is to be found out with them.
    """

    units: dict[str, Unit]
    cells: tuple[Cell, ...]


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
    """Whose pictures it looks at beside its own, as a reference, and for how many draws."""


def make_plan(
    matrix: Matrix, scale: Scale, lab: Path, splits: Mapping[tuple[str, int], LabSplit]
) -> Plan:
    """Every cell of every experiment for every seed.

    Args:
        matrix: What is to be found out.
        scale: How large everything is.
        lab: Folder of the lab.
        splits: By name of the data set and seed.

    Raises:
        UsageError: An option of the pre-training cannot work.
    """
    planner = _Planner(matrix, scale, lab, splits)
    cells = [
        cell
        for one in matrix.experiment
        for seed in scale.seeds
        for cell in planner.plan(one, seed)
    ]
    return Plan(planner.units(), tuple(cells))


def data_sets(matrix: Matrix) -> tuple[str, ...]:
    """The data sets that some experiment needs."""
    named = (name for one in matrix.experiment for name in (one.data, one.unknown_data))
    return tuple(dict.fromkeys(name for name in named if name))


def setting_of(known: tuple[Knowledge, ...]) -> str:
    """How a combination of background knowledge is called."""
    return " + ".join(known) or NOTHING


class _Planner:
    def __init__(
        self,
        matrix: Matrix,
        scale: Scale,
        lab: Path,
        splits: Mapping[tuple[str, int], LabSplit],
    ) -> None:
        self._matrix = matrix
        self._scale = scale
        self._lab = lab
        self._splits = splits
        self._wanted: dict[str, _Wanted] = {}

    def units(self) -> dict[str, Unit]:
        """All encoders with all that is wanted of them; targets and shadows in turn."""
        made = {}
        for key, wanted in self._wanted.items():
            looks = [
                Look(output, epoch, draw, wanted.n_views)
                for output in self._matrix.outputs
                for epoch in sorted(wanted.epochs, key=lambda one: one or 0)
                for draw in range(wanted.n_draws)
            ]
            looks += [
                Look(output, None, draw, wanted.n_views, of=role)
                for output in self._matrix.outputs
                for role, n_draws in sorted(wanted.watched.items())
                for draw in range(n_draws)
            ]
            made[key] = replace(
                wanted.unit,
                looks=tuple(looks),
                fits=tuple(sorted(wanted.fits)),
                probes=tuple(sorted(wanted.probes, key=lambda one: one or 0)),
            )
        return made

    def plan(self, experiment: Experiment, seed: int) -> list[Cell]:
        """The cells of one experiment for one seed."""
        scale, data = self._scale, experiment.data
        sweeps = scale.sweeps

        def cell(
            setting: str,
            *,
            target: str | None = None,
            shadow: str | None = None,
            epoch: int | None = None,
            similarity: Similarity = "cosine",
            n_views: int = scale.views,
            has_probe: bool = False,
            has_baselines: bool = False,
            references: tuple[str, ...] = (),
            has_networks: bool = True,
        ) -> Cell:
            made = Cell(
                experiment=experiment.name,
                setting=setting,
                seed=seed,
                target=target or self._encoder(data, "target", seed),
                shadow=shadow or self._encoder(data, "shadow", seed),
                epoch=epoch,
                similarity=similarity,
                n_views=n_views,
                has_probe=has_probe and self._splits[data, seed].labels is not None,
                has_baselines=has_baselines,
                references=references,
                has_networks=has_networks,
            )
            self._note(made)
            return made

        kind = experiment.kind
        if kind == "background":
            return [
                cell(setting_of(known), shadow=self._shadow(experiment, known, seed))
                for known in experiment.combinations
            ]
        if kind == "algorithms":
            return [
                cell(one, shadow=self._encoder(data, "shadow", seed, algorithm=one))
                for one in ALGORITHMS
            ]
        if kind == "views":
            return [cell(str(n), n_views=n) for n in sweeps.views]
        if kind == "similarity":
            return [cell(one, similarity=one) for one in SIMILARITIES]
        if kind == "target-size":
            return [
                cell(str(n), target=self._encoder(data, "target", seed, n_members=n))
                for n in sweeps.target_sizes
            ]
        if kind == "shadow-size":
            return [
                cell(str(n), shadow=self._encoder(data, "shadow", seed, n_members=n))
                for n in sweeps.shadow_sizes
            ]
        if kind == "augmentations":
            return [
                cell(
                    recipe.name,
                    target=self._encoder(data, "target", seed, recipe=recipe.id),
                    has_probe=True,
                )
                for recipe in OVERLAPS
            ]
        if kind == "epochs":
            last = max(sweeps.epochs, default=0)
            whole = scale.options(*_both(scale.known), VIEWS, 0).epochs
            return [
                cell(
                    str(epoch),
                    epoch=None if epoch == last == whole else epoch,
                    has_probe=True,
                )
                for epoch in sweeps.epochs
            ]
        if kind == "reference":
            references = tuple(
                self._encoder(data, "reference", seed, number=number)
                for number in range(scale.references)
            )
            most = max(sweeps.passes, default=0)
            return [
                cell(str(n), n_views=n, references=references, has_networks=n == most)
                for n in sweeps.passes
            ]
        return [cell("everything", has_probe=True, has_baselines=True)]

    def _shadow(self, experiment: Experiment, known: tuple[Knowledge, ...], seed: int) -> str:
        """The shadow encoder of someone who knows this much."""
        data = experiment.data if "data" in known else experiment.unknown_data
        assert data is not None  # the matrix has seen to it
        right, wrong = self._scale.known, self._scale.unknown
        return self._encoder(
            data,
            "shadow",
            seed,
            architecture=(right if "architecture" in known else wrong).architecture,
            algorithm=(right if "algorithm" in known else wrong).algorithm,
        )

    def _encoder(
        self,
        data: str,
        role: Role,
        seed: int,
        *,
        n_members: int | None = None,
        architecture: Architecture | None = None,
        algorithm: Algorithm | None = None,
        recipe: str = VIEWS,
        number: int = 0,
    ) -> str:
        """The key of an encoder that is like the target in all that is not said."""
        scale, split = self._scale, self._splits[data, seed]
        n_members = n_members or scale.members
        # Target and shadow begin with different weights, as two strangers' encoders would.
        pretrain = scale.options(
            architecture or scale.known.architecture,
            algorithm or scale.known.algorithm,
            recipe,
            2 * seed + (role == "shadow") if role != "reference" else _strange(seed, number),
        )
        key = encoder_key(split, role, n_members, pretrain, scale.size_px, number)
        if key not in self._wanted:
            unit = Unit(
                *(self._lab, split.folder, data, role, seed, n_members, pretrain, key),
                number=number,
            )
            self._wanted[key] = _Wanted(unit)
        return key

    def _note(self, cell: Cell) -> None:
        """Remember what a cell wants of its two encoders."""
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
            for output in self._matrix.outputs
            for kind in self._matrix.kinds
        }
        if cell.has_probe:
            target.probes.add(cell.epoch)
        if cell.has_probe and cell.has_baselines:
            shadow.probes.add(None)


def _strange(seed: int, number: int) -> int:
    """Seed of a reference: other first weights than any target or shadow encoder has."""
    return derive(seed, f"reference {number}", "lab encoder") % 2**31


def _both(choice: Choice) -> tuple[Architecture, Algorithm]:
    return choice.architecture, choice.algorithm
