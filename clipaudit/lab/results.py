"""What came out: counts of each repetition, and figures with intervals over all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from clipaudit.encoders.base import Output
from clipaudit.errors import InputError
from clipaudit.files import make_folder, read_json, replace_file
from clipaudit.lab.scale import NAME
from clipaudit.statistics.metrics import Estimate, proportion

FORMAT = 1
FOLDER = "results"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one inferrer or baseline did on one target encoder.

    Attributes:
        experiment: Name of the experiment.
        setting: Setting of the cell.
        output: Output of the encoder.
        method: V, S, T, or the name of a baseline.
        seed: Seed of the repetition.
        found: Members that were called members.
        missed: Members that were not.
        accused: Non-members that were called members.
        spared: Non-members that were not.
        auc: Area under the ROC curve.
        found_at_1_percent: Members above a threshold that accuses at most 1 % of the non-members;
            None in results from before it was counted.
    """

    experiment: str
    setting: str
    output: Output
    method: str
    seed: int
    found: int
    missed: int
    accused: int
    spared: int
    auc: float
    found_at_1_percent: int | None = None

    @property
    def n(self) -> int:
        """Number of pictures."""
        return self.found + self.missed + self.accused + self.spared


@dataclass(frozen=True, slots=True)
class Downstream:
    """How a downstream classifier did on one target encoder.

    Attributes:
        experiment: Name of the experiment.
        setting: Setting of the cell.
        seed: Seed of the repetition.
        right: Test pictures whose class was found.
        n: Test pictures.
    """

    experiment: str
    setting: str
    seed: int
    right: int
    n: int


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """An encoder that was trained for the results.

    Attributes:
        key: Key of the encoder, which names its folder.
        data: Name of its data set.
        role: Target, shadow or reference.
        seed: Seed of the repetition.
        n_members: Pictures that it was trained on.
        architecture: Its architecture.
        algorithm: Algorithm that pre-trained it.
        recipe: Its augmentations.
        epochs: Passes over the members.
        seconds: Wall time of the pre-training.
        seconds_outside: The part of it outside forward and backward pass.
        loss: Loss in its last epoch.
    """

    key: str
    data: str
    role: str
    seed: int
    n_members: int
    architecture: str
    algorithm: str
    recipe: str
    epochs: int
    seconds: float
    seconds_outside: float
    loss: float


@dataclass(frozen=True, slots=True)
class Results:
    """All that is known of a matrix at one scale.

    Attributes:
        matrix: Name of the matrix.
        scale: Name of the scale.
        about: What that scale is for.
        experiments: Kind and data sets of each experiment, in order, by name.
        n_cells: How many cells there are to be filled.
        outcomes: Outcomes of inferrers and baselines.
        downstream: Figures of downstream classifiers.
        encoders: Encoders that were trained.
        device: Where they were trained.
        clipaudit_version: Version of the package that made them.
    """

    matrix: str
    scale: str
    about: str
    experiments: dict[str, dict[str, str]]
    n_cells: int
    outcomes: tuple[Outcome, ...]
    downstream: tuple[Downstream, ...]
    encoders: tuple[EncoderFacts, ...]
    device: str
    clipaudit_version: str


Measure = Callable[[Outcome], tuple[int, int]]
"""A share of an outcome: how many, of how many."""


def accuracy(outcome: Outcome) -> tuple[int, int]:
    """Right predictions, of all pictures."""
    return outcome.found + outcome.spared, outcome.n


def precision(outcome: Outcome) -> tuple[int, int]:
    """Members, of the pictures that were called members."""
    return outcome.found, outcome.found + outcome.accused


def recall(outcome: Outcome) -> tuple[int, int]:
    """Members that were found, of all members."""
    return outcome.found, outcome.found + outcome.missed


def fpr(outcome: Outcome) -> tuple[int, int]:
    """Non-members that were called members, of all non-members."""
    return outcome.accused, outcome.accused + outcome.spared


def recall_at_1_percent(outcome: Outcome) -> tuple[int, int]:
    """Members that are found where at most 1 % of the non-members may be accused, of all members.

    Only the truth about these very pictures gives that threshold: it shows what the order of the
    scores is worth, not what an inferrer's own threshold does.
    """
    if outcome.found_at_1_percent is None:
        return 0, 0
    return outcome.found_at_1_percent, outcome.found + outcome.missed


def over_seeds(shares: Iterable[tuple[int, int]]) -> Estimate | None:
    """The mean of a share over the repetitions, with its 95 % interval.

    Chance enters twice: in the pictures that one encoder is judged on, and in the encoders
    themselves. So the interval is the wider one, at either end, of two: Clopper and Pearson's
    over all pictures, and Student's t over the repetitions, where there are two or more.

    Args:
        shares: How many, of how many; a repetition each. Those of none at all do not count.

    Returns:
        None where no repetition has a share.
    """
    counted = [(k, n) for k, n in shares if n]
    if not counted:
        return None
    pooled = proportion(sum(k for k, _ in counted), sum(n for _, n in counted))
    mean, low, high = _student([k / n for k, n in counted])
    return Estimate(mean, min(pooled.low, low), max(pooled.high, high), pooled.n)


def mean_over_seeds(values: Iterable[tuple[float, int]]) -> Estimate | None:
    """The mean of a figure within 0 and 1 that is no share, with Student's 95 % interval.

    Args:
        values: The figure and the pictures behind it; a repetition each.

    Returns:
        None where there is no repetition. With one alone, the interval is all of 0 to 1.
    """
    counted = list(values)
    if not counted:
        return None
    mean, low, high = _student([value for value, _ in counted])
    if len(counted) == 1:
        low, high = 0.0, 1.0
    return Estimate(mean, low, high, sum(n for _, n in counted))


def _student(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval within 0 and 1; of one value, the value."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * spread
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)


def with_earlier(results: Results, earlier: Results, names: Collection[str]) -> Results:
    """Results together with those of other experiments, by name, from an earlier run."""
    keys = {encoder.key for encoder in results.encoders}
    outcomes = tuple(item for item in earlier.outcomes if item.experiment in names)
    downstream = tuple(item for item in earlier.downstream if item.experiment in names)
    encoders = tuple(encoder for encoder in earlier.encoders if encoder.key not in keys)
    cells = {(item.experiment, item.setting, item.seed) for item in outcomes}
    experiments = {name: earlier.experiments[name] for name in earlier.experiments if name in names}
    return replace(
        results,
        experiments=results.experiments | experiments,
        n_cells=results.n_cells + len(cells),
        outcomes=results.outcomes + outcomes,
        downstream=results.downstream + downstream,
        encoders=results.encoders + encoders,
    )


def results_file(lab: Path, results: Results) -> Path:
    """File for the results of a matrix at one scale."""
    return lab / FOLDER / f"{results.matrix}-{results.scale}.json"


def write_results(lab: Path, results: Results) -> Path:
    """Write results into a lab; those of the same matrix and scale are replaced.

    Raises:
        FileError: They cannot be written.
    """
    make_folder(lab / FOLDER)
    path = results_file(lab, results)
    document = {"format": FORMAT, **asdict(results)}
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def read_results(path: Path) -> Results:
    """Results that `write_results` wrote.

    Raises:
        InputError: It cannot be read.
    """
    try:
        results = read_json(path, Results, version=FORMAT, unknown="forbid")
        for name in (results.matrix, results.scale, *results.experiments):  # names of files
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r} is not a name")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} holds no results of a lab: {error}", "Run `clipaudit lab run` again."
        ) from error
    return results


def all_results(lab: Path) -> list[Results]:
    """All results in a lab, by matrix and scale.

    Raises:
        InputError: There are none, or they cannot be read.
    """
    files = sorted((lab / FOLDER).glob("*.json"))
    if not files:
        raise InputError(
            f"{lab} holds no results of a lab", f"Run `clipaudit lab run MATRIX -o {lab}` first."
        )
    return [read_results(path) for path in files]
